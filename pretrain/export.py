"""Writes the model folder in the public layout: averaged weights in fp16 safetensors, configurations and hashes."""

import argparse
import hashlib
import json

import torch
from diffusers import DDIMScheduler

from . import diffusion, latents, vae
from .common import MODEL
from .tokenizer import load as load_tokenizer

# At this reward the scorer agrees with the judge most often, on base images of the development half of bench/method/prompts.tsv.
SUCCESS_REWARD = 0.52
DEFAULTS = dict(default_scorer="scorer", default_judge="judge", num_inference_steps=20, guidance_scale=4.0, native_size=64,
                success_reward=SUCCESS_REWARD)


def standardised_autoencoder():
    """The autoencoder with the latents' mean and spread folded into its two 1x1 convolutions, so that latents are standardised."""
    model = vae.load_average()
    mean, std = latents.standardisation()
    with torch.no_grad():
        quant, post = model.quant_conv, model.post_quant_conv
        quant.weight[:4] /= std[:, None, None, None]
        quant.bias[:4] = (quant.bias[:4] - mean) / std
        quant.bias[4:] -= 2 * std.log()
        post.bias += post.weight[:, :, 0, 0] @ mean
        post.weight *= std[None, :, None, None]
    model.register_to_config(scaling_factor=1.0)
    return model


def averaged_denoiser():
    model = diffusion.new_model()
    model.load_state_dict(torch.load(diffusion.PATH, map_location="cpu")["average"]["values"])
    return model.eval()


def declare_float32(path):
    """The files are fp16 to be small; transformers would otherwise compute in fp16 too, beside a UNet in f32."""
    configuration = json.loads(path.read_text())
    configuration["dtype"] = "float32"
    path.write_text(json.dumps(configuration, indent=2) + "\n")


def hashes(model=MODEL):
    """Writes SHA256SUMS of the folder's weights -> its lines."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(model)}" for p in sorted(model.rglob("*.safetensors"))]
    (model / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guidance", type=float, default=DEFAULTS["guidance_scale"])
    a = parser.parse_args()
    MODEL.mkdir(parents=True, exist_ok=True)
    standardised_autoencoder().half().save_pretrained(MODEL / "vae")
    denoiser = averaged_denoiser().half()
    denoiser.unet.save_pretrained(MODEL / "unet")
    denoiser.text_encoder.save_pretrained(MODEL / "text_encoder")
    declare_float32(MODEL / "text_encoder" / "config.json")
    DDIMScheduler(**diffusion.SCHEDULER).save_pretrained(MODEL / "scheduler")
    load_tokenizer()
    (MODEL / "model_index.json").write_text(json.dumps({
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
    }, indent=2) + "\n")
    (MODEL / "noisefind.json").write_text(json.dumps(dict(DEFAULTS, guidance_scale=a.guidance), indent=2) + "\n")
    print("\n".join(hashes()))


if __name__ == "__main__":
    main()
