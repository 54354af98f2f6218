"""Reference resizes made with Pillow: `resize/WxH.png` and, for each, `resize/WxH-to-WxH-FILTER.png`; of the sizes that
scorers meet only the results, because the test makes their pictures by the same formula.

Usage: python golden/rewards/resize.py   (needs pillow < 13 and numpy)

From version 13 on, Pillow does the rows before the columns where the height shrinks much more than the width,
which moves some bytes by one level. The published scorers were trained with the older order.
"""

import pathlib

import numpy
from PIL import Image, __version__

assert int(__version__.split(".")[0]) < 13, "pillow >= 13 orders the passes differently"

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
SIZES = [((64, 64), (28, 28)), ((23, 41), (32, 17)), ((50, 30), (50, 12)), ((31, 31), (47, 47)), ((7, 90), (3, 124))]


LARGE = [((512, 512), (224, 224)), ((1024, 1024), (224, 224)), ((500, 333), (336, 224)), ((333, 767), (224, 515))]
LARGE += [((100, 80), (280, 224))]


def formula(width, height):
    """Ramps, hard edges and, in the last quarter of the rows, noise; whole numbers only, so that any language can do it."""
    rows, columns = numpy.mgrid[0:height, 0:width].astype(numpy.uint64)
    ramps = abs((columns * 3 + rows * 2).astype(int) % 510 - 255)
    edges = (columns // 6 + rows // 9) % 2 * 255
    noise = (columns * 73856093 + rows * 19349663) % 2**32 * 2654435761 % 2**32 >> 24
    noise = numpy.where(rows * 4 >= height * 3, noise, rows % 256)
    return numpy.stack([ramps, edges, noise], axis=-1).astype(numpy.uint8)


def picture(width, height):
    """Smooth waves, hard edges and noise: overshoot, clipping and rounding all happen."""
    rows, columns = numpy.mgrid[0:height, 0:width]
    waves = 127.5 + 127.5 * numpy.sin(columns / 5.0 + rows / 3.0)
    edges = ((columns // 6 + rows // 9) % 2) * 255.0
    noise = numpy.random.default_rng(width * 1000 + height).integers(0, 256, (height, width))
    return numpy.stack([waves, edges, noise], axis=-1).round().astype(numpy.uint8)


folder = pathlib.Path(__file__).with_name("resize")
folder.mkdir(exist_ok=True)
for (width, height), (to_width, to_height) in SIZES:
    source = Image.fromarray(picture(width, height))
    source.save(folder / f"{width}x{height}.png")
    for name, number in FILTERS.items():
        result = source.resize((to_width, to_height), number)
        result.save(folder / f"{width}x{height}-to-{to_width}x{to_height}-{name}.png")

for (width, height), (to_width, to_height) in LARGE:
    result = Image.fromarray(formula(width, height)).resize((to_width, to_height), Image.BICUBIC)
    result.save(folder / f"{width}x{height}-to-{to_width}x{to_height}-bicubic.png")
