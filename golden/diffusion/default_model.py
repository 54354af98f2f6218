"""Makes emoji-64.safetensors, emoji-64-turbo.safetensors and emoji-64-video.safetensors: what diffusers generates with the models that
ship, from given noises.

Run after every change of models/: python golden/diffusion/default_model.py   (versions in golden/requirements.txt)
"""

import hashlib
import json
import pathlib

import numpy
import safetensors.torch
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, TextToVideoSDPipeline, UNet2DConditionModel, UNet3DConditionModel
from transformers import CLIPTextModel

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
    # The clean sample that the scheduler predicts in the middle of the run.
    predicted, step = [], pipeline.scheduler.step
    def recorded(*arguments, **options):
        options.pop("return_dict", None)
        result = step(*arguments, **options)
        predicted.append(result.pred_original_sample)
        return (result.prev_sample,)
    pipeline.scheduler.step = recorded
    latents = run("latent")
    pipeline.scheduler.step = step
    write(name, settings, PROMPT, {"noise": noise, "latents": latents, "clean": predicted[steps // 2 - 1], "pictures": torch.from_numpy(numpy.asarray(run("np"))).permute(0, 3, 1, 2)})


@torch.no_grad()
def make_clip(name, prompt="a red car moving from right to left"):
    model = MODELS / name
    settings = json.loads((model / "noisefind.json").read_text())
    part = lambda kind, folder, of=model: kind.from_pretrained(of / folder, torch_dtype=torch.float32)
    # The class checks that it loads all parts; the base has the autoencoder.
    pipeline = TextToVideoSDPipeline.from_pretrained(
        model, unet=part(UNet3DConditionModel, "unet"), text_encoder=part(CLIPTextModel, "text_encoder"),
        vae=part(AutoencoderKL, "vae", model / settings["base"]), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    side, frames = pipeline.unet.config.sample_size, settings["num_frames"]
    noise = torch.randn((1, 4, frames, side, side), generator=torch.Generator().manual_seed(42))
    run = lambda kind: pipeline(
        prompt, num_frames=frames, num_inference_steps=settings["num_inference_steps"], guidance_scale=settings["guidance_scale"],
        latents=noise.clone(), output_type=kind).frames
    clip = torch.from_numpy(numpy.asarray(run("np")))[0].permute(3, 0, 1, 2)[None]
    write(name, settings, prompt, {"noise": noise, "latents": run("latent"), "pictures": clip})


def write(name, settings, prompt, tensors):
    weights = (MODELS / name / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    steps, guidance = settings["num_inference_steps"], settings["guidance_scale"]
    metadata = {
        "prompt": prompt,
        "num_inference_steps": str(steps),
        "guidance_scale": str(guidance),
        "unet_sha256": hashlib.sha256(weights).hexdigest(),
    }
    if "num_frames" in settings:
        metadata["num_frames"] = str(settings["num_frames"])
    path = HERE / f"{name}.safetensors"
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("emoji-64", "emoji-64-turbo"):
        make(name)
    make_clip("emoji-64-video")
