"""Draws from a noise policy with diffusers: MODEL_FOLDER POLICY.safetensors OUT_FOLDER [NOISE.safetensors].

With a noise file (`noisefind sample POLICY --save-noise NOISE.safetensors`) the pictures are those that noisefind
draws; without one, fresh noises are drawn from the policy.
"""

import json, pathlib, sys
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file

model, policy_file, out = sys.argv[1:4]
policy = load_file(policy_file)
made = json.loads(safe_open(policy_file, "pt").metadata()["noisefind"])
# One Gaussian, or several one after the other that take turns.
mu, sigma = (policy[name].view(-1, *made["noise_shape"]) for name in ("mu", "sigma"))
turn = torch.arange(8) % len(mu)
noise = load_file(sys.argv[4])["noise"] if len(sys.argv) > 4 else mu[turn] + sigma[turn] * torch.randn(8, *made["noise_shape"])
pipe = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, feature_extractor=None)
images = pipe([made["prompt"]] * len(noise), latents=noise, eta=made["eta"], guidance_scale=made["guidance_scale"],
              num_inference_steps=made["num_inference_steps"]).images
pathlib.Path(out).mkdir(parents=True, exist_ok=True)
[image.save(pathlib.Path(out) / f"{index}.png") for index, image in enumerate(images)]
