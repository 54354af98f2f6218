"""Where evaluations run: here, with one pipeline, or wherever a pool has workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Protocol, Sequence

import numpy as np

from .policy import Key


@dataclass(frozen=True)
class Evaluated:
    """A noise that was evaluated.

    Attributes:
        key: Its key.
        reward: None where it is missing.
        reason: Why it is missing.
        image: As the pipeline generated it; None where nothing was generated.
    """

    key: Key
    reward: float | None
    reason: str | None
    image: Any


@dataclass(frozen=True)
class Description:
    """What a run records of a backend.

    Attributes:
        model: Name of the model.
        reward: Name of the reward.
        device: Where it computes; of a pool, every kind of device.
        dtype: In which numbers.
        options: Settings of generation by the names of noisefind's flags.
    """

    model: str
    reward: str
    device: str
    dtype: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """Something that evaluates noises.

    Attributes:
        noise_shape: Shape of one noise, `[C, (F,) h, w]`.
        width: Evaluations that it does at the same time: a step asks for at least as many.
        chunk_size: Noises that are always evaluated together, by their index: part of what an image is where a
            device computes batches of different sizes differently.
    """

    noise_shape: tuple[int, ...]
    width: int
    chunk_size: int

    def describe(self) -> Description:
        """What a run records."""

    def evaluate(
        self, prompt: str, noise: np.ndarray, keys: Sequence[Key], call: Mapping[str, Any]
    ) -> Iterator[list[Evaluated]]:
        """Evaluates noises `[n, C, (F,) h, w]`; gives chunks of them as they are done, in any order."""


FRESH = 2**32 - 1
"""The iteration of noises that judge a policy; their seeds count up where the index of others does."""


def chunks(keys: Sequence[Key], size: int) -> list[list[int]]:
    """Positions of keys by chunk: `size` that follow each other, wherever the list of keys begins."""
    groups: dict[Key, list[int]] = {}
    for at, (seed, iteration, index) in enumerate(keys):
        group = (seed // size, iteration, index) if iteration == FRESH else (seed, iteration, index // size)
        groups.setdefault(group, []).append(at)
    return list(groups.values())
