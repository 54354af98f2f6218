"""Many prompts over one pool: a driver a prompt, all at the same time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from ._backend import Backend
from ._tune import Tuned, tune


@dataclass(frozen=True)
class PromptResult:
    """What became of one prompt.

    Attributes:
        prompt: The prompt.
        tuned: Its run; None where it failed.
        error: Why it failed; None where it did not.
    """

    prompt: str
    tuned: Tuned | None
    error: Exception | None


def tune_prompts(
    prompts: Sequence[str],
    pool: Backend,
    *,
    out: str | os.PathLike[str] = "runs",
    seed: int = 0,
    at_once: int | None = None,
    **options: Any,
) -> list[PromptResult]:
    """Tunes every prompt in a folder of its own below `out`; a prompt that fails does not stop the others.

    The same call goes on where it was stopped: what is finished is not done again.

    Args:
        prompts: Each once.
        pool: Where the evaluations of all of them run, such as a `noisefind.ray.Pool`.
        out: The folder of the run folders.
        seed: Random seed of every run.
        at_once: How many prompts are tuned at the same time; None: all.
        options: As for `noisefind.tune`.

    Returns:
        One result a prompt, in the same order.

    Raises:
        ValueError: Where a prompt is there twice.
    """
    repeated = next((prompt for at, prompt in enumerate(prompts) if prompt in prompts[:at]), None)
    if repeated is not None:
        raise ValueError(f"the prompt {repeated!r} is there twice")
    folders = _folders(prompts, Path(out), seed)

    def one(prompt: str) -> PromptResult:
        folder = folders[prompt]
        begun = (folder / "config.toml").is_file()
        try:
            given = {"progress": False, **options}
            return PromptResult(prompt, tune(None, prompt, backend=pool, out=folder, seed=seed, resume=begun, **given), None)
        except Exception as error:  # noqa: BLE001: a failed prompt is a result
            return PromptResult(prompt, None, error)

    with ThreadPoolExecutor(at_once or max(len(prompts), 1)) as threads:
        return list(threads.map(one, prompts))


def _folders(prompts: Sequence[str], out: Path, seed: int) -> dict[str, Path]:
    """Names as the command line gives them; prompts that begin with the same letters are numbered."""
    from . import _noisefind

    taken: set[str] = set()
    folders = {}
    for prompt in prompts:
        stem = f"{_noisefind.folder_name(prompt)}-{seed}"
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        folders[prompt] = out / name
    return folders
