"""Draws scenes, encodes them once with the trained autoencoder and stores latents with their captions' tokens.

The first shard also measures the latents' mean and spread a channel; `export` folds those into the autoencoder's 1x1
convolutions, so that the exported autoencoder yields standardised latents and its scaling factor is one.
"""

import argparse
import time

import numpy as np
import torch

from . import vae, world
from .common import SCENES, WORK, device, save_atomically
from .tokenizer import LENGTH, load as load_tokenizer

FOLDER = WORK / "latents"
CAPTIONS = 3


def standardisation():
    """-> mean and spread of the raw latents, [4] each."""
    state = torch.load(WORK / "latent-statistics.pt")
    return state["mean"], state["std"]


def make_shard(index, painter, encode, tokenizer, noisy=True):
    rng = np.random.default_rng([11, index])
    scenes = [world.sample(rng, noisy=noisy) for _ in range(SCENES)]
    captions = [world.caption(s["asked"], rng, plain=k == 0 and rng.random() < 0.5) for s in scenes for k in range(CAPTIONS)]
    tokens = np.array(tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH)["input_ids"], np.int16)
    means = []
    for i in range(0, SCENES, 64):
        x = np.stack([painter.draw(s, rng) for s in scenes[i:i + 64]])
        means.append(encode(torch.from_numpy(x).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)))
    return torch.cat(means), torch.from_numpy(tokens.reshape(SCENES, CAPTIONS, LENGTH))


class Store:
    """All shards that exist, in memory; `refresh` picks up shards that another process has added."""

    def __init__(self, dev):
        self.dev, self.latents, self.tokens, self.names = dev, None, None, []
        tokenizer = load_tokenizer()
        self.empty_tokens = torch.tensor(tokenizer("", padding="max_length", max_length=LENGTH)["input_ids"], device=dev)
        self.refresh()

    def refresh(self):
        new = [p for p in sorted(FOLDER.glob("shard-*.pt")) if p.name not in self.names]
        if not new:
            return
        mean, std = standardisation()
        parts = [torch.load(p) for p in new]
        latents = [((p["latents"].float() - mean[:, None, None]) / std[:, None, None]).half() for p in parts]
        tokens = [p["tokens"] for p in parts]
        self.latents = torch.cat(([self.latents] if self.latents is not None else []) + latents)
        self.tokens = torch.cat(([self.tokens] if self.tokens is not None else []) + tokens)
        self.names += [p.name for p in new]

    @property
    def count(self):
        return len(self.latents)

    def batch(self, size, generator):
        index = torch.randint(self.count, (size,), generator=generator)
        which = torch.randint(CAPTIONS, (size,), generator=generator)
        clean = self.latents[index].float().to(self.dev).to(memory_format=torch.channels_last)
        return clean, self.tokens[index, which].long().to(self.dev)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="index of the first shard; another index holds other scenes")
    a = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    dev, painter, tokenizer = device(), world.Painter(), load_tokenizer()
    model = vae.load_average(torch.bfloat16).to(dev, memory_format=torch.channels_last)

    @torch.compile
    @torch.no_grad()
    def encode_moments(x):
        return model.quant_conv(model.encoder(x))

    @torch.no_grad()
    def encode(x):
        x = x.to(dev, torch.bfloat16, memory_format=torch.channels_last)
        return encode_moments(x)[:, :4].float().cpu().half()

    for index in range(a.first, a.first + a.shards):
        path = FOLDER / f"shard-{index:03d}.pt"
        if path.exists():
            continue
        began = time.time()
        latents, tokens = make_shard(index, painter, encode, tokenizer)
        statistics = WORK / "latent-statistics.pt"
        if not statistics.exists():
            flat = latents.float()
            save_atomically(dict(mean=flat.mean((0, 2, 3)), std=flat.std((0, 2, 3))), statistics)
            print("mean", flat.mean((0, 2, 3)), "std", flat.std((0, 2, 3)))
        save_atomically(dict(latents=latents, tokens=tokens), path)
        print(f"{path.name}: {1e3 * (time.time() - began) / SCENES:.2f} ms a scene", flush=True)


if __name__ == "__main__":
    main()
