"""Images and clips in the forms in which pipelines give them and rewards take them."""

from __future__ import annotations

import io
from typing import Any, Sequence

import numpy as np


def as_array(image: Any) -> np.ndarray:
    """One image or clip as uint8 `[F, H, W, 3]`.

    Takes a PIL image or a list of them; a tensor or array of numbers in 0..=1 with shape `[(F,) 3, H, W]` (torch) or
    `[(F,) H, W, 3]` (numpy); or such an array of uint8.

    Raises:
        ValueError: Where the shape is another.
    """
    if isinstance(image, (list, tuple)):
        return np.stack([np.asarray(frame.convert("RGB"), np.uint8) for frame in image])
    if hasattr(image, "convert"):
        return np.asarray(image.convert("RGB"), np.uint8)[None]
    if hasattr(image, "detach"):
        values = image.detach().float().cpu().numpy() if image.is_floating_point() else image.cpu().numpy()
        values = np.moveaxis(values, -3, -1)
    else:
        values = np.asarray(image)
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[-1] != 3:
        raise ValueError(f"an image has shape {list(values.shape)}, expected [(frames,) height, width, 3]")
    if values.dtype != np.uint8:
        values = np.round(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(values)


def as_images(image: Any) -> list[Any]:
    """The frames of one image or clip as PIL images."""
    if isinstance(image, (list, tuple)):
        return list(image)
    if hasattr(image, "convert"):
        return [image]
    from PIL import Image

    return [Image.fromarray(frame) for frame in as_array(image)]


def as_png(image: Any) -> list[bytes]:
    """The frames of one image or clip as PNG files."""
    files = []
    for image in as_images(image):
        file = io.BytesIO()
        # The files are read once and deleted, so speed counts and size does not.
        image.convert("RGB").save(file, format="PNG", compress_level=1)
        files.append(file.getvalue())
    return files


def of_png(files: Sequence[bytes]) -> list[Any]:
    """PNG files as PIL images."""
    from PIL import Image

    return [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
