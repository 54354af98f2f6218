"""Generates clips with the trained video model, writes strips of frames and the judge's verdicts by motion.

    python -m pretrain.draw_clips --seeds 2 --out strips.png
"""

import argparse
import json

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image

from . import video, video_latents, video_model, video_tokenizer
from .clips import FRAMES
from .common import WORK
from .diffusion import SCHEDULER
from .video_judge import ClipReader, asked_motion

CHECK = ["a car moving from left to right on the road", "a car moving from right to left on the road", "a rocket moving up in space", "a rocket moving down in space",
         "an apple moving down", "an apple moving up", "a tree standing still on the grass", "a green dog moving from left to right on the grass"]


class ClipArtist:
    def __init__(self, steps=12):
        self.model, self.autoencoder, self.tokenizer = video.averaged(), video_latents.load_autoencoder(), video_tokenizer.load()
        video_model.make_fast(self.model.unet)
        self.scheduler = DDIMScheduler(**SCHEDULER)
        self.scheduler.set_timesteps(steps)

    def embed(self, prompts):
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, max_length=video_tokenizer.LENGTH, return_tensors="pt")["input_ids"]
        return self.model.text_encoder(tokens).last_hidden_state

    @torch.no_grad()
    def draw(self, prompt, seed, guidance):
        """-> frames in 0..1, [8, 3, 64, 64]"""
        text = self.embed(["", prompt])
        z = torch.randn(1, 4, FRAMES, 16, 16, generator=torch.Generator().manual_seed(seed))
        for t in self.scheduler.timesteps:
            without, told = self.model.unet(torch.cat([z, z]), t, text, return_dict=False)[0].chunk(2)
            z = self.scheduler.step(without + guidance * (told - without), t, z).prev_sample
        return ((self.autoencoder.decode(z[0].transpose(0, 1)).sample + 1) / 2).clamp(0, 1)


def strip(frames):
    """[8, 3, 64, 64] -> uint8 [64, 8 * 66, 3]"""
    x = (frames.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    return np.concatenate([np.pad(f, ((0, 0), (0, 2), (0, 0)), constant_values=255) for f in x], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default=str(WORK / "strips.png"))
    parser.add_argument("--prompts", nargs="*", default=CHECK)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    artist, reader, rows, results = ClipArtist(a.steps), ClipReader(), [], {}
    for prompt in a.prompts:
        verdicts = []
        for seed in range(a.seeds):
            frames = artist.draw(prompt, seed, a.guidance)
            rows.append(strip(frames))
            verdicts.append(reader.verdict(frames, prompt))
        results[prompt] = dict(asked=asked_motion(prompt), success=float(np.mean([v["success"] for v in verdicts])),
                               motion_right=float(np.mean([v["motion_right"] for v in verdicts])), found=[v["motion"] for v in verdicts],
                               frames=[v["frames"] for v in verdicts])
        print(prompt, results[prompt], flush=True)
        Image.fromarray(np.concatenate(rows)).save(a.out)
    (WORK / "clip-verdicts.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
