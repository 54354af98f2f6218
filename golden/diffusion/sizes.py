"""A denoiser of three levels on latents whose sides are no multiples of anything: `deep/` and sizes.safetensors.

Run: python golden/diffusion/sizes.py   (versions in golden/requirements.txt)
"""

import pathlib
import shutil

import torch

import make
import tiny

HERE = pathlib.Path(__file__).parent
# 9 is halved to 5 and 3, 11 to 6 and 3; a side of 1 stays.
SIZES = [(9, 11), (10, 7), (5, 1), (1, 2)]


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    denoiser = tiny.unet(
        30,
        block_out_channels=(8, 16, 16),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    folder = HERE / "deep"
    shutil.rmtree(folder, ignore_errors=True)
    denoiser.save_pretrained(folder / "unet")
    tiny.halve(folder)
    generator = torch.Generator().manual_seed(31)
    golden = {"text": torch.randn(2, 12, 16, generator=generator)}
    for height, width in SIZES:
        x = torch.randn(2, 4, height, width, generator=generator)
        golden[f"{height}x{width}.input"] = x
        golden[f"{height}x{width}.output"] = denoiser(x, 621, encoder_hidden_states=golden["text"]).sample
    make.save(golden, "sizes")


if __name__ == "__main__":
    main()
