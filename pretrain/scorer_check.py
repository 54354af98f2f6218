"""How well a scorer ranks generated images of one prompt: the probability that it puts an image which the judge accepts above one that it does not.

    python -m pretrain.scorer_check [FOLDER ...]

Images of the distilled model for the development half of `bench/method/prompts.tsv`, kept in the work folder. Nothing is trained
on them. `--every` adds the held-out half, which is for reporting only.
"""

import argparse
import collections
import csv
import hashlib
import json

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from .common import HERE, MODEL, WORK, save_atomically
from .evaluate import Scorer
from .judge import Reader, holds
from .specification import parse
from .trajectories import Generator

PATH = WORK / "scorer-check.pt"
IMAGES = 64  # a prompt


def listed():
    """-> category, prompt, whether it is of the development half"""
    rows = csv.reader((line for line in (HERE.parent / "bench" / "method" / "prompts.tsv").open() if line[0] != "#"), delimiter="\t")
    return [(category, prompt, hashlib.sha256(prompt.encode()).digest()[31] % 2 == 0) for category, prompt, *_ in rows]


def generated(prompts):
    """prompt -> images, uint8 [IMAGES, 64, 64, 3]; those that are missing are generated."""
    kept = torch.load(PATH, weights_only=False) if PATH.exists() else {}
    folder = MODEL.with_name("emoji-64-turbo")
    steps = json.loads((folder / "noisefind.json").read_text())["num_inference_steps"]
    generator = Generator(UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32), steps, 1)
    autoencoder = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).to(memory_format=torch.channels_last)
    for prompt in prompts:
        if prompt in kept:
            continue
        seed = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "little")
        noise = torch.randn(IMAGES, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
        images = []
        for part in noise.split(16):
            z = generator.path(part, [prompt] * len(part))[:, -1]
            with torch.no_grad():
                images.append(autoencoder.decode(z.contiguous(memory_format=torch.channels_last), return_dict=False)[0])
        kept[prompt] = ((torch.cat(images) / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        save_atomically(kept, PATH)
    return kept


def ranking(scores, right):
    """Probability that a right one scores above a wrong one; None where all are alike."""
    good, bad = scores[right], scores[~right]
    return float((good[:, None] > bad[None]).mean()) if len(good) and len(bad) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scorers", nargs="*", default=[str(MODEL / "scorer")])
    parser.add_argument("--every", action="store_true", help="the held-out half too")
    a = parser.parse_args()
    wanted = [(category, prompt) for category, prompt, development in listed() if development or a.every]
    kept, reader = generated([prompt for _, prompt in wanted]), Reader()
    verdicts, pixels = {}, {}
    for _, prompt in wanted:
        pixels[prompt] = torch.from_numpy(kept[prompt]).permute(0, 3, 1, 2).float() / 255
        verdicts[prompt] = np.array([holds(found, parse(prompt, reader.grammar))["success"] for found in reader.read(pixels[prompt])])
    for folder in a.scorers:
        scorer, groups = Scorer(folder), collections.defaultdict(list)
        scores = {prompt: scorer.scores(images, prompt).numpy() for prompt, images in pixels.items()}
        for category, prompt in wanted:
            auc, right = ranking(scores[prompt], verdicts[prompt]), verdicts[prompt]
            best = max(np.mean((scores[prompt] > t) == right) for t in np.unique(scores[prompt]))
            eights = scores[prompt].reshape(8, -1).argmax(1) + np.arange(8) * (IMAGES // 8)
            if auc is not None:
                groups[category].append((auc, best, right[eights].mean()))
            print(f"{folder} | {category} | {prompt} | right {right.mean():.2f} | ranks {auc if auc is None else round(auc, 3)} | best of 8 {right[eights].mean():.2f}")
        every, truth = np.concatenate(list(scores.values())), np.concatenate([verdicts[p] for p in scores])
        at = np.unique(every)[::10]
        accuracy = [np.mean((every > t) == truth) for t in at]
        for category, rows in [*groups.items(), ("all", sum(groups.values(), []))]:
            auc, best, eight = np.mean(rows, 0)
            print(f"{folder} | {category} | ranks right above wrong {auc:.3f}, agrees at its best threshold {best:.3f}, best of 8 {eight:.3f}")
        print(f"{folder} | one threshold for all prompts: {at[int(np.argmax(accuracy))]:.3f}, agrees {max(accuracy):.3f}")


if __name__ == "__main__":
    main()
