"""Renders clips, encodes their frames once with the still model's autoencoder and stores latents with their captions' tokens."""

import numpy as np
import torch
from diffusers import AutoencoderKL

from . import clips, video_tokenizer, world
from .common import MODEL, WORK, save_atomically

FOLDER = WORK / "clip-latents"
CLIPS, CAPTIONS = 128, 3
# A shard with this number is never trained on.
HELD_OUT = 900


def load_autoencoder():
    return AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).eval()


@torch.no_grad()
def encode(autoencoder, frames):
    """uint8 [n, 8, 64, 64, 3] -> latents [n, 4, 8, 16, 16]"""
    x = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    z = autoencoder.encode(x).latent_dist.mode()
    return z.view(len(frames), clips.FRAMES, *z.shape[1:]).transpose(1, 2)


class Source:
    """All shards in memory; `grow` makes one more."""

    def __init__(self, count=CLIPS):
        FOLDER.mkdir(exist_ok=True)
        self.painter, self.autoencoder, self.tokenizer, self.count = world.Painter(), load_autoencoder(), video_tokenizer.load(), count
        self.empty_tokens = torch.tensor(self.tokenizer("", padding="max_length", max_length=video_tokenizer.LENGTH)["input_ids"])
        self.shards = [torch.load(self.path(i)) for i in range(HELD_OUT) if self.path(i).exists()]

    @staticmethod
    def path(index):
        return FOLDER / f"shard-{index:03d}.pt"

    @property
    def size(self):
        return sum(len(s["latents"]) for s in self.shards)

    def make(self, index):
        rng = np.random.default_rng([13, index])
        truths = [clips.sample(rng, noisy=True) for _ in range(self.count)]
        captions = [clips.caption(t["asked"], rng, plain=k == 0) for t in truths for k in range(CAPTIONS)]
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, max_length=video_tokenizer.LENGTH, return_tensors="pt")["input_ids"]
        latents = torch.cat([encode(self.autoencoder, clips.draw(self.painter, t, rng)[None]) for t in truths]).half()
        shard = dict(latents=latents, tokens=tokens.short().view(self.count, CAPTIONS, -1), motion=torch.tensor([clips.MOTIONS.index(t["motion"]) for t in truths]))
        save_atomically(shard, self.path(index))
        return shard

    def grow(self):
        self.shards.append(self.make(len(self.shards)))

    def held_out(self):
        path = self.path(HELD_OUT)
        return torch.load(path) if path.exists() else self.make(HELD_OUT)

    def batch(self, size, generator):
        """-> latents, tokens, motions as indices"""
        latents, tokens, motions = [], [], []
        for _ in range(size):
            shard = self.shards[int(torch.randint(len(self.shards), (), generator=generator))]
            i = int(torch.randint(len(shard["latents"]), (), generator=generator))
            latents.append(shard["latents"][i].float())
            tokens.append(shard["tokens"][i, int(torch.randint(CAPTIONS, (), generator=generator))].long())
            motions.append(shard["motion"][i])
        return torch.stack(latents), torch.stack(tokens), torch.stack(motions)
