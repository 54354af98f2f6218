"""Generates the teacher's paths: for a noise and a caption, the latents after every guided step of the default model.

Each shard holds 64 paths. Distillation learns from any two points of a path, so the 48 passes of the denoiser that one path
costs are spent once. The first steps, where guidance does most, are the hardest to learn and overfit first; short paths hold
only those, at a third of the price.
"""

import argparse
import time

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from . import world
from .common import MODEL, WORK, device, save_atomically
from .diffusion import SCHEDULER
from .tokenizer import LENGTH, load as load_tokenizer

FOLDER = WORK / "trajectories"
# A multiple of 4, 6, 8 and 12, so that every such schedule uses a subset of the teacher's times.
STEPS = 24
GUIDANCE = 4.0
PATHS = 64
SHORT = 500  # index of the first shard whose paths end after the first third
HELD_OUT = 900  # index of the first shard that is never trained on


def unseen(asked):
    """Whether the caption names a pair that the denoiser's training left out."""
    nouns, place = asked["nouns"], asked["place"]
    return (any((c, n) in world.UNSEEN_COLORS for c, n in zip(asked["colors"], nouns)) or any((n, place) in world.UNSEEN_PLACES for n in nouns)
            or frozenset(nouns) in world.UNSEEN_PAIRS)


def captions(rng, count):
    """Half from the training distribution, half with colours, places and counts drawn evenly; no held-out pair; one in 64 is empty."""
    made = []
    while len(made) < count:
        asked = world.sample(rng, uniform=rng.random() < 0.5)["asked"]
        if not unseen(asked):
            made.append("" if rng.random() < 1 / 64 else world.caption(asked, rng, plain=rng.random() < 0.3))
    return made


class Text:
    """The frozen text encoder of the default model in f32."""

    def __init__(self):
        self.encoder = CLIPTextModel.from_pretrained(MODEL / "text_encoder", torch_dtype=torch.float32).to(device()).eval()
        self.tokenizer = load_tokenizer()

    @torch.no_grad()
    def embed(self, texts):
        """A list of n captions -> [n, 24, 192]."""
        tokens = self.tokenizer(list(texts), padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")["input_ids"]
        return self.encoder(tokens.to(device())).last_hidden_state


class Generator:
    """DDIM with a UNet in f32; with `guidance` 1 there is one pass of the denoiser a step."""

    def __init__(self, unet, steps, guidance, text=None):
        self.unet, self.guidance, self.text = unet.to(device(), memory_format=torch.channels_last).eval(), guidance, text or Text()
        self.scheduler = DDIMScheduler(**SCHEDULER)
        self.scheduler.set_timesteps(steps)

    @torch.no_grad()
    def path(self, noise, texts, steps=None):
        """noise [n, 4, 16, 16] and n captions -> latents before the first and after each of the first steps, [n, steps + 1, 4, 16, 16]."""
        z = noise.to(device())
        with_text = self.text.embed(texts)
        if self.guidance != 1:
            with_text = torch.cat([self.text.embed([""]).expand(len(z), -1, -1), with_text])
        points = [z]
        for t in self.scheduler.timesteps[:steps]:
            x = z if self.guidance == 1 else torch.cat([z, z])
            v = self.unet(x.contiguous(memory_format=torch.channels_last), t, with_text, return_dict=False)[0]
            if self.guidance != 1:
                without, asked = v.chunk(2)
                v = without + self.guidance * (asked - without)
            z = self.scheduler.step(v, t, z).prev_sample
            points.append(z)
        return torch.stack(points, 1)


def default_unet():
    return UNet2DConditionModel.from_pretrained(MODEL / "unet", torch_dtype=torch.float32)


def shard_path(index):
    return FOLDER / f"shard-{index:03d}.pt"


def make_shards(indices, paths=PATHS):
    """Generates the shards that do not exist yet."""
    FOLDER.mkdir(exist_ok=True)
    missing = [i for i in indices if not shard_path(i).exists()]
    if not missing:
        return
    teacher = Generator(default_unet(), STEPS, GUIDANCE)
    for index in missing:
        began, rng = time.time(), np.random.default_rng([29, index])
        texts = captions(rng, paths)
        noise = torch.randn(paths, 4, 16, 16, generator=torch.Generator().manual_seed(7_000_003 + index))
        steps = STEPS // 3 if SHORT <= index < HELD_OUT else STEPS
        save_atomically(dict(points=teacher.path(noise, texts, steps).cpu(), texts=texts), shard_path(index))
        print(f"{shard_path(index).name}: {(time.time() - began) / paths:.2f} s a path", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=17)
    parser.add_argument("--short-shards", type=int, default=40)
    a = parser.parse_args()
    make_shards([HELD_OUT, *range(a.shards), *range(SHORT, SHORT + a.short_shards)])


if __name__ == "__main__":
    main()
