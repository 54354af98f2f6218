"""A pipeline that shows each channel of its noise as one colour, with rewards that misbehave in chosen ways.

Importable on workers; it needs nothing of diffusers but its ways.
"""

import functools
import hashlib
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

SHAPE = (3, 8, 8)


def randn_tensor(shape, generator=None, device=None, dtype=None, layout=None):
    first = generator[0] if isinstance(generator, list) else generator
    return torch.randn(shape, generator=first, dtype=dtype)


class FakePipeline:
    """`pipe(prompt=[...]).images`, as diffusers' pipelines."""

    device = torch.device("cpu")
    dtype = torch.float32
    config = {"_name_or_path": "fake"}

    def __call__(self, prompt, generator=None, num_inference_steps=3, output_type="pil", seconds=0.0):
        noise = randn_tensor((len(prompt), *SHAPE), generator, self.device, self.dtype)
        time.sleep(seconds * len(prompt))
        images = torch.sigmoid(noise)
        if output_type == "pil":
            pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            images = [Image.fromarray(one) for one in pixels]
        return SimpleNamespace(images=images)


def green(images, prompt):
    """Mean of green less mean of red and blue, in 0..=1."""
    pixels = [np.asarray(image, np.float64) / 255 for image in images]
    return [float(1.5 * one[..., 1].mean() - 0.5 * one.sum(-1).mean()) for one in pixels]


def digest(image):
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()


def dies_once(marker, images, prompt):
    """Kills its own process the first time, in the middle of a batch."""
    try:
        Path(marker).unlink()
    except FileNotFoundError:
        return green(images, prompt)
    os.kill(os.getpid(), signal.SIGKILL)


def dies_on(poison, images, prompt):
    """Kills its own process whenever it sees one image."""
    if any(digest(image) == poison for image in images):
        os.kill(os.getpid(), signal.SIGKILL)
    return green(images, prompt)


def missing_on(poison, images, prompt):
    return [None if digest(image) == poison else reward for image, reward in zip(images, green(images, prompt))]


def fails_on(bad_prompt, images, prompt):
    if prompt == bad_prompt:
        raise ValueError(f"cannot read {prompt!r}")
    return green(images, prompt)


def named_green(reward, *arguments):
    """That reward under one name, because the name stands in the policy file."""

    def green(images, prompt):
        return reward(*arguments, images, prompt)

    return green


def factory(reward, *arguments):
    """A factory of that reward, for a pool."""
    return functools.partial(named_green, reward, *arguments)
