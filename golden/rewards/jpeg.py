"""Sizes in bytes of pictures saved as JPEG by Pillow at quality 95 (4:2:0, standard tables): `jpeg.json`.

Usage: python golden/rewards/jpeg.py   (needs pillow and numpy; reads the pictures of `resize/` and `clip/`)
"""

import io
import json
import pathlib

import numpy
from PIL import Image

HERE = pathlib.Path(__file__).parent
PATHS = ["resize/64x64.png", "resize/31x31-to-47x47-bicubic.png", "resize/50x30.png", "clip/picture-2.png"]


def size(picture):
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=95)
    return file.tell()


def photo():
    """Smooth like a photograph: a few waves of every colour."""
    rows, columns = numpy.mgrid[0:192, 0:256]
    waves = [numpy.sin(columns / a + rows / b) * 90 + 128 for a, b in ((17, 40), (29, 13), (50, 21))]
    return Image.fromarray(numpy.stack(waves, axis=-1).round().astype(numpy.uint8))


photo().save(HERE / "photo.png")
sizes = {path: size(Image.open(HERE / path)) for path in [*PATHS, "photo.png"]}
(HERE / "jpeg.json").write_text(json.dumps(sizes, indent=1) + "\n")
print(sizes)
