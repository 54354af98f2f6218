"""Makes emoji-64.safetensors: what diffusers draws with the default model from given noises.

Run after every change of models/emoji-64: python golden/diffusion/default_model.py   (versions in golden/requirements.txt)
"""

import hashlib
import json
import pathlib

import numpy
import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parents[1] / "models" / "emoji-64"
PROMPT = "a green dog"


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    settings = json.loads((MODEL / "noisefind.json").read_text())
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sample = pipeline.unet.config.sample_size
    shape = (2, pipeline.unet.config.in_channels, sample, sample)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(42))
    steps, guidance = settings["num_inference_steps"], settings["guidance_scale"]
    run = lambda kind: pipeline(
        [PROMPT] * 2, num_inference_steps=steps, guidance_scale=guidance, latents=noise.clone(), output_type=kind
    ).images
    weights = (MODEL / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
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
    path = HERE / "emoji-64.safetensors"
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
