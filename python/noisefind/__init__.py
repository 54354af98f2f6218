"""Tune the initial noise of a diffusion pipeline, so that every image starts where the prompt succeeds.

```python
tuned = noisefind.tune(pipe, "a dog on the moon", reward=score, evaluations=160, seed=7, num_inference_steps=28)
pipe(prompt, latents=tuned.policy.latents(pipe, 8)).images
```

Importing this module imports neither torch nor diffusers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._noisefind import Error, __version__
    from ._prompts import PromptResult, tune_prompts
    from ._rewards import Scorer, scorer_of
    from ._tune import Tuned, tune
    from .policy import NoisePolicy
    from .run import Batch, Run

__all__ = [
    "Batch",
    "Error",
    "NoisePolicy",
    "PromptResult",
    "Run",
    "Scorer",
    "Tuned",
    "__version__",
    "scorer_of",
    "tune",
    "tune_prompts",
]

# The command line starts through this package too, and should not wait for numpy.
_HOMES = {
    "Batch": "run",
    "Error": "_noisefind",
    "NoisePolicy": "policy",
    "PromptResult": "_prompts",
    "Run": "run",
    "Scorer": "_rewards",
    "Tuned": "_tune",
    "__version__": "_noisefind",
    "scorer_of": "_rewards",
    "tune": "_tune",
    "tune_prompts": "_prompts",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    if name in ("diffusers", "ray", "comfy"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "comfy", "diffusers", "ray"])
