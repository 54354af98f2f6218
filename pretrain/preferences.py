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
# Those of the shipped scorer: lists of bench/method grew since, so drawing them again would give others.
LIST = HERE / "preference-prompts.txt"
IMAGES = 12  # a prompt
KINDS = dict(single=0.25, pair=0.25, count=0.3, relation=0.2)


def measured_prompts():
    """Prompts on which results are reported; the scorer must not have met them."""
    lists = (HERE.parent / "bench" / "method").glob("*.tsv")
    return {line.split("\t")[1] for path in lists for line in path.read_text().splitlines() if line and not line.startswith("#")}


def prompts(rng, count):
    """Prompts that ask for something unusual; most ask for one thing and not for several at once. The recorded ones come first."""
    made = LIST.read_text().splitlines()[:count]
    taken = measured_prompts() | set(made)
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


def labelled():
    """The generated images with their labels; None before there are any."""
    state = torch.load(PATH, weights_only=False) if PATH.exists() else {}
    return state if "right" in state else None


class Preferences:
    """Batches of (right, wrong) images of one prompt, from every prompt that has both."""

    def __init__(self, state):
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


def noise(index):
    """The noises of prompt number `index`, [IMAGES, 4, 16, 16]."""
    return torch.randn(IMAGES, 4, 16, 16, generator=torch.Generator().manual_seed(6_100_000 + index))


def generate(count):
    """Images for the first `count` prompts, by the distilled model; saves often and goes on from there."""
    folder = MODEL.with_name("emoji-64-turbo")
    steps = json.loads((folder / "noisefind.json").read_text())["num_inference_steps"]
    generator = Generator(UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32), steps, 1)
    autoencoder = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).to(memory_format=torch.channels_last)
    texts, images = prompts(np.random.default_rng(61), count), []
    if PATH.exists():
        images = list(torch.load(PATH, weights_only=False)["images"])
    for at in range(len(images), count):
        z = generator.path(noise(at), [texts[at]] * IMAGES)[:, -1]
        with torch.no_grad():
            x = autoencoder.decode(z.contiguous(memory_format=torch.channels_last), return_dict=False)[0]
        images.append((((x + 1) / 2).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy())
        if (at + 1) % 50 == 0 or at + 1 == count:
            save_atomically(dict(prompts=texts[:at + 1], images=np.stack(images)), PATH)
            print(f"{at + 1} of {count} prompts", flush=True)


def label():
    """What the annotator says of every image: whether it is right, and whether that is sure."""
    annotator, state = Annotator(), torch.load(PATH, weights_only=False)
    right, sure = [], []
    for prompt, images in zip(state["prompts"], state["images"]):
        read, certain = annotator.annotate(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
        specification = parse(prompt, world.GRAMMAR)
        right.append([holds(found, specification)["success"] for found in read])
        sure.append(certain)
    save_atomically(dict(state, right=np.array(right), sure=np.array(sure)), PATH)
    print(f"{len(right)} prompts: {np.mean(right):.3f} right, {np.mean(sure):.3f} sure")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1200)
    a = parser.parse_args()
    generate(a.prompts)
    label()


if __name__ == "__main__":
    main()
