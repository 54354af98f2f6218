"""Makes emoji-64.safetensors and emoji-64-turbo.safetensors: what diffusers draws with the models that ship, from given noises.

Run after every change of models/: python golden/diffusion/default_model.py   (versions in golden/requirements.txt)
"""

import hashlib
import json
import pathlib

import numpy
import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parents[1] / "models"
PROMPT = "a green dog"


@torch.no_grad()
def make(name):
    model = MODELS / name
    settings = json.loads((model / "noisefind.json").read_text())
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    # A model that names a base holds only the parts that differ.
    pipeline = StableDiffusionPipeline.from_pretrained(model / settings.get("base", "."), unet=unet, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sample = unet.config.sample_size
    noise = torch.randn((2, unet.config.in_channels, sample, sample), generator=torch.Generator().manual_seed(42))
    steps, guidance = settings["num_inference_steps"], settings["guidance_scale"]
    run = lambda kind: pipeline(
        [PROMPT] * 2, num_inference_steps=steps, guidance_scale=guidance, latents=noise.clone(), output_type=kind
    ).images
    weights = (model / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    tensors = {
        "noise": noise,
        "latents": run("latent"),
        "pictures": torch.from_numpy(numpy.asarray(run("np"))).permute(0, 3, 1, 2),
    }
    metadata = {
        "prompt": PROMPT,
        "num_inference_steps": str(steps),
        "guidance_scale": str(guidance),
        "unet_sha256": hashlib.sha256(weights).hexdigest(),
    }
    path = HERE / f"{name}.safetensors"
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("emoji-64", "emoji-64-turbo"):
        make(name)
