"""Draws from a noise policy with diffusers: MODEL_FOLDER POLICY.safetensors OUT_FOLDER [NOISE.safetensors].

With a noise file (`noisefind sample POLICY --save-noise NOISE.safetensors`) the images or clips are those that noisefind
draws; without one, fresh noises are drawn from the policy. A motion adapter that the policy was tuned with is loaded too.
"""

import json, pathlib, sys
import numpy, torch
from diffusers import AnimateDiffPipeline, DiffusionPipeline, MotionAdapter, StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

model, policy_file, out = sys.argv[1:4]
policy = load_file(policy_file)
made = json.loads(safe_open(policy_file, "pt").metadata()["noisefind"])
shape = made["noise_shape"]
# One Gaussian, or several one after the other that take turns.
mu, sigma = (policy[name].view(-1, *shape) for name in ("mu", "sigma"))
turn = torch.arange(8) % len(mu)
noise = load_file(sys.argv[4])["noise"] if len(sys.argv) > 4 else mu[turn] + sigma[turn] * torch.randn(8, *shape)
if adapter := made.get("motion_adapter"):
    pipe = AnimateDiffPipeline.from_pretrained(model, motion_adapter=MotionAdapter.from_pretrained(adapter), feature_extractor=None)
elif len(shape) == 4:  # channels, frames, height, width: a model of clips
    pipe = DiffusionPipeline.from_pretrained(model)
else:
    pipe = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, feature_extractor=None)
settings = {name: made[name] for name in ("eta", "guidance_scale", "num_inference_steps")}
out = pathlib.Path(out)
out.mkdir(parents=True, exist_ok=True)
if len(shape) == 3:
    images = pipe([made["prompt"]] * len(noise), latents=noise, **settings).images
    [image.save(out / f"{index}.png") for index, image in enumerate(images)]
else:
    pixels = pipe.vae_scale_factor
    size = dict(num_frames=shape[1], height=shape[2] * pixels, width=shape[3] * pixels)
    for index, one in enumerate(noise):
        clip = pipe(made["prompt"], latents=one[None], output_type="np", **size, **settings).frames[0]
        frames = [Image.fromarray(numpy.uint8((frame * 255).round())) for frame in clip]
        duration = round(1000 / (made.get("fps") or 8))
        frames[0].save(out / f"{index}.webp", save_all=True, append_images=frames[1:], duration=duration, loop=0, lossless=True)
