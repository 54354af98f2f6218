"""What diffusers and transformers make of a config with a key deleted or null, for every key of every class that is read.

For each class there is one complete config. For each of its keys there are two cases, the key deleted and the key null,
and further cases with other values. A case records some numbers of the output, with weights by formula, or that it
raises. A case that makes the same config as the complete one up to private keys is recorded as "same".

Run: python golden/diffusion/configs.py   (versions in golden/requirements.txt)
"""

import json
import pathlib
import tempfile
import warnings

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, LatentConsistencyModelPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTextModelWithProjection
from transformers import logging as transformers_logging

import formula

HERE = pathlib.Path(__file__).parent
# Keys of transformers that say what a call returns, and not what is computed.
IGNORED = ("output_attentions", "output_hidden_states", "return_dict")
# Larger networks come from defaults of published sizes. The script and the test compare their sizes only.
LARGEST = 6_000_000

UNET = dict(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    block_out_channels=[8, 16],
    layers_per_block=1,
    cross_attention_dim=12,
    attention_head_dim=4,
    norm_num_groups=4,
    down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
    up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
)
XL = dict(
    UNET,
    attention_head_dim=[2, 4],
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
    transformer_layers_per_block=[1, 2],
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=4,
    projection_class_embeddings_input_dim=6 + 6 * 4,
)
KL = dict(
    block_out_channels=[8, 16],
    down_block_types=["DownEncoderBlock2D"] * 2,
    up_block_types=["UpDecoderBlock2D"] * 2,
    layers_per_block=1,
    norm_num_groups=4,
    sample_size=16,
)
TINY = dict(
    encoder_block_out_channels=[8, 8],
    decoder_block_out_channels=[8, 8],
    num_encoder_blocks=[1, 1],
    num_decoder_blocks=[2, 1],
)
TEXT = dict(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=12,
    projection_dim=10,
    bos_token_id=62,
    eos_token_id=63,
    pad_token_id=63,
)

