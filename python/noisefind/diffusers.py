"""Pipelines of diffusers: giving them noises, and serving one to the command line.

    noisefind tune PROMPT --model "exec:python -m noisefind.diffusers FOLDER_OR_HUB_ID [NAME=VALUE ...]"

NAME=VALUE are arguments of the pipeline's call (height=768 guidance_scale=3.5), values in JSON or plain text; they win
over noisefind's own, of which those that the pipeline does not take are left out.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ContextManager, Mapping, Sequence

import numpy as np

from ._external import Key, Request, arguments, serve
from ._extras import needed
from ._families import FAMILIES, Family, family_of
from ._interception import native_noise, noise_given
from ._media import as_png

if TYPE_CHECKING:
    import torch

__all__ = ["FAMILIES", "Family", "PipelineGenerator", "family_of", "intercepted", "known_family", "latents", "noise_shape"]


def noise_shape(pipe: Any, prompt: str = "", **call: Any) -> tuple[int, ...]:
    """Shape of one noise of a pipeline, `[C, (F,) h, w]`, when it is called with `call` (height, width, num_frames...).

    The prompt is encoded and nothing is denoised.

    Raises:
        ValueError: Where the pipeline does not ask for its noise through `randn_tensor`.
    """
    sampled = native_noise(pipe, lambda: pipe(prompt=[prompt], **call)).shape
    family = family_of(pipe)
    if family is None:
        return sampled[1:]
    import torch

    return tuple(family.noise_of(torch.empty(sampled, device="meta")).shape[1:])


def known_family(pipe: Any) -> Family:
    """The family of a pipeline.

    Raises:
        ValueError: Where it is unknown, because `latents=` means five things in diffusers.
    """
    family = family_of(pipe)
    if family is None:
        raise ValueError(
            f"noisefind does not know what latents= means to {type(pipe).__name__}; "
            "call it inside `with noisefind.diffusers.intercepted(pipe, noise):` and without latents="
        )
    return family


def latents(pipe: Any, noise: torch.Tensor) -> torch.Tensor:
    """Noises `[n, C, (F,) h, w]` as the `latents=` of the pipeline: in its layout, packing, dtype and device.

    Raises:
        ValueError: Where the pipeline's family is unknown.
    """
    return _latents(known_family(pipe), pipe, noise, pipe._execution_device)


def _latents(family: Family, pipe: Any, noise: torch.Tensor, device: torch.device) -> torch.Tensor:
    return family.latents_of(pipe, noise).to(device=device, dtype=family.dtype(pipe))


def intercepted(pipe: Any, noise: torch.Tensor) -> ContextManager[None]:
    """A context in which the next call of `pipe`, whatever it is, starts from noises `[n, C, (F,) h, w]`.

    Raises:
        ValueError: At the call, where the pipeline asks for noise of another shape.
    """
    family = family_of(pipe)
    return noise_given(pipe, family.native_of(noise) if family else noise)


class PipelineGenerator:
    """Draws from noises with a pipeline.

    Attributes:
        pipe: The pipeline.
        noise_shape: Shape of one noise, `[C, (F,) h, w]`.
        call: Arguments of every call of the pipeline.
    """

    def __init__(self, pipe: Any, prompt: str = "", **call: Any):
        needed("torch", "diffusers")
        self.pipe = pipe
        self.call = call
        if not callable(pipe):
            raise TypeError(f"pipe is {type(pipe).__name__}, expected a pipeline of diffusers (or a backend and None)")
        parameters = inspect.signature(pipe.__call__).parameters
        self.accepted = frozenset(parameters)
        self._defaults = {name: parameter.default for name, parameter in parameters.items()}
        unknown = sorted(set(call) - self.accepted)
        if unknown:
            raise TypeError(f"{type(pipe).__name__} takes no argument {unknown[0]!r}")
        self.noise_shape = noise_shape(pipe, prompt, **self._named(call, 1))
        self._family = family_of(pipe) if "latents" in self.accepted else None
        # A pipeline looks through all of its modules for its device; that takes milliseconds.
        self._device = pipe._execution_device if self._family else None

    def setting(self, name: str) -> Any:
        """An argument of every call: as given, else the pipeline's own default; None where it takes none of that name."""
        value = self.call.get(name, self._defaults.get(name))
        return None if value is inspect.Parameter.empty else value

    @property
    def generates_clips(self) -> bool:
        """Whether the pipeline generates clips."""
        return "num_frames" in self.accepted

    def generate(
        self, prompt: str, noise: np.ndarray, keys: Sequence[Key], options: Mapping[str, Any] | None = None
    ) -> list[Any]:
        """One image (or list of frames) a noise, in the same order.

        Args:
            prompt: What should be shown.
            noise: float32 `[n, C, (F,) h, w]`.
            keys: (seed, iteration, index) of each noise: they seed whatever else the pipeline samples.
            options: More arguments; those that the pipeline does not take are left out, and `call` wins.
        """
        import torch

        count = len(noise)
        tensor = torch.from_numpy(np.array(noise, np.float32))
        given = {name: value for name, value in (options or {}).items() if value is not None}
        # To skip no layer is what pipelines do by themselves, and those of diffusers 0.42 fail where they are told so.
        if given.get("clip_skip") == 0:
            del given["clip_skip"]
        taken = {name: value for name, value in given.items() if name in self.accepted}
        named = self._named(taken | self.call, count)
        named["generator"] = [torch.Generator().manual_seed(_seed_of(key)) for key in keys]
        with self._noise(tensor, named):
            output = self.pipe(prompt=[prompt] * count, **named)
        media = getattr(output, "frames", None) if hasattr(output, "frames") else getattr(output, "images", None)
        if media is None:
            name, found = type(self.pipe).__name__, type(output).__name__
            raise TypeError(f"{name} returned {found}, expected an output with images or frames (return_dict=True)")
        if len(media) != count:
            raise ValueError(f"{type(self.pipe).__name__} generated {len(media)} images from {count} noises")
        return list(media)

    def _noise(self, noise: torch.Tensor, named: dict[str, Any]) -> ContextManager[None]:
        if self._family is None:
            return intercepted(self.pipe, noise)
        named["latents"] = _latents(self._family, self.pipe, noise, self._device)
        return contextlib.nullcontext()

    @staticmethod
    def _named(call: Mapping[str, Any], count: int) -> dict[str, Any]:
        """A negative prompt has to be a list where the prompt is one."""
        negative = call.get("negative_prompt")
        return {**call, "negative_prompt": [negative] * count} if isinstance(negative, str) else dict(call)


