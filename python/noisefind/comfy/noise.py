"""NOISE objects as ComfyUI's samplers take them: `seed`, and `generate_noise(latent)`.

A latent is a dictionary with `samples` `[B, C, (F,) h, w]` and, where a batch was taken apart, `batch_index`: the
number of each sample in the batch that it was part of.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from .._external import Key, read_noise
from ..policy import NoisePolicy

if TYPE_CHECKING:
    import torch

FRESH = 2**32 - 1
"""The iteration in the keys of noises that judge a policy; base and tuned images have them in common."""

_SHAPE = "noisefind was asked for noise of shape "
_SEEDS = 2**64


class PolicyNoise:
    """Noise of a policy: sample i of a batch is, bit for bit, the noise of `noisefind sample --seed SEED+i`."""

    def __init__(self, policy: NoisePolicy, seed: int):
        self.policy = policy
        self.seed = seed

    def generate_noise(self, input_latent: Mapping[str, Any]) -> torch.Tensor:
        """Noise in the shape, the dtype and the memory of the latent's samples.

        Raises:
            ValueError: Where the policy is for latents of another shape.
        """
        keys = [((self.seed + at) % _SEEDS, FRESH, 0) for at in _indices(input_latent)]
        return _in_shape_of(input_latent["samples"], self.policy.noise(keys), "the policy is for latents")


class BaseNoise:
    """Noise of the model as it is, by its key: sample i of a batch has the key (seed, iteration, index + i)."""

    def __init__(self, seed: int, iteration: int, index: int):
        self.seed = seed
        self.iteration = iteration
        self.index = index

    def generate_noise(self, input_latent: Mapping[str, Any]) -> torch.Tensor:
        """Noise in the shape, the dtype and the memory of the latent's samples."""
        samples = input_latent["samples"]
        keys: list[Key] = [(self.seed, self.iteration, self.index + at) for at in _indices(input_latent)]
        standard = NoisePolicy.standard(_noise_shape(samples))
        return _in_shape_of(samples, standard.noise(keys), "the noise is for latents")


class FileNoise:
    """Noise from a file with the tensor `noise` `[n, C, (F,) h, w]`, from number `index` on.

    Without a file, the noise is an error that tells the shape of the latent: `shape_in` reads it.
    """

    def __init__(self, file: str, index: int, seed: int):
        self.file = file
        self.index = index
        self.seed = seed

    def generate_noise(self, input_latent: Mapping[str, Any]) -> torch.Tensor:
        """Noise in the shape, the dtype and the memory of the latent's samples.

        Raises:
            ValueError: Where the file has too few noises or noises of another shape.
        """
        samples = input_latent["samples"]
        if not self.file:
            raise ValueError(f"{_SHAPE}{list(_noise_shape(samples))}")
        noises = read_noise(self.file)
        numbers = [self.index + at for at in _indices(input_latent)]
        if max(numbers) >= len(noises):
            name = Path(self.file).name
            raise ValueError(f"{name} has {len(noises)} noises, the batch needs number {max(numbers)} (from 0)")
        return _in_shape_of(samples, noises[numbers], "the file is for latents")


def shape_in(message: str) -> list[int] | None:
    """The shape that a `FileNoise` without a file has told."""
    found = re.search(re.escape(_SHAPE) + r"\[([\d, ]+)\]", message)
    return [int(number) for number in found.group(1).split(",")] if found else None


def _indices(latent: Mapping[str, Any]) -> Sequence[int]:
    given = latent.get("batch_index")
    return range(len(latent["samples"])) if given is None else [int(at) for at in given]


def _noise_shape(samples: torch.Tensor) -> tuple[int, ...]:
    """Shape of one noise; image models that reuse a video's latents have one frame, which is no axis of a noise."""
    if getattr(samples, "is_nested", False):
        raise ValueError("the latent holds several tensors (images and sound), expected one")
    shape = tuple(samples.shape[1:])
    return (shape[0], *shape[2:]) if len(shape) == 4 and shape[1] == 1 else shape


def _in_shape_of(samples: torch.Tensor, noise: np.ndarray, whose: str) -> torch.Tensor:
    import torch

    expected, found = _noise_shape(samples), noise.shape[1:]
    if expected != found:
        raise ValueError(f"{whose} of shape {list(found)}, this latent has {list(expected)}")
    return torch.from_numpy(noise).reshape(samples.shape).to(dtype=samples.dtype, device=samples.device)
