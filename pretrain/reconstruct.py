"""Measures the exported autoencoder on held-out scenes: decibels, colour error of large areas, spread of the latents a channel."""

import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from . import world
from .common import MODEL, WORK


@torch.no_grad()
def main():
    model = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).eval()
    rng, painter = np.random.default_rng(88), world.Painter()
    result = {}
    for name, uniform in (("skewed world", False), ("even colours and places", True)):
        x = torch.from_numpy(np.stack([painter.draw(world.sample(rng, uniform=uniform), rng) for _ in range(256)])).permute(0, 3, 1, 2).float() / 127.5 - 1
        z = torch.cat([model.encode(part).latent_dist.mode() for part in x.split(64)])
        y = torch.cat([model.decode(part).sample for part in z.split(64)]).clamp(-1, 1)
        mse = (x - y).square().mean((1, 2, 3)) / 4
        coarse = (F.avg_pool2d(x, 8) - F.avg_pool2d(y, 8)).abs().mean().item() * 127.5
        result[name] = dict(psnr_of_mean_error_db=-10 * math.log10(mse.mean()), mean_psnr_db=(-10 * mse.log10()).mean().item(),
                            coarse_color_error_of_255=coarse, latent_spread=z.std((0, 2, 3)).tolist(), latent_mean=z.mean((0, 2, 3)).tolist())
    (WORK / "reconstruction.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
