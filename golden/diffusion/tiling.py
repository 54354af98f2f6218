"""What the decoders of the tiny pipelines make of latents tile by tile: tiling.safetensors.

Run: python golden/diffusion/tiling.py   (after make.py; versions in golden/requirements.txt)
"""

import pathlib

import diffusers
import torch

import make

HERE = pathlib.Path(__file__).parent
# Pictures, latent rows and columns. Tiles of the full decoder are 8 latents wide, those of the small one 16.
FADED = {"large": (1, 21, 10), "wide": (2, 5, 15), "native": (1, 8, 5)}
LAID = {"large": (1, 37, 20), "wide": (2, 9, 31), "native": (1, 16, 16)}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    full = diffusers.AutoencoderKL.from_pretrained(HERE / "sd1" / "vae", torch_dtype=torch.float32)
    full.enable_tiling()
    small = diffusers.AutoencoderTiny.from_pretrained(HERE / "lcm" / "vae", torch_dtype=torch.float32)
    small.enable_tiling()
    # Its own size, 512 pixels, would make large files; and diffusers takes for granted that it makes 8 pixels of a latent.
    small.tile_sample_min_size, small.tile_latent_min_size, small.spatial_scale_factor = 32, 16, 2
    generator = torch.Generator().manual_seed(40)
    golden = {}
    for name, vae, sizes in [("faded", full, FADED), ("laid", small, LAID)]:
        for size, (pictures, height, width) in sizes.items():
            latents = torch.randn(pictures, 4, height, width, generator=generator)
            golden[f"{name}.{size}.latents"] = latents
            golden[f"{name}.{size}.pictures"] = vae.decode(latents).sample
    make.save(golden, "tiling")


if __name__ == "__main__":
    main()
