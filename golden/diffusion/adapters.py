"""Makes low-rank adapters in every naming that trainers use, and what diffusers gets with them.

Run: python golden/diffusion/adapters.py   (after make.py; versions in golden/requirements.txt)
"""

import json
import pathlib
import tempfile

import safetensors.torch
import torch

import make
import tiny

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "adapters"
WEIGHT = 0.7
RANK = 3

UNET = [
    "conv_in",
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.resnets.0.time_emb_proj",
    "down_blocks.0.downsamplers.0.conv",
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.2",
    "mid_block.attentions.0.proj_in",
    "mid_block.resnets.1.conv2",
    "up_blocks.0.resnets.1.conv_shortcut",
    "up_blocks.0.upsamplers.0.conv",
]
ATTENTION = [name for name in UNET if ".attn" in name]
TEXT = [
    "text_model.encoder.layers.0.self_attn.q_proj",
    "text_model.encoder.layers.0.self_attn.out_proj",
    "text_model.encoder.layers.1.mlp.fc1",
]
# Names of the original program, which trainers of SDXL keep; the tiny denoiser has one residual block a level.
ORIGINAL = {
    "down_blocks.0.resnets.0.conv1": "input_blocks.1.0.in_layers.2",
    "down_blocks.0.resnets.0.time_emb_proj": "input_blocks.1.0.emb_layers.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_v": "input_blocks.3.1.transformer_blocks.1.attn2.to_v",
    "mid_block.attentions.0.proj_out": "middle_block.1.proj_out",
    "mid_block.resnets.1.conv2": "middle_block.2.out_layers.3",
    "up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0": "output_blocks.1.1.transformer_blocks.0.attn1.to_out.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    "up_blocks.1.resnets.0.conv_shortcut": "output_blocks.2.0.skip_connection",
}


def pair(module, generator):
    """Down and up matrices of a module, in half precision."""
    shape = module.weight.shape
    down = torch.randn(RANK, *shape[1:], generator=generator) / shape[1:].numel() ** 0.5
    up = torch.randn(shape[0], RANK, *[1] * (len(shape) - 2), generator=generator) / RANK**0.5
    return down.half(), up.half()


def submodule(root, name):
    # From version 5 on, transformers has no `text_model` between the encoder and its layers.
    short = name.removeprefix("text_model.")
    return root.get_submodule(name if hasattr(root, "text_model") or short == name else short)


def kohya(pipeline, generator):
    parts = [("lora_unet_", pipeline.unet, UNET), ("lora_te_", pipeline.text_encoder, TEXT)]
    tensors = {}
    for prefix, root, names in parts:
        for name in names:
            flat = prefix + name.replace(".", "_")
            down, up = pair(submodule(root, name), generator)
            tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(2.0)}
    return tensors


def kohya_xl(pipeline, generator):
    tensors = {}
    for name, original in ORIGINAL.items():
        flat = "lora_unet_" + original.replace(".", "_")
        down, up = pair(pipeline.unet.get_submodule(name), generator)
        tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(1.5)}
    for prefix, root in [("lora_te1_", pipeline.text_encoder), ("lora_te2_", pipeline.text_encoder_2)]:
        for name in TEXT:
            flat = prefix + name.replace(".", "_")
            down, up = pair(submodule(root, name), generator)
            tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(1.5)}
    return tensors


def peft(pipeline, generator):
    tensors = {}
    for prefix, root, names in [("unet.", pipeline.unet, UNET), ("text_encoder.", pipeline.text_encoder, TEXT)]:
        for name in names:
            down, up = pair(submodule(root, name), generator)
            tensors |= {f"{prefix}{name}.lora_A.weight": down, f"{prefix}{name}.lora_B.weight": up}
    return tensors


def older(pipeline, generator):
    """The naming of diffusers before it used peft."""
    tensors = {}
    for name in ATTENTION:
        down, up = pair(pipeline.unet.get_submodule(name), generator)
        attention, layer = name.removesuffix(".0").rsplit(".", 1)
        tensors |= {
            f"unet.{attention}.processor.{layer}_lora.down.weight": down,
            f"unet.{attention}.processor.{layer}_lora.up.weight": up,
        }
    for name in TEXT:
        down, up = pair(submodule(pipeline.text_encoder, name), generator)
        tensors |= {
            f"text_encoder.{name}.lora_linear_layer.down.weight": down,
            f"text_encoder.{name}.lora_linear_layer.up.weight": up,
        }
    return tensors


def header(names):
    """The factors that newer diffusers writes into the header."""
    config = dict(r=RANK, lora_alpha=6, alpha_pattern={}, rank_pattern={}, target_modules=names, use_rslora=False)
    return {f"{part}.{key}": value for part in ["unet", "text_encoder"] for key, value in config.items()} | {
        "unet.target_modules": UNET,
        "text_encoder.target_modules": [name.removeprefix("text_model.") for name in TEXT],
        "unet.alpha_pattern": {"conv_in": 1.0},
    }


SETUPS = {
    "kohya": ("sd1", kohya, None),
    "peft": ("sd1", peft, None),
    "peft-header": ("sd1", peft, header),
    "older": ("sd1", older, None),
    "kohya-xl": ("sdxl", kohya_xl, None),
}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    golden = {}
    for at, (name, (family, tensors_of, header_of)) in enumerate(SETUPS.items()):
        with tempfile.TemporaryDirectory() as folder:
            pipeline = tiny.build(family, folder)
        generator = torch.Generator().manual_seed(300 + at)
        metadata = {"format": "pt"}
        if header_of:
            metadata["lora_adapter_metadata"] = json.dumps(header_of(UNET))
        file = f"{name}.safetensors"
        safetensors.torch.save_file(tensors_of(pipeline, generator), FOLDER / file, metadata=metadata)
        # Weights are merged in single precision from the stored half precision.
        before = make.text_states(pipeline, family)
        pipeline.load_lora_weights(FOLDER, weight_name=file)
        pipeline.set_adapters(pipeline.get_active_adapters(), WEIGHT)
        pipeline.fuse_lora(components=["unet", "text_encoder"] + ["text_encoder_2"] * (family == "sdxl"))
        states = make.text_states(pipeline, family)
        call = make.unet_call(pipeline, family, torch.Generator().manual_seed(100))
        original = safetensors.torch.load_file(HERE / f"{family}.safetensors")
        changed = lambda new, old: (new - old).abs().max().item()
        print(name, changed(call["unet_output"], original["unet_output"]), changed(states["text_hidden"], before["text_hidden"]))
        golden[f"{name}.unet_output"] = call["unet_output"]
        golden[f"{name}.text_hidden"] = states["text_hidden"]
        if family == "sdxl":
            golden[f"{name}.text_embeds"] = states["text_embeds"]
    make.save(golden, "adapters")


if __name__ == "__main__":
    main()
