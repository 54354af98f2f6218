"""Pairs of generated images of one prompt, one right and one wrong, labelled by the annotator; the scorer learns to prefer the right one.

Rendered scenes never show what a generator does wrong: things that grow together, a fifth robot that is half of one. Tuning asks
of the scorer to tell such images apart, all of one prompt, so it is trained on that question (Bradley-Terry, as reward models are).
"""

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel

from . import pictures, world
from .annotator import Annotator
from .common import HERE, MODEL, WORK, save_atomically
from .judge import holds
from .specification import parse
from .tokenizer import LENGTH, load as load_tokenizer
from .trajectories import Generator

PATH = WORK / "pool-preferences.pt"
IMAGES = 12  # a prompt
KINDS = dict(single=0.25, pair=0.25, count=0.3, relation=0.2)


def measured_prompts():
    """Prompts on which results are reported; the scorer must not have met them."""
    lists = (HERE.parent / "bench" / "method").glob("*.tsv")
    return {line.split("\t")[1] for path in lists for line in path.read_text().splitlines() if line and not line.startswith("#")}


def prompts(rng, count):
    """Prompts that ask for something unusual, each with what it asks for; most ask for one thing and not for several at once."""
    made, taken = [], measured_prompts()
    while len(made) < count:
        asked = world.sample(rng, kind=world.choose(rng, list(KINDS), list(KINDS.values())), uniform=True)["asked"]
        asked["size"] = None
        if rng.random() < 0.7 and (asked["kind"] != "single" or any(asked["colors"])):
            asked["place"] = None
        if asked["kind"] in ("count", "relation") and rng.random() < 0.8:
            asked["colors"] = [None] * len(asked["colors"])
        if asked["kind"] == "count" and rng.random() < 0.6:
            asked["count"] = max(asked["count"], int(rng.integers(3, 6)))
        unusual = asked["place"] or any(c and c != world.NATURAL[n] for c, n in zip(asked["colors"], asked["nouns"])) or asked["kind"] != "single"
        text = world.caption(asked, plain=True)
        if unusual and text not in taken:
            taken.add(text)
            made.append(text)
    return made


class Preferences:
    """Batches of (right, wrong) images of one prompt, from every prompt that has both."""

    def __init__(self):
        state = torch.load(PATH, weights_only=False)
        self.images, tokenizer = state["images"], load_tokenizer()
        label = lambda wanted: [np.flatnonzero(row & sure) for row, sure in zip(state["right"] == wanted, state["sure"])]
        self.right, self.wrong = label(True), label(False)
        self.usable = [i for i in range(len(self.images)) if len(self.right[i]) and len(self.wrong[i])]
        self.tokens = tokenizer(state["prompts"], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")["input_ids"]

    def batch(self, count, rng, generator):
        """-> normalised images [2 * count, 3, 64, 64], the right ones first, and tokens [count, LENGTH]"""
        picks = rng.choice(self.usable, count)
        of = lambda labels: np.stack([self.images[i, rng.choice(labels[i])] for i in picks])
        x = torch.from_numpy(np.concatenate([of(self.right), of(self.wrong)])).permute(0, 3, 1, 2).float() / 255
        return pictures.normalise(pictures.imperfect(x, generator, 0.3)), self.tokens[picks]


def preference_loss(image, text, scale):
    """Bradley-Terry: image [2n, d] and text [n, d] of length 1, the right images first -> the loss and how often it is preferred."""
    right, wrong = ((part * text).sum(1) for part in image.chunk(2))
    return -F.logsigmoid(scale * (right - wrong)).mean(), (right > wrong).float().mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1200)
    parser.add_argument("--model", default=str(MODEL.with_name("emoji-64-turbo")))
    a = parser.parse_args()
    steps = json.loads((MODEL.with_name("emoji-64-turbo") / "noisefind.json").read_text())["num_inference_steps"]
    generator = Generator(UNet2DConditionModel.from_pretrained(f"{a.model}/unet", torch_dtype=torch.float32), steps, 1)
    autoencoder = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).to(memory_format=torch.channels_last)
    annotator, rng = Annotator(), np.random.default_rng(61)
    state = dict(prompts=prompts(rng, a.prompts), images=[], right=[], sure=[])
    done = 0
    if PATH.exists():
        state = torch.load(PATH, weights_only=False)
        state = {k: v if k == "prompts" else list(v) for k, v in state.items()}
        done = len(state["images"])
    for at in range(done, len(state["prompts"])):
        prompt = state["prompts"][at]
        seed = torch.Generator().manual_seed(6_100_000 + at)
        z = generator.path(torch.randn(IMAGES, 4, 16, 16, generator=seed), [prompt] * IMAGES)[:, -1]
        with torch.no_grad():
            x = autoencoder.decode(z.contiguous(memory_format=torch.channels_last), return_dict=False)[0]
        x = ((x + 1) / 2).clamp(0, 1)
        specification = parse(prompt, world.GRAMMAR)
        read, sure = annotator.annotate(x)
        state["images"].append((x * 255).round().byte().permute(0, 2, 3, 1).numpy())
        state["right"].append(np.array([holds(found, specification)["success"] for found in read]))
        state["sure"].append(np.array(sure))
        if (at + 1) % 50 == 0 or at + 1 == len(state["prompts"]):
            save_atomically({k: v if k == "prompts" else np.stack(v) for k, v in state.items()}, PATH)
            right, sure = np.concatenate(state["right"]), np.concatenate(state["sure"])
            print(f"{at + 1} prompts: {right.mean():.3f} right, {sure.mean():.3f} sure", flush=True)


if __name__ == "__main__":
    main()
