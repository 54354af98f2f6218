"""Checkpoints as one file with the names of the original programs, and what diffusers draws with them: `single_file/`.

Run: python golden/diffusion/single_file.py   (after make.py; versions in golden/requirements.txt)

Weights are by formula of their original names, so only names, shapes and results are kept. The names come from a
reversal of the conversion, and diffusers' own conversion has to give back exactly the tensors of the model.
"""

import json
import pathlib
import tempfile

import diffusers
import safetensors.torch
import torch
import transformers
from diffusers.loaders import single_file_utils

import formula
import full_size
import tiny as tiny_pipelines

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "single_file"
PROMPT = "a green dog"

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def unet_name(name, layers, attends):
    """What the original program calls a tensor of the denoiser; `attends` are the levels of the way up that attend."""
    module, kind = name.rsplit(".", 1)
    if module in OUTSIDE:
        return f"{OUTSIDE[module]}.{kind}"
    parts = module.split(".")
    if parts[0] == "mid_block":
        _, what, at, *rest = parts
        if what == "attentions":
            return ".".join(["middle_block.1", *rest, kind])
        return ".".join([f"middle_block.{2 * int(at)}", RESNET[".".join(rest)], kind])
    direction, level, what, at, *rest = parts
    level, at = int(level), int(at)
    block = "input_blocks" if direction == "down_blocks" else "output_blocks"
    place = level * (layers + 1) + at + (1 if direction == "down_blocks" else 0)
    if what == "resnets":
        return ".".join([f"{block}.{place}.0", RESNET[".".join(rest)], kind])
    if what == "attentions":
        return ".".join([f"{block}.{place}.1", *rest, kind])
    if what == "downsamplers":
        return f"{block}.{level * (layers + 1) + layers + 1}.0.op.{kind}"
    return f"{block}.{level * (layers + 1) + layers}.{2 if attends[level] else 1}.conv.{kind}"


def vae_name(name, levels):
    """What the original program calls a tensor of the decoder."""
    attention = dict(group_norm="norm", to_q="q", to_k="k", to_v="v")
    attention["to_out.0"] = "proj_out"
    module, kind = name.rsplit(".", 1)
    parts = module.split(".")
    if parts[0] in ("quant_conv", "post_quant_conv") or parts[1] in ("conv_in", "conv_out"):
        return name
    side = parts[0]
    if parts[1] == "conv_norm_out":
        return f"{side}.norm_out.{kind}"
    shortcut = lambda rest: rest.replace("conv_shortcut", "nin_shortcut")
    if parts[1] == "mid_block":
        if parts[2] == "attentions":
            return f"{side}.mid.attn_1.{attention['.'.join(parts[4:])]}.{kind}"
        return f"{side}.mid.block_{int(parts[3]) + 1}.{shortcut('.'.join(parts[4:]))}.{kind}"
    level = int(parts[2])
    place, direction = (level, "down") if parts[1] == "down_blocks" else (levels - 1 - level, "up")
    if parts[3] == "resnets":
        return f"{side}.{direction}.{place}.block.{parts[4]}.{shortcut('.'.join(parts[5:]))}.{kind}"
    return f"{side}.{direction}.{place}.{direction}sample.conv.{kind}"


def open_clip_shapes(shapes, more_layers):
    """Names and shapes of the same text encoder in OpenCLIP, `more_layers` of which are not used."""
    get = lambda name: shapes.get(f"text_model.{name}", shapes.get(name))
    width = get("final_layer_norm.weight")[0]
    hidden = get("encoder.layers.0.mlp.fc1.weight")[0]
    layers = 1 + max(int(name.split("layers.")[1].split(".")[0]) for name in shapes if "layers." in name)
    projection = shapes.get("text_projection.weight", [width, width])
    out = {
        "positional_embedding": get("embeddings.position_embedding.weight"),
        "token_embedding.weight": get("embeddings.token_embedding.weight"),
        "ln_final.weight": [width],
        "ln_final.bias": [width],
        "text_projection": projection[::-1],
        "logit_scale": [],
    }
    for layer in range(layers + more_layers):
        at = f"transformer.resblocks.{layer}"
        out |= {
            f"{at}.attn.in_proj_weight": [3 * width, width],
            f"{at}.attn.in_proj_bias": [3 * width],
            f"{at}.attn.out_proj.weight": [width, width],
            f"{at}.attn.out_proj.bias": [width],
            f"{at}.mlp.c_fc.weight": [hidden, width],
            f"{at}.mlp.c_fc.bias": [hidden],
            f"{at}.mlp.c_proj.weight": [width, hidden],
            f"{at}.mlp.c_proj.bias": [width],
        }
        out |= {f"{at}.ln_{norm}.{kind}": [width] for norm in (1, 2) for kind in ("weight", "bias")}
    return out


