"""Ask and tell: a run that belongs to you, over a run folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Mapping, Sequence

import numpy as np

from . import _noisefind
from .policy import Key, NoisePolicy


Arm = Literal["base", "tuned"]


@dataclass(frozen=True)
class Batch:
    """Noises to evaluate.

    Attributes:
        noise: float32 `[n, C, (F,) h, w]`, standard deviation 1; `torch.from_numpy` needs no copy.
        keys: (seed, iteration, index) of each: what `Run.tell` wants back.
    """

    noise: np.ndarray
    keys: list[Key]

    def __len__(self) -> int:
        return len(self.keys)


class Run:
    """One run of the method for one prompt, saved after every step; rewards are maximised.

    ```python
    run = noisefind.Run(shape=(16, 64, 64), seed=7, out="runs/dog")
    while not run.done:
        batch = run.ask()
        run.tell(batch.keys, rewards)
    policy = run.policy
    ```

    A run that was killed goes on with `Run.resume(folder)`, with the same bits as one that was not.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        seed: int = 0,
        out: str | os.PathLike[str] | None = None,
        prompt: str = "",
        overwrite: bool = False,
        variety: float | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ):
        """A new run that starts at `N(0, I)`.

        Args:
            shape: Of one noise, `[C, (F,) h, w]`.
            seed: Random seed.
            out: The run folder; None: a new one under `runs/`, named by day, prompt and seed.
            prompt: What is recorded as the prompt.
            overwrite: Whether to replace a run that is there already.
            variety: From 0 to 1, how much samples of the policy vary: 0 is one component, 0.5 is 8, 1 is 64; None: 0.5.
            environment: `device` and `dtype` that are recorded.
            options: As the flags of `noisefind tune`, with underscores: `evaluations` (at most, 160), `min_evaluations` (48),
                `batch_size` (16), `success_reward`, `samples` (32), `max_seconds`, `reward`, `model` and so on; and `method`
                as in `config.toml`, for example `{"name": "find", "radius": 0.9}`.

        Raises:
            ValueError: Where the shape or the seed is out of range, or the variety is no number.
            noisefind.Error: Where an option is unknown or out of range, or the folder is taken.
        """
        if not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise ValueError(f"seed is {seed!r}, expected a whole number from 0 to 2**64 - 1")
        if variety is not None and not isinstance(variety, Real):
            raise ValueError(f"variety is {variety!r}, expected a number from 0 to 1")
        text = json.dumps({"prompt": prompt or "(none)", "seed": seed, **options})
        path = None if out is None else os.fspath(out)
        self._native = _noisefind.Run(list(shape), text, path, overwrite, dict(environment or {}), variety)

    @classmethod
    def resume(cls, out: str | os.PathLike[str]) -> Run:
        """Goes on with the run in a folder; rewards that were told before are still known.

        Raises:
            noisefind.Error: Where it is no run folder, another process writes it, or the command line made it.
        """
        run = cls.__new__(cls)
        run._native = _noisefind.Run.resume(os.fspath(out))
        return run

    @property
    def out(self) -> str:
        """The run folder."""
        return self._native.out

    @property
    def config(self) -> Mapping[str, Any]:
        """Every value of the run, as in its `config.toml`."""
        return json.loads(self._native.config)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one noise, `[C, (F,) h, w]`."""
        return self._native.shape

    @property
    def done(self) -> bool:
        """Whether the run is over: `stop_reason` says why."""
        return self.stop_reason is not None

    @property
    def stop_reason(self) -> str | None:
        """Why the run is over; None while it goes on.

        `policy-succeeds` (fresh samples of the policy are known to succeed), `base-succeeds` (the model needs no policy),
        `evaluations-used`, `seconds-used`, `plateau`, `held-out-fell` or `rewards-missing`.
        """
        return self._native.stop_reason

    @property
    def evaluations(self) -> int:
        """Evaluations of the steps that are done, missing rewards included."""
        return self._native.evaluations

    @property
    def policy(self) -> NoisePolicy:
        """The result so far: the best policy that was sampled from, by the smoothed reward."""
        return NoisePolicy._of(self._native.policy)

    def ask(self) -> Batch:
        """The noises of this step whose rewards are not yet known; the same until all of them are told.

        Raises:
            noisefind.Error: Where the run is over.
        """
        noise, keys = self._native.ask(None)
        return Batch(noise, keys)

    def noise(self, keys: Sequence[Key]) -> np.ndarray:
        """Noises of this step by their keys, float32 `[n, C, (F,) h, w]`, whether told or not.

        Raises:
            noisefind.Error: Where a key is not one of this step's.
        """
        return self._native.noise(list(keys))

    def tell(
        self,
        keys: Sequence[Key],
        rewards: Sequence[float | None] | np.ndarray,
        *,
        reasons: Sequence[str | None] | None = None,
        held_out: Mapping[str, Sequence[float | None]] | None = None,
        images: Sequence[np.ndarray | None] | None = None,
    ) -> Mapping[str, Any] | None:
        """Takes in rewards, in any order and any number; each is saved before this returns.

        A key that was told before keeps its first reward. With the last missing key of a step the method learns, in the
        order of the keys whatever came first, and the step is saved.

        Args:
            keys: Of this step.
            rewards: Higher is better; None and numbers that are not finite are missing rewards.
            reasons: Why rewards are missing.
            held_out: Rewards of held-out scorers by name, always of the same scorers.
            images: uint8 `[F, H, W, 3]` each, saved in the run folder.

        Returns:
            The figures of the step as in `metrics.jsonl`; None while the step goes on.

        Raises:
            ValueError: Where the numbers of keys and rewards differ.
            noisefind.Error: Where a key is not one of this step's, or the disk fails.
        """
        line = self._native.tell(*_columns(keys, rewards, reasons, held_out, images))
        return None if line is None else json.loads(line)

    def save_policy(self) -> str:
        """Writes `policy.safetensors` of a run that is over; its path."""
        return self._native.save_policy()

    @property
    def comparison(self) -> Mapping[str, Any] | None:
        """What is in `comparison.json`; None where the run was not compared yet."""
        text = self._native.comparison
        return None if text is None else json.loads(text)

    def ask_comparison(self, arm: Arm) -> Batch:
        """The noises of an arm of the comparison that were not told yet; the same seeds in both arms.

        Args:
            arm: `base`, noise of the model as it is; or `tuned`, noise of the policy of a run that is over.
        """
        noise, keys = self._native.ask(arm)
        return Batch(noise, keys)

    def tell_comparison(
        self,
        arm: Arm,
        keys: Sequence[Key],
        rewards: Sequence[float | None] | np.ndarray,
        images: Sequence[np.ndarray],
        *,
        reasons: Sequence[str | None] | None = None,
        judgements: Sequence[float | None] | None = None,
        held_out: Mapping[str, Sequence[float | None]] | None = None,
    ) -> None:
        """Takes in samples of the comparison, in any order and any number; each is saved before this returns.

        Args:
            arm: As for `ask_comparison`.
            keys: Of the arm.
            rewards: As for `tell`.
            images: uint8 `[F, H, W, 3]` each.
            reasons: As for `tell`.
            judgements: 1 is what the prompt says, 0 is not, None cannot be said.
            held_out: As for `tell`.

        Raises:
            ValueError: Where the numbers of keys and others differ.
            noisefind.Error: Where the run goes on, a key is not one of the arm's, or the disk fails.
        """
        names, numbers, why, held, arrays = _columns(keys, rewards, reasons, held_out, images)
        judged = None if judgements is None else [_number(one) for one in judgements]
        self._native.tell_comparison(arm, names, numbers, why, judged, held, arrays)

    def compare(self) -> Mapping[str, Any]:
        """Writes what the command line leaves of a comparison: numbers, grid, curve, report.

        Returns:
            What is in `comparison.json`.

        Raises:
            noisefind.Error: Where a sample of an arm was not told yet, or the disk fails.
        """
        return json.loads(self._native.compare())


def _columns(
    keys: Sequence[Key],
    rewards: Sequence[float | None] | np.ndarray,
    reasons: Sequence[str | None] | None,
    held_out: Mapping[str, Sequence[float | None]] | None,
    images: Sequence[np.ndarray | None] | None,
) -> tuple[Any, ...]:
    """The arguments of the native `tell`, in its order."""
    absent = [None] * len(keys)
    held = {name: [_number(reward) for reward in given] for name, given in (held_out or {}).items()}
    try:
        numbers = [_number(reward) for reward in rewards]
    except TypeError:
        raise TypeError(f"rewards is {type(rewards).__name__}, expected one number or None a key") from None
    return list(keys), numbers, list(reasons or absent), held, list(absent if images is None else images)


def _number(value: Any) -> float:
    """A reward as a number, NaN where it is missing."""
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"a reward is {value!r}, expected a number or None") from None
