"""Fills the work folder from the committed model, so that its training can go on where the work folder is gone.

Autoencoder, denoiser and scorer start from their averaged fp16 weights with fresh optimisers; the judge's batch normalisation
was folded on export, so the judge is trained anew. The autoencoder was exported with standardised latents, which is why the
statistics of the latents are zero and one here.
"""

import torch
from safetensors.torch import load_file

from . import diffusion, scorer, vae
from .common import MODEL, WORK, Average, save_atomically
from .muon import Muon


def reopen(model, tensors, path, decay, optimiser):
    if path.exists():
        raise SystemExit(f"{path} exists; move it away to start from the committed model")
    model.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=True)
    save_atomically(dict(model=model.state_dict(), average=Average(model, decay).state_dict(), optimiser=optimiser.state_dict(),
                         step=0, samples=0, seconds=0.0), path)


def main():
    part = lambda name: load_file(MODEL / name)
    autoencoder = vae.AutoencoderKL(**vae.CONFIG)
    reopen(autoencoder, part("vae/diffusion_pytorch_model.safetensors"), vae.PATH, 0.998, Muon(autoencoder.named_parameters(), 0.0))
    save_atomically(dict(mean=torch.zeros(4), std=torch.ones(4)), WORK / "latent-statistics.pt")
    denoiser = diffusion.new_model()
    tensors = {f"unet.{k}": v for k, v in part("unet/diffusion_pytorch_model.safetensors").items()}
    tensors |= {f"text_encoder.{k}": v for k, v in part("text_encoder/model.safetensors").items()}
    reopen(denoiser, tensors, diffusion.PATH, 0.9985, Muon(denoiser.named_parameters(), 0.0, adam_only=diffusion.ADAM_ONLY))
    clip = scorer.new_model()
    reopen(clip, part("scorer/model.safetensors"), scorer.PATH, 0.997, Muon(clip.named_parameters(), 0.0, adam_only=scorer.ADAM_ONLY))


if __name__ == "__main__":
    main()