def original_shapes(kind, parts):
    """Names and shapes of the whole file; `parts` are modules of diffusers, on whatever device."""
    unet, vae = parts["unet"], parts["vae"]
    attends = ["CrossAttn" in block for block in unet.config.up_block_types]
    out = {}
    for name, shape in shapes_of(unet).items():
        out["model.diffusion_model." + unet_name(name, unet.config.layers_per_block, attends)] = shape
    for name, shape in shapes_of(vae).items():
        original = "first_stage_model." + vae_name(name, len(vae.config.block_out_channels))
        # The original attention of the decoder is made of 1x1 convolutions.
        is_matrix = ".attn_1." in original and len(shape) == 2
        out[original] = [*shape, 1, 1] if is_matrix else shape
    text = {f"text_model.{name.removeprefix('text_model.')}": shape for name, shape in shapes_of(parts["text_encoder"]).items()}
    length = parts["text_encoder"].config.max_position_embeddings
    text["text_model.embeddings.position_ids"] = [1, length]
    if kind == "sd1":
        out |= {f"cond_stage_model.transformer.{name}": shape for name, shape in text.items()}
        out |= {"betas": [1000], "alphas_cumprod": [1000], "sqrt_alphas_cumprod": [1000]}
    elif kind == "sd2":
        out |= {f"cond_stage_model.model.{name}": shape for name, shape in open_clip_shapes(text, 1).items()}
        out |= {"betas": [1000], "alphas_cumprod": [1000]}
    else:
        out |= {f"conditioner.embedders.0.transformer.{name}": shape for name, shape in text.items()}
        second = shapes_of(parts["text_encoder_2"])
        out |= {f"conditioner.embedders.1.model.{name}": shape for name, shape in open_clip_shapes(second, 0).items()}
        out |= {"denoiser.sigmas": [1000]}
    return out


def shapes_of(module):
    return {name: list(tensor.shape) for name, tensor in module.state_dict().items() if not name.endswith("position_ids")}


def state_dict(shapes):
    ids = lambda name, shape: torch.arange(shape[1]).reshape(shape) if name.endswith("position_ids") else None
    return {name: value if (value := ids(name, shape)) is not None else formula.tensor(name, shape) for name, shape in shapes.items()}


def check_conversion(shapes, parts):
    """diffusers' own conversion of these names gives the tensors of the denoiser and the decoder, and no other."""
    meta = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    unet = single_file_utils.convert_ldm_unet_checkpoint(dict(meta), parts["unet"].config)
    vae = single_file_utils.convert_ldm_vae_checkpoint(dict(meta), parts["vae"].config)
    for part, converted in (("unet", unet), ("vae", vae)):
        expected = shapes_of(parts[part])
        found = {name: list(tensor.shape) for name, tensor in converted.items()}
        assert found == expected, (part, set(found) ^ set(expected))


KINDS = {"sd1": diffusers.StableDiffusionPipeline, "sd2": diffusers.StableDiffusionPipeline, "sdxl": diffusers.StableDiffusionXLPipeline}


def front_coded(names):
    """Sorted names, each as the number of letters that it has in common with the one before, and its other letters."""
    lines, before = [], ""
    for name in sorted(names):
        common = 0
        while common < min(len(name), len(before)) and name[common] == before[common]:
            common += 1
        lines.append(f"{common} {name[common:]}")
        before = name
    return "\n".join(lines) + "\n"


@torch.no_grad()
def tiny(kind, out):
    """The tiny pipelines of make.py with other weights, in one file."""
    folder = HERE / kind
    with tempfile.TemporaryDirectory() as temporary:
        parts = tiny_pipelines.build(kind, temporary).components
        shapes = original_shapes(kind, parts)
        check_conversion(shapes, parts)
        file = pathlib.Path(temporary) / "model.safetensors"
        safetensors.torch.save_file(state_dict(shapes), file)
        pipeline = KINDS[kind].from_single_file(str(file), config=str(folder), local_files_only=True)
        vae = diffusers.AutoencoderKL.from_single_file(str(file), config=str(folder), subfolder="vae")
    pipeline.set_progress_bar_config(disable=True)
    noise = formula.tensor("noise", (1, 4, 8, 8)) * 14
    run = lambda kind: pipeline(PROMPT, num_inference_steps=3, guidance_scale=5.0, latents=noise.clone(), output_type=kind).images
    latents = run("latent")
    image = vae.decode(formula.tensor("vae_input", (1, 4, 8, 8)) * 14).sample
    print(kind, len(shapes), float(latents.std()), float(image.std()))
    rounded = lambda tensor: [round(value, 5) for value in tensor.flatten().tolist()]
    out[kind] = dict(tensors=shapes, latents=rounded(latents), image=rounded(image.flatten()[::7]))


def full(kind, name):
    """Names and shapes of the published sizes."""
    sizes = dict(sd1="sd15", sd2="sd21", sdxl="sdxl")[kind]
    with torch.device("meta"):
        parts = {"unet": diffusers.UNet2DConditionModel.from_config(full_size.UNETS[sizes]), "vae": full_size.random_vae(sizes)}
        first = full_size.CLIP_H if kind == "sd2" else full_size.CLIP_L
        parts["text_encoder"] = transformers.CLIPTextModel(transformers.CLIPTextConfig(**first))
        if kind == "sdxl":
            second = transformers.CLIPTextConfig(**full_size.CLIP_G)
            parts["text_encoder_2"] = transformers.CLIPTextModelWithProjection(second)
    shapes = original_shapes(kind, parts)
    check_conversion(shapes, parts)
    (FOLDER / f"{name}.txt").write_text(front_coded([f"{name} {','.join(map(str, shape))}" for name, shape in shapes.items()]))
    print(name, len(shapes), (FOLDER / f"{name}.txt").stat().st_size)


def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    out = {}
    for kind in KINDS:
        tiny(kind, out)
    (FOLDER / "tiny.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print("tiny.json", (FOLDER / "tiny.json").stat().st_size)
    full("sd1", "sd-1.5")
    full("sd2", "sd-2.1")
    full("sdxl", "sdxl")


if __name__ == "__main__":
    main()
