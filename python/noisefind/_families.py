"""What `latents=` means in each family of diffusers' pipelines.

A policy stores a noise as `[C, (F,) h, w]` with standard deviation 1, in the order in which the pipeline's own
documentation names the axes. Pipelines differ in what they sample, in what they take and in who scales:

- Stable Diffusion, XL, PixArt, CogVideoX, AnimateDiff and ModelScope take unit noise as they sample it and multiply
  it by the scheduler's `init_noise_sigma`;
- SD3, Sana, Z-Image, Wan and HunyuanVideo take it as they sample it and use it as it is;
- Flux.1, Qwen-Image and LTX sample it unpacked and take it packed, `[B, S, D]`;
- Flux.2 samples and takes it in its own channels, four for each of the decoder's, and packs it inside.

LTX-2 takes clean latents under this name, so it has no entry here and its noise is intercepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Sequence

if TYPE_CHECKING:
    import torch

Layout = Literal["channels first", "frames first", "one frame"]
Packing = Literal["none", "patches", "patches of frames"]


@dataclass(frozen=True)
class Family:
    """How the pipelines of one family sample their noise and take ours.

    Attributes:
        name: As in the documentation.
        pipelines: Names of diffusers' classes.
        layout: Axes of the tensor that the pipeline samples, after the batch: `[C, (F,) h, w]`, `[F, C, h, w]`, or
            `[1, C, h, w]`.
        packing: What the pipeline does to its own noise and not to ours.
        samples_float32: Whether noise is sampled in float32 whatever the model computes in.
    """

    name: str
    pipelines: tuple[str, ...]
    layout: Layout = "channels first"
    packing: Packing = "none"
    samples_float32: bool = False

    def native_shape(self, noise_shape: Sequence[int], count: int) -> tuple[int, ...]:
        """Shape of the tensor in which the pipeline samples `count` noises of `noise_shape`."""
        shape = tuple(noise_shape)
        if self.layout == "frames first":
            if len(shape) != 4:
                raise ValueError(f"{self.name} generates clips, [C, F, h, w], found noise of shape {list(shape)}")
            channels, frames, *size = shape
            shape = (frames, channels, *size)
        elif self.layout == "one frame":
            shape = (1, *shape)
        return (count, *shape)

    def noise_of(self, drawn: torch.Tensor) -> torch.Tensor:
        """What the pipeline sampled as noises `[n, C, (F,) h, w]`."""
        if self.layout == "frames first":
            return drawn.transpose(1, 2)
        return drawn.squeeze(1) if self.layout == "one frame" else drawn

    def native_of(self, noise: torch.Tensor) -> torch.Tensor:
        """Noises `[n, C, (F,) h, w]` in the layout in which the pipeline samples."""
        if self.layout == "frames first":
            return noise.transpose(1, 2)
        return noise.unsqueeze(1) if self.layout == "one frame" else noise

    def latents_of(self, pipe: Any, noise: torch.Tensor) -> torch.Tensor:
        """Noises `[n, C, (F,) h, w]` as the pipeline's `latents=` takes them."""
        if self.packing == "patches":
            return pipe._pack_latents(noise, *noise.shape)
        if self.packing == "patches of frames":
            patches = pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size
            return pipe._pack_latents(noise, *patches)
        return self.native_of(noise)

    def sample(self, pipe: Any, noise_shape: Sequence[int], count: int, generator: Any) -> torch.Tensor:
        """What the pipeline samples by itself for `count` noises of `noise_shape`, before it scales or packs."""
        from diffusers.utils.torch_utils import randn_tensor

        shape = self.native_shape(noise_shape, count)
        return randn_tensor(shape, generator=generator, device=pipe._execution_device, dtype=self.dtype(pipe))

    def dtype(self, pipe: Any) -> torch.dtype:
        """The numbers in which the pipeline samples: float32, or those of its prompt embedding."""
        import torch

        if self.samples_float32:
            return torch.float32
        parts = (getattr(pipe, name, None) for name in ("text_encoder_2", "text_encoder", "transformer", "unet"))
        return next(part.dtype for part in parts if part is not None)


FAMILIES = (
    Family("Stable Diffusion 1 and 2", ("StableDiffusionPipeline",)),
    Family("Stable Diffusion XL", ("StableDiffusionXLPipeline",)),
    Family("Stable Diffusion 3 and 3.5", ("StableDiffusion3Pipeline",)),
    Family("Flux.1", ("FluxPipeline",), packing="patches"),
    Family("Flux.2", ("Flux2Pipeline", "Flux2KleinPipeline")),
    Family("Qwen-Image", ("QwenImagePipeline",), layout="one frame", packing="patches"),
    Family("Z-Image", ("ZImagePipeline",), samples_float32=True),
    Family("PixArt", ("PixArtAlphaPipeline", "PixArtSigmaPipeline")),
    Family("Sana", ("SanaPipeline",), samples_float32=True),
    Family("Wan", ("WanPipeline",), samples_float32=True),
    Family("LTX-Video", ("LTXPipeline",), packing="patches of frames", samples_float32=True),
    Family("HunyuanVideo", ("HunyuanVideoPipeline",), samples_float32=True),
    Family("CogVideoX", ("CogVideoXPipeline",), layout="frames first"),
    Family("AnimateDiff", ("AnimateDiffPipeline",)),
    Family("ModelScope", ("TextToVideoSDPipeline",)),
)
"""Every family with an adapter; each is tested with a small random pipeline of diffusers 0.42.1."""


def family_of(pipe: Any) -> Family | None:
    """The family of a pipeline or of the class that it derives from; None where its noise has to be intercepted."""
    names = [kind.__name__ for kind in type(pipe).__mro__ if kind.__module__.startswith("diffusers.")]
    for family in FAMILIES:
        if any(name in family.pipelines for name in names):
            return family
    return None
