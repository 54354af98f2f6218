"""The policy: equally likely components, Gaussians over initial noises, which is all that tuning learns."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from . import _noisefind
from ._extras import needed

if TYPE_CHECKING:
    import torch

Key = tuple[int, int, int]


class NoisePolicy:
    """One Gaussian `N(mean, diag sigma^2)` over noises, or several that are equally likely and take turns.

    Attributes:
        shape: Shape of one noise, `[C, (F,) h, w]`.
        mean: float32 `[k, C, (F,) h, w]`, one for each of k components.
        sigma: Standard deviations, positive, in the shape of `mean`.
        kl_nats: Divergence from `N(0, I)`, summed over the numbers of a noise, in nats.
        provenance: Where the policy comes from, with the keys of its file; None for one that was made here.
    """

    def __init__(self, mean: np.ndarray, sigma: np.ndarray, *, several: bool = False):
        """A policy of your own numbers, each `[C, (F,) h, w]`, or with an axis of k components before these if `several`.

        Raises:
            ValueError: Where the shapes differ, a mean is not finite or a sigma is not positive.
        """
        mean, sigma = (np.array(values, np.float32) for values in (mean, sigma))
        self._native = _noisefind.NoisePolicy(*((mean, sigma) if several else (mean[None], sigma[None])))

    @classmethod
    def _of(cls, native: _noisefind.NoisePolicy) -> NoisePolicy:
        policy = cls.__new__(cls)
        policy._native = native
        return policy

    @classmethod
    def standard(cls, shape: Sequence[int]) -> NoisePolicy:
        """`N(0, I)` over noises of `shape`: what an untuned model samples from."""
        return cls(np.zeros(shape, np.float32), np.ones(shape, np.float32))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NoisePolicy:
        """The policy in a file, or in the run folder that holds it.

        Raises:
            noisefind.Error: Where there is none, or a number in it is not what it should be.
        """
        return cls._of(_noisefind.NoisePolicy.load(os.fspath(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the policy with its provenance; `noisefind sample` and `load` read it.

        Raises:
            noisefind.Error: Where the file cannot be written, or the policy was not tuned and has no provenance.
        """
        self._native.save(os.fspath(path))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._native.shape

    @property
    def mean(self) -> np.ndarray:
        return self._native.mean

    @property
    def sigma(self) -> np.ndarray:
        return self._native.sigma

    @property
    def kl_nats(self) -> float:
        return self._native.kl_nats

    @property
    def provenance(self) -> Mapping[str, Any] | None:
        text = self._native.provenance
        return None if text is None else json.loads(text)

    def __len__(self) -> int:
        """How many components there are."""
        return len(self.mean)

    def __repr__(self) -> str:
        return f"NoisePolicy(shape={self.shape}, components={len(self)}, kl_nats={self.kl_nats:.1f})"

    def noise(self, keys: Sequence[Key]) -> np.ndarray:
        """The noises that a run samples under (seed, iteration, index), float32 `[n, C, (F,) h, w]`."""
        return self._native.noise(list(keys))

    def sample(
        self, count: int, *, seed: int | None = None, generator: torch.Generator | None = None
    ) -> np.ndarray | torch.Tensor:
        """`count` noises `[count, C, (F,) h, w]` with the standard deviations that models expect, float32.

        With `seed`, a numpy array: bit for bit the noises of `noisefind sample --seed SEED`, one a seed from there on.
        Otherwise a tensor, sampled with `generator` or PyTorch's own and on its device.
        """
        if seed is not None:
            if generator is not None:
                raise ValueError("give a seed or a generator, not both")
            return self._native.sample(count, seed)
        torch = needed("torch", "diffusers")
        device = generator.device if generator is not None else None
        unit = torch.randn((count, *self.shape), generator=generator, device=device)
        return self._applied(unit)

    def latents(
        self,
        pipe: Any,
        count: int,
        *,
        seed: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """`count` noises as the `latents=` of a diffusers pipeline: in its layout, packing, dtype and device.

        With mean 0 and sigma 1 these are, bit for bit, what the pipeline would sample by itself with `generator`.

        Args:
            pipe: A pipeline of a family that noisefind knows (`noisefind.diffusers.FAMILIES`).
            count: How many.
            seed: As for `sample`.
            generator: As the pipeline's own argument: one, or one a noise.

        Raises:
            ValueError: Where the family is unknown, or its noises have another number of axes than the policy's.
        """
        torch = needed("torch", "diffusers")
        from . import diffusers as adapters

        if seed is not None:
            noise = torch.from_numpy(self._native.sample(count, seed))
            return adapters.latents(pipe, noise)
        family = adapters.known_family(pipe)
        unit = family.sample(pipe, self.shape, count, generator)
        return adapters.latents(pipe, self._applied(family.noise_of(unit).float()))

    def _applied(self, unit: torch.Tensor) -> torch.Tensor:
        """`mean + sigma * unit`, the components taking turns."""
        import torch

        turn = torch.arange(len(unit)) % len(self)
        mean, sigma = (torch.from_numpy(values)[turn].to(unit.device) for values in (self.mean, self.sigma))
        return mean + sigma * unit
