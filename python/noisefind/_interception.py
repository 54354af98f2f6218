"""Giving a pipeline its initial noise where it asks for it: at the first call of `randn_tensor` by its own module.

This works for every pipeline of diffusers that samples its noise so, whatever it scales, packs or adds afterwards.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator

from ._extras import needed

if TYPE_CHECKING:
    import torch

_FUNCTION = "randn_tensor"
# The function is replaced in the pipeline's module, which all pipelines of its class have in common.
_lock = threading.RLock()


@dataclass(frozen=True)
class Drawn:
    """The tensor that a pipeline samples as its initial noise: its whole shape with the batch, and its dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class _Asked(BaseException):
    """Ends a call as soon as the pipeline has asked for its noise; no handler of ordinary errors may stop it."""

    def __init__(self, drawn: Drawn):
        self.drawn = drawn


@contextlib.contextmanager
def noise_given(pipe: Any, drawn: torch.Tensor) -> Iterator[None]:
    """Within this context the next initial noise of `pipe` is `drawn`, in the shape in which the pipeline samples.

    Raises:
        ValueError: Where the pipeline asks for another shape, or its module does not sample with `randn_tensor`.
    """
    pending = [drawn]

    def answer(asked: Drawn, device: Any, own: Callable[[], torch.Tensor]) -> torch.Tensor:
        if not pending:
            return own()
        given = pending.pop()
        if tuple(given.shape) != asked.shape:
            raise ValueError(f"{_name(pipe)} wants noise of {list(asked.shape)}, found {list(given.shape)}")
        return given.to(device=device, dtype=asked.dtype)

    with _replaced(pipe, answer):
        yield


def native_noise(pipe: Any, call: Callable[[], object]) -> Drawn:
    """What `pipe` samples first in `call`, which is ended there: before any step of denoising.

    Raises:
        ValueError: Where the pipeline never asks for noise.
    """

    def answer(asked: Drawn, device: Any, own: Callable[[], torch.Tensor]) -> torch.Tensor:
        raise _Asked(asked)

    try:
        with _replaced(pipe, answer):
            call()
    except _Asked as end:
        return end.drawn
    raise ValueError(f"{_name(pipe)} never asked for noise through {_FUNCTION}, so its noise cannot be tuned")


@contextlib.contextmanager
def _replaced(pipe: Any, answer: Callable[..., torch.Tensor]) -> Iterator[None]:
    needed("torch", "diffusers")
    import torch

    homes = [sys.modules[kind.__module__] for kind in type(pipe).__mro__]
    modules = [module for module in homes if hasattr(module, _FUNCTION)]
    if not modules:
        raise ValueError(f"{_name(pipe)} does not sample with {_FUNCTION}, so its noise cannot be intercepted")

    def randn_tensor(
        shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, layout: Any = None
    ) -> torch.Tensor:
        asked = Drawn(tuple(shape), dtype or torch.get_default_dtype())
        return answer(asked, device, lambda: own(shape, generator, device, dtype, layout))

    with _lock:
        replaced = {module: getattr(module, _FUNCTION) for module in modules}
        own = next(iter(replaced.values()))
        for module in replaced:
            setattr(module, _FUNCTION, randn_tensor)
        try:
            yield
        finally:
            for module, function in replaced.items():
                setattr(module, _FUNCTION, function)


def _name(pipe: Any) -> str:
    return type(pipe).__name__
