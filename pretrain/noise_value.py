"""Measures what a noise alone tells of the reward under a prompt that was never met.

    python -m pretrain.noise_value --prompts 1250 --noises 24

The first part generates and scores images of the distilled model and saves often; the second trains a small network that
predicts the reward from noise and prompt on some of the prompts, and gives the rank correlation within each held-out prompt.
A policy pi(z | prompt) that is sampled without evaluations can use no more than such a network finds.
"""

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel

from . import pictures
from .common import HERE, MODEL, WORK, save_atomically
from .preferences import prompts
from .tokenizer import LENGTH, load as load_tokenizer
from .trajectories import Generator

PATH = WORK / "noise-value.pt"
RECORD = HERE.parent / "bench" / "results" / "noise-value.json"
HELD_OUT = 250  # prompts, the last ones
EPOCHS = 30


def noises(index, count):
    """The noises of prompt number `index`, [count, 4, 16, 16]; no two prompts share one."""
    return torch.randn(count, 4, 16, 16, generator=torch.Generator().manual_seed(7_300_000 + index))


class Scorer:
    """The reward of the default model: cosine of image and caption."""

    def __init__(self):
        self.model = CLIPModel.from_pretrained(MODEL / "scorer", torch_dtype=torch.float32).eval()
        self.tokenizer = load_tokenizer()

    @torch.no_grad()
    def text(self, texts):
        tokens = self.tokenizer(list(texts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")["input_ids"]
        return F.normalize(self.model.text_projection(self.model.text_model(tokens).pooler_output), dim=-1)

    @torch.no_grad()
    def rewards(self, images, text):
        """images in 0..1, [n, 3, 64, 64], of one caption with embedding [1, d] -> [n]"""
        image = self.model.visual_projection(self.model.vision_model(pictures.normalise(images)).pooler_output)
        return (F.normalize(image, dim=-1) * text).sum(-1)


def evaluate(count, each):
    """The rewards of `each` noises under each of `count` prompts, [count, each]."""
    folder = MODEL.with_name("emoji-64-turbo")
    steps = json.loads((folder / "noisefind.json").read_text())["num_inference_steps"]
    generator = Generator(UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32), steps, 1)
    autoencoder = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).to(memory_format=torch.channels_last)
    scorer, texts, rewards = Scorer(), prompts(np.random.default_rng(73), count), []
    if PATH.exists():
        rewards = list(torch.load(PATH)["rewards"])
    for at in range(len(rewards), count):
        z = generator.path(noises(at, each), [texts[at]] * each)[:, -1]
        with torch.no_grad():
            x = autoencoder.decode(z.contiguous(memory_format=torch.channels_last), return_dict=False)[0]
        image = (((x + 1) / 2).clamp(0, 1) * 255).round() / 255
        rewards.append(scorer.rewards(image, scorer.text([texts[at]])))
        if (at + 1) % 10 == 0 or at + 1 == count:
            save_atomically(dict(rewards=torch.stack(rewards)), PATH)
            print(f"{at + 1} of {count} prompts", flush=True)
    return torch.stack(rewards), scorer.text(texts)


class Value(torch.nn.Module):
    """Convolutions over the noise whose channels are scaled and shifted by the prompt's embedding; without `text` by nothing."""

    def __init__(self, text, width=48):
        super().__init__()
        self.text = text
        sizes = [4, width, width, 2 * width, 2 * width]
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(a, b, 3, stride=1 + i % 2, padding=1) for i, (a, b) in enumerate(zip(sizes, sizes[1:])))
        self.modulate = torch.nn.ModuleList(torch.nn.Linear(128, 2 * b) for b in sizes[1:])
        self.value = torch.nn.Linear(sizes[-1] * 16, 1)

    def forward(self, z, text):
        for layer, modulate in zip(self.layers, self.modulate):
            z = layer(z)
            if self.text:
                scale, shift = modulate(text)[..., None, None].chunk(2, 1)
                z = z * (1 + scale) + shift
            z = F.silu(z)
        return self.value(z.flatten(1)).squeeze(1)


def rank_correlation(a, b):
    """Spearman's, along the last axis."""
    ranks = lambda x: x.argsort(-1).argsort(-1).double()
    a, b = (x - x.mean(-1, keepdim=True) for x in (ranks(a), ranks(b)))
    return (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()


def held_out_correlation(rewards, text, z, train, text_used, seed=0):
    """Trains on the first `train` prompts -> the rank correlation within each held-out prompt at the best epoch of
    prompts between, so that the held-out ones choose nothing."""
    torch.manual_seed(seed)
    standard = (rewards - rewards.mean(1, keepdim=True)) / rewards.std(1, keepdim=True)
    each, model = rewards.shape[1], Value(text_used)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    count = max(int(train * 0.9), 1)
    # The last tenth of the training prompts says when to stop.
    watched, held = torch.arange(count, train), torch.arange(len(rewards) - HELD_OUT, len(rewards))

    @torch.no_grad()
    def correlation(which):
        found = torch.stack([model(z[i], text[i].expand(each, -1)) for i in which.tolist()])
        return rank_correlation(found, rewards[which])

    best, found = -2, None
    for _ in range(EPOCHS):
        for part in torch.randperm(count * each).split(256):
            p, n = part // each, part % each
            loss = F.mse_loss(model(z[p, n], text[p]), standard[p, n])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        now = correlation(watched).mean().item()
        if now > best:
            best, found = now, correlation(held)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1250)
    parser.add_argument("--noises", type=int, default=24)
    a = parser.parse_args()
    rewards, text = evaluate(a.prompts, a.noises)
    z = torch.stack([noises(i, a.noises) for i in range(a.prompts)])
    points = []
    for text_used in (True, False):
        for train in [(a.prompts - HELD_OUT) >> halvings for halvings in (3, 2, 1, 0)]:
            found = held_out_correlation(rewards, text, z, train, text_used)
            error = 1.96 * found.std().item() / len(found) ** 0.5
            points.append(dict(evaluations=train * a.noises, prompt_given=text_used, rank_correlation=found.mean().item(),
                               ci95=[found.mean().item() - error, found.mean().item() + error]))
            print(points[-1], flush=True)
    RECORD.write_text(json.dumps(dict(model="emoji-64-turbo", evaluations=rewards.numel(), held_out_prompts=HELD_OUT, points=points), indent=1) + "\n")


if __name__ == "__main__":
    main()