# Values beside absent and null that people's files hold, or that name mathematics which is not implemented.
UNET_VALUES = {
    "_class_name": ["FlaxUNet2DConditionModel", "UNet2DModel"],
    "act_fn": ["swish", "gelu", "mish"],
    "addition_embed_type": ["text", "text_image", "image"],
    "attention_head_dim": [[4, 2], [4], 3, [2, 5], 0],
    "attention_type": ["gated"],
    "block_out_channels": [[8], [8, 10]],
    "center_input_sample": [True],
    "class_embed_type": ["timestep"],
    "conv_in_kernel": [1, 5],
    "conv_out_kernel": [1],
    "cross_attention_dim": [[12, 12], [12, 14]],
    "cross_attention_norm": ["layer_norm"],
    "down_block_types": [["DownBlock2D", "DownBlock2D"], ["AttnDownBlock2D", "DownBlock2D"], ["DownBlock2D"]],
    "downsample_padding": [0, 2],
    "dropout": [0.5],
    "dual_cross_attention": [True],
    "encoder_hid_dim": [14],
    "flip_sin_to_cos": [False, 0, 1],
    "freq_shift": [1, 0.5],
    "layers_per_block": [2, [1, 2], [1]],
    "mid_block_only_cross_attention": [True, False],
    "mid_block_scale_factor": [2, 1.41],
    "mid_block_type": ["UNetMidBlock2D", "UNetMidBlock2DSimpleCrossAttn"],
    "norm_eps": [1e-3, 0],
    "norm_num_groups": [8, 3],
    "num_attention_heads": [4],
    "num_class_embeds": [3],
    "only_cross_attention": [True, [True, False], [False, False], [False]],
    "out_channels": [8, 6, 1],
    "in_channels": [5],
    "resnet_out_scale_factor": [2.0],
    "resnet_skip_time_act": [True],
    "resnet_time_scale_shift": ["scale_shift"],
    "sample_size": [[8, 16], 16],
    "time_cond_proj_dim": [6],
    "time_embedding_act_fn": ["silu"],
    "time_embedding_dim": [20],
    "time_embedding_type": ["fourier"],
    "timestep_post_act": ["silu"],
    "transformer_layers_per_block": [2, [1, 2], [[1], [2]], [1, 2, 3], 0],
    "up_block_types": [["UpBlock2D", "UpBlock2D"], ["UpBlock2D"]],
    "upcast_attention": [True],
    "use_linear_projection": [True, 1],
    "unknown_key": [3],
}
XL_VALUES = {
    "addition_embed_type": ["text", "text_image"],
    "addition_time_embed_dim": [5],
    "projection_class_embeddings_input_dim": [31],
    "time_cond_proj_dim": [6],
    "transformer_layers_per_block": [1, [1, 0]],
}
KL_VALUES = {
    "_class_name": ["AutoencoderTiny", "VQModel"],
    "act_fn": ["swish", "gelu"],
    "block_out_channels": [[8], [8, 10]],
    "down_block_types": [["DownEncoderBlock2D"]],
    "force_upcast": [False],
    "latents_mean": [[0.1, 0.2, 0.3, 0.4], [0.1]],
    "latents_std": [[1.1, 1.2, 1.3, 1.4]],
    "layers_per_block": [2, [1, 2]],
    "mid_block_add_attention": [False, 0],
    "norm_num_groups": [8, 3],
    "out_channels": [4, 1],
    "in_channels": [1],
    "sample_size": [[16, 16], 8],
    "scaling_factor": [0.5, 0],
    "shift_factor": [0.1],
    "up_block_types": [["UpDecoderBlock2D", "AttnUpDecoderBlock2D"], ["UpDecoderBlock2D"]],
    "use_post_quant_conv": [False, 0],
    "use_quant_conv": [False],
}
TINY_VALUES = {
    "act_fn": ["silu", "gelu"],
    "decoder_block_out_channels": [[8, 6], [6, 8]],
    "num_decoder_blocks": [[1, 2], [2], [0, 1]],
    "out_channels": [4],
    "latent_channels": [6],
    "latent_magnitude": [2, 5.0],
    "latent_shift": [0.25],
    "scaling_factor": [0.5],
    "shift_factor": [0.1],
    "upsample_fn": ["bilinear"],
    "upsampling_scaling_factor": [1, 3],
    "force_upcast": [True],
    "block_out_channels": [[8, 8]],
}
TEXT_VALUES = {
    "architectures": [["CLIPTextModelWithProjection"]],
    "attention_dropout": [0.5],
    "eos_token_id": [2, 60, 40],
    "hidden_act": ["gelu", "gelu_new", "relu", "silu", "gelu_pytorch_tanh"],
    "layer_norm_eps": [1e-3, 0.0],
    "model_type": ["clip", "bert"],
    "num_attention_heads": [4, 3],
    "pad_token_id": [1],
    "projection_dim": [8],
    "max_position_embeddings": [10],
    "dtype": ["float16"],
    "torch_dtype": ["float16"],
    "vocab_size": [80],
    "unknown_key": [3],
}


def unet_output(model, config):
    width = config.get("cross_attention_dim", 1280)
    width = width[0] if isinstance(width, (list, tuple)) else width
    added = dict(
        text_embeds=formula.tensor("pooled", (2, 6)) * 2,
        time_ids=torch.tensor([[16.0, 24.0, 1.0, 2.0, 8.0, 32.0]] * 2),
    )
    condition = config.get("time_cond_proj_dim")
    if condition is not None:
        # Of the guidance scale 1.0625, which is exact after all steps.
        embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
        condition = embed(None, torch.tensor([0.0625]), condition).expand(2, condition)
    channels = model.config.in_channels
    return model(
        formula.tensor("x", (2, channels, 8, 8)) * 3,
        torch.tensor(621),
        formula.tensor("text", (2, 5, width)) * 2,
        timestep_cond=condition,
        added_cond_kwargs=added,
    ).sample


def decoder_output(model, config):
    latents = formula.tensor("z", (1, model.config.latent_channels, 4, 6)) * 2
    return model.decode(latents / model.config.scaling_factor).sample


