"""Trains the annotator: a detector like the judge, which labels generated images for the scorer. It does not ship.

The judge must stay independent of what is optimised, so nothing of it may teach the scorer. The annotator has layers, seed,
scenes and imperfections of its own; it is smaller and is trusted only where it is sure.
"""

import time

import torch

from . import pictures
from .common import WORK
from .judge import Judge, Reader, arguments, export, scene_accuracy, train
from .redraw import Redraw

PATH, FOLDER = WORK / "annotator.pt", WORK / "annotator"
# (channels out, stride, dilation), as in the judge.
LAYERS = [(24, 2, 1), (48, 1, 1), (64, 2, 1), (96, 1, 1), (96, 1, 2), (96, 1, 1), (96, 1, 3), (128, 1, 1)]
# The heat of a real object's peak, and the most that a place without an object may have.
SURE, NOTHING = 0.6, 0.25


class Annotator(Reader):
    """The trained annotator. It counts strictly: objects that touch are still two where both have a peak."""

    def __init__(self):
        super().__init__(FOLDER)

    @torch.no_grad()
    def annotate(self, images):
        """images in 0..1, [n, 3, 64, 64] -> what `read` gives, and whether no peak is in doubt, one a picture."""
        best = self.maps(images)[0].max(1).values
        limits = self.config["thresholds"]
        top = torch.nn.functional.max_pool2d(best[:, None], limits["peak_window"], 1, limits["peak_window"] // 2)[:, 0]
        peaks = torch.where(best >= top, best, 0)
        doubtful = ((peaks > NOTHING) & (peaks < SURE)).flatten(1)
        return self.read(images), [not one.any() for one in doubtful]


def main():
    a = arguments(__doc__, 25).parse_args()
    torch.manual_seed(5)
    run_seed = time.time_ns() % 2**31 if PATH.exists() else 51
    source = pictures.Source("annotator", 505, 1.1, run_seed, redraw=Redraw(levels=(150, 450), steps=3, guidance=3.5))
    train(a, Judge(LAYERS), source, PATH)
    export(PATH, LAYERS, FOLDER)
    print("held-out scenes:", scene_accuracy(Reader(FOLDER)))


if __name__ == "__main__":
    main()
