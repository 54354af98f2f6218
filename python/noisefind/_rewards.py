"""What users give as a reward, as one kind of function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, Sequence

from ._media import as_array, as_images

Score = tuple[float | None, str | None]
"""A reward, or None and the reason why it is missing."""

BLOCKED = "blocked: all pixels are black"


@dataclass(frozen=True)
class Scorer:
    """A reward under the name by which a run records it.

    Attributes:
        name: In the run folder.
        score: Scores of images, in the same order, for a prompt.
    """

    name: str
    score: Callable[[Sequence[Any], str], list[Score]]

    def __call__(self, images: Sequence[Any], prompt: str) -> list[Score]:
        """Scores of images; all-black ones have no reward under any scorer, because they come from filters."""
        shown = [at for at, image in enumerate(images) if not _is_black(image)]
        scores: list[Score] = [(None, BLOCKED)] * len(images)
        for at, score in zip(shown, self.score([images[at] for at in shown], prompt) if shown else []):
            scores[at] = score
        return scores


def scorer_of(reward: Any) -> Scorer:
    """The scorer that a user means.

    - a name of noisefind's own scorers, as for `--reward`: "image-reward:FOLDER", "exec:COMMAND";
    - a metric as in torchmetrics (`update`, `compute`): called with one image, uint8 `[1, 3, H, W]`, and the prompt;
    - an object with `score(prompt, images)`, as ImageReward's models have it;
    - a function of the images and the prompt that returns one number an image; None and NaN are missing rewards. The images are PIL images (lists of
      them for clips), or one tensor `[n, (F,) 3, H, W]` on the device where the pipeline gives tensors.

    Raises:
        TypeError: Where it is none of these.
    """
    if isinstance(reward, Scorer):
        return reward
    if isinstance(reward, str):
        return _native(reward)
    name = getattr(reward, "__name__", type(reward).__name__)
    if hasattr(reward, "update") and hasattr(reward, "compute"):
        return Scorer(name, lambda images, prompt: _checked(name, [_metric(reward, one, prompt) for one in images], images))
    if callable(getattr(reward, "score", None)):
        return Scorer(name, lambda images, prompt: _checked(name, _scored(reward, images, prompt), images))
    if callable(reward):
        return Scorer(name, lambda images, prompt: _checked(name, reward(_together(images), prompt), images))
    raise TypeError(
        f"reward is {type(reward).__name__}, expected the name of a scorer, a function of images and prompt, "
        "a metric with update and compute, or an object with score"
    )


def _native(name: str) -> Scorer:
    from . import _noisefind

    opened = _noisefind.Scorer(name)
    return Scorer(name, lambda images, prompt: opened.score(prompt, [as_array(image) for image in images]))


def _metric(metric: Any, image: Any, prompt: str) -> Any:
    """One image at a time, because a metric gives one number for all that it is shown."""
    import torch

    frames = torch.from_numpy(as_array(image).copy()).permute(0, 3, 1, 2)
    device = getattr(metric, "device", None)
    value = metric(frames.to(device), [prompt] * len(frames))
    metric.reset()
    return value


def _scored(scorer: Any, images: Sequence[Any], prompt: str) -> Any:
    return [_mean(scorer.score(prompt, as_images(image))) for image in images]


def _mean(values: Any) -> Any:
    """ImageReward gives one number for one image and a list for several frames."""
    if not isinstance(values, (list, tuple)):
        return values
    return None if not values or None in values else math.fsum(map(float, values)) / len(values)


def _together(images: Sequence[Any]) -> Any:
    if not hasattr(images[0], "detach"):
        return list(images)
    import torch

    return torch.stack(list(images))


def _checked(name: str, rewards: Any, images: Sequence[Any]) -> list[Score]:
    if hasattr(rewards, "detach"):
        rewards = rewards.detach().flatten().tolist()
    try:
        rewards = list(rewards)
    except TypeError:
        found = type(rewards).__name__
        raise TypeError(f"reward {name} gave {found}, expected one number an image, in a list") from None
    if len(rewards) != len(images):
        raise ValueError(f"reward {name} gave {len(rewards)} numbers for {len(images)} images")
    return [_score(name, reward) for reward in rewards]


def _score(name: str, reward: Any) -> Score:
    if reward is None:
        return None, f"{name} gave no number"
    try:
        number = float(reward)
    except (TypeError, ValueError):
        raise TypeError(f"reward {name} gave {reward!r} for an image, expected a number or None") from None
    return (number, None) if math.isfinite(number) else (None, f"{name} gave {number}")


def _is_black(image: Any) -> bool:
    if hasattr(image, "detach"):
        return bool((image.float() < 0.5 / 255).all())
    if hasattr(image, "getextrema"):
        return all(high == 0 for _, high in image.convert("RGB").getextrema())
    if isinstance(image, (list, tuple)):
        return all(_is_black(frame) for frame in image)
    return not as_array(image).any()
