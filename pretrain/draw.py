"""Draws pictures with the model folder, in batches, without the pipeline's overhead; and contact sheets of them."""

import argparse

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image, ImageDraw
from transformers import CLIPTextModel

from .common import MODEL, WORK, device
from .tokenizer import LENGTH, load as load_tokenizer


class Artist:
    """The exported model, or with `unet`, `text_encoder`, `vae` given, any other weights of the same shape."""

    def __init__(self, folder=MODEL, denoiser=None, autoencoder=None, steps=20, compiled=False):
        """`compiled` pays a minute once and then draws two to three times faster; worth it from some hundred pictures up."""
        self.dev = device()
        load = lambda kind, name: kind.from_pretrained(folder / name, torch_dtype=torch.bfloat16)
        self.unet = (denoiser.unet.bfloat16() if denoiser else load(UNet2DConditionModel, "unet")).to(self.dev, memory_format=torch.channels_last).eval()
        self.text = (denoiser.text_encoder.bfloat16() if denoiser else load(CLIPTextModel, "text_encoder")).to(self.dev).eval()
        self.vae = (autoencoder.bfloat16() if autoencoder else load(AutoencoderKL, "vae")).to(self.dev, memory_format=torch.channels_last).eval()
        self.denoise = lambda x, t, text: self.unet(x, t, text, return_dict=False)[0]
        self.decode = lambda z: self.vae.decode(z, return_dict=False)[0]
        self.compiled = compiled
        if compiled:
            self.denoise, self.decode = torch.compile(self.denoise), torch.compile(self.decode)
        from .diffusion import SCHEDULER
        self.scheduler = DDIMScheduler(**SCHEDULER)
        self.scheduler.set_timesteps(steps)
        self.tokenizer = load_tokenizer()

    def embed(self, prompts):
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")["input_ids"]
        return self.text(tokens.to(self.dev)).last_hidden_state

    @torch.no_grad()
    def draw(self, prompts, noises, guidance, batch=64):
        """prompts: a list, one a noise; noises [n, 4, 16, 16] -> pictures in 0..1, [n, 3, 64, 64], float32"""
        pictures = []
        empty = self.embed([""])
        for i in range(0, len(prompts), batch):
            z, wanted = noises[i:i + batch].to(self.dev).float(), prompts[i:i + batch]
            asked = len(z)
            if self.compiled:
                # One shape only, or every new one would be compiled again.
                z, wanted = torch.cat([z, z[-1:].expand(batch - asked, -1, -1, -1)]), wanted + wanted[-1:] * (batch - asked)
            unique = sorted(set(wanted))
            rows = dict(zip(unique, self.embed(unique)))
            text = torch.cat([empty.expand(len(z), -1, -1), torch.stack([rows[p] for p in wanted])])
            for t in self.scheduler.timesteps:
                both = torch.cat([z, z]).bfloat16().contiguous(memory_format=torch.channels_last)
                out = self.denoise(both, t, text).float()
                without, with_text = out.chunk(2)
                z = self.scheduler.step(without + guidance * (with_text - without), t, z).prev_sample
            y = self.decode(z.bfloat16().contiguous(memory_format=torch.channels_last)).float()[:asked]
            pictures.append(((y + 1) / 2).clamp(0, 1).cpu())
        return torch.cat(pictures)


def noises(seeds, salt=0):
    """Keyed by seed, so that a seed means the same noise whatever else is drawn."""
    return torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(1_000_003 * salt + s)) for s in seeds])


def sheet(prompts, pictures, columns, path, scale=1, labels=True, width=None):
    """One row a prompt."""
    side, margin = 64 * scale + 2, (width or 190) if labels else 0
    canvas = Image.new("RGB", (margin + columns * side, len(prompts) * side), "white")
    pen = ImageDraw.Draw(canvas)
    for i, prompt in enumerate(prompts):
        if labels:
            pen.text((2, i * side + 26 * scale), prompt, fill="black")
        for j in range(columns):
            picture = (pictures[i * columns + j].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            image = Image.fromarray(picture)
            canvas.paste(image.resize((64 * scale, 64 * scale), Image.NEAREST) if scale > 1 else image, (margin + j * side, i * side))
    canvas.save(path)


CHECK = ["a dog", "a cat", "a rocket", "a car on the road", "a panda", "a penguin in the snow", "a fish under the sea", "a green dog", "a blue apple on the beach",
         "a dog on the moon", "an elephant in the desert", "a dog and a cat", "four pandas", "a red book and a yellow vase", "a cat to the left of a car",
         "three apples", "two elephants on the grass", "a monkey", "a guitar in a room", "a house in the snow"]


def main():
    from .export import averaged_denoiser, standardised_autoencoder
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--out", default=str(WORK / "check.png"))
    parser.add_argument("--prompts", nargs="*", default=CHECK)
    parser.add_argument("--exported", action="store_true", help="draw with the model folder instead of the latest checkpoint")
    a = parser.parse_args()
    artist = Artist(steps=a.steps) if a.exported else Artist(denoiser=averaged_denoiser(), autoencoder=standardised_autoencoder(), steps=a.steps)
    prompts = [p for p in a.prompts for _ in range(a.columns)]
    pictures = artist.draw(prompts, noises(range(a.columns)).repeat(len(a.prompts), 1, 1, 1), a.guidance)
    sheet(a.prompts, pictures, a.columns, a.out)


if __name__ == "__main__":
    main()