def _seed_of(key: Key) -> int:
    seed, iteration, index = key
    return ((seed * 1000003 + iteration) * 1000003 + index) % 2**63


def load(name: str | os.PathLike[str]) -> Any:
    """A pipeline from a folder or the hub: in bfloat16 on a GPU, else in float32 on the CPU.

    Where `noisefind.json` in the folder names a `base`, as that of emoji-64-turbo does, the parts that the folder has not are
    those of the base.
    """
    torch, diffusers = (needed(name, "diffusers") for name in ("torch", "diffusers"))
    # On the CPU nothing is said of the dtype: float32 is the default, and the argument's name changes with the version.
    given = {"torch_dtype": torch.bfloat16} if torch.cuda.is_available() else {}
    folder = Path(name)
    settings = folder / "noisefind.json"
    base = json.loads(settings.read_text()).get("base") if settings.is_file() else None
    if base is not None:
        given |= {part: kind.from_pretrained(folder / part) for part, kind in _parts(folder).items()}
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder / base if base else name, **given)
    pipe = pipe.to("cuda", torch.bfloat16) if torch.cuda.is_available() else pipe.to("cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _parts(folder: Path) -> dict[str, Any]:
    """The class of each part that a pipeline's folder holds."""
    index = json.loads((folder / "model_index.json").read_text())
    homes = {name: home for name, home in index.items() if isinstance(home, list) and (folder / name).is_dir()}
    return {name: getattr(importlib.import_module(library), kind) for name, (library, kind) in homes.items()}


def main(texts: Sequence[str] = sys.argv[1:]) -> None:
    """Serves the pipeline in the folder `texts[0]` to noisefind."""
    if not texts or texts[0].startswith("-"):
        raise SystemExit(__doc__)
    call = arguments(texts[1:])

    def start() -> tuple[Sequence[int], Any, bool]:
        generator = PipelineGenerator(load(texts[0]), **call)

        def generate(request: Request) -> list[list[bytes]]:
            generated = generator.generate(request.prompt, request.noise, request.keys, request.options)
            return [as_png(image) for image in generated]

        return generator.noise_shape, generate, generator.generates_clips

    serve(start)


if __name__ == "__main__":
    main()