def text_output(model, config):
    length = 9
    ids = torch.tensor([[62, 5, 40, 7, 63, 63, 40, 1, 0], [62, 59, 3, 2, 40, 60, 60, 0, 0]])[:, :length]
    out = model(ids, output_hidden_states=True)
    pooled = out.text_embeds if hasattr(out, "text_embeds") else out.pooler_output
    return [out.hidden_states[-1], out.hidden_states[-2], pooled]


def open_diffusers(cls):
    return lambda folder: cls.from_config(cls.load_config(folder))


def open_transformers(cls):
    return lambda folder: cls(cls.config_class.from_pretrained(folder))


# Class, how it is opened, how it is run, complete settings, further values.
KINDS = {
    "unet": (UNet2DConditionModel, open_diffusers, unet_output, UNET, UNET_VALUES),
    "unet-xl": (UNet2DConditionModel, open_diffusers, unet_output, XL, XL_VALUES),
    "kl": (AutoencoderKL, open_diffusers, decoder_output, KL, KL_VALUES),
    "tiny": (AutoencoderTiny, open_diffusers, decoder_output, TINY, TINY_VALUES),
    "text": (CLIPTextModel, open_transformers, text_output, TEXT, TEXT_VALUES),
    "text-projection": (CLIPTextModelWithProjection, open_transformers, text_output, TEXT, {"projection_dim": [8]}),
}


def complete(cls, settings):
    """The config file that the library writes, with every key."""
    if hasattr(cls, "config_class"):
        model = cls(cls.config_class(**settings))
        with tempfile.TemporaryDirectory() as folder:
            model.config.architectures = [cls.__name__]
            model.config.save_pretrained(folder)
            config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        # The library leaves out what has its default value; the complete file has it all.
        return {**model.config.to_dict(), **config}
    return json.loads(cls(**settings).to_json_string())


def variations(config, values):
    for key in sorted(config):
        if key in IGNORED:
            continue
        yield key, "absent", {name: value for name, value in config.items() if name != key}
        if config[key] is not None:
            yield key, None, {**config, key: None}
    for key, others in values.items():
        for value in others:
            yield key, value, {**config, key: value}


def numbers(output):
    """Some numbers of each part of an output."""
    parts = [part.detach().float().reshape(-1) for part in (output if isinstance(output, list) else [output])]
    if not all(torch.isfinite(part).all() for part in parts):
        return "not finite"
    return [[round(float(value), 6) for value in part[:: max(1, len(part) // 12)]] for part in parts]


@torch.no_grad()
def outcome(kind, config, architectures):
    cls, opener, run, _, _ = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        try:
            model = opener(cls)(folder).eval()
            count = sum(parameter.numel() for parameter in model.parameters())
            shapes = formula.shapes(model)
            if count > LARGEST:
                return {"parameters": count}
            formula.fill(model)
            output = numbers(run(model, config))
        except Exception as error:
            return {"raises": f"{type(error).__name__}: {error}".splitlines()[0][:160]}
    if shapes not in architectures:
        architectures.append(shapes)
    return {"tensors": architectures.index(shapes), "output": output}


def listed(architectures):
    """The tensors of the first network; of the others what differs, null for what is not there."""
    first = architectures[0]
    return [first] + [
        {name: shapes.get(name) for name in first | shapes if shapes.get(name) != first.get(name)}
        for shapes in architectures[1:]
    ]


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    golden = {}
    for kind, (cls, _, _, settings, values) in KINDS.items():
        config, architectures = complete(cls, settings), []
        base = outcome(kind, config, architectures)
        assert "output" in base, (kind, base)
        cases = []
        for key, value, changed in variations(config, values):
            found = outcome(kind, changed, architectures)
            if found == base:
                found = "same"
            cases.append([key, value, found])
        golden[kind] = {"config": config, "base": base, "cases": cases, "tensors": listed(architectures)}
        raised = [case for case in cases if "raises" in case[2]]
        same = [case for case in cases if case[2] == "same"]
        print(kind, len(cases), "cases,", len(raised), "raise,", len(same), "same")
    text = json.dumps(golden, separators=(",", ":"))
    (HERE / "configs.json").write_text(text + "\n")
    print(len(text), "bytes")


if __name__ == "__main__":
    main()
