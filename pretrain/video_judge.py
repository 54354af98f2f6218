"""The judge of clips: the still judge read frame by frame, and the motion from the track of the asked object.

A clip is right where at least three quarters of its frames satisfy the prompt as stills (6 of 8), and every asked noun moves as
asked. The track of a noun is the centre of its strongest object in each frame; its displacement is the least-squares slope in
pixels a frame times the number of steps (7). A motion needs `MOVED` pixels along its axis and less than half as many across it;
standing still, less than `STOOD`.

`python -m pretrain.video_judge` writes the judge's folder of the video model: rules and grammar, without the network, which is the
still model's.
"""

import json
import math
import re

import numpy as np
import torch

from . import world
from .clips import MOTION_FILE
from .common import MODEL
from .judge import Reader, holds
from .specification import parse

FRAMES_RIGHT, MOVED, STOOD = 0.75, 16.0, 6.0
FOLDER = MODEL.with_name("emoji-64-video") / "judge"


def asked_motion(prompt):
    """The motion whose longest phrase the prompt contains, or None."""
    words = " ".join(re.findall(r"[a-z0-9]+", prompt.lower()))
    found = [(len(p), m) for m, phrases in MOTION_FILE["motions"].items() for p in phrases if f" {p} " in f" {words} "]
    return max(found)[1] if found else None


def displacement(readings, noun):
    """-> (right, down) in pixels over the clip, or None where the noun is found in too few frames."""
    track = [(i, o["x"], o["y"]) for i, found in enumerate(readings) for o in [o for o in found["objects"] if o["noun"] == noun][:1]]
    if len(track) < math.ceil(FRAMES_RIGHT * len(readings)):
        return None
    frame, x, y = np.array(track).T
    return tuple(float(np.polyfit(frame, v, 1)[0]) * (len(readings) - 1) for v in (x, y))


def motion_of(moved):
    """The motion of a displacement, or None where it is none of the five."""
    if moved is None:
        return None
    right, down = moved
    if np.hypot(right, down) < STOOD:
        return "still"
    along, across, names = (right, down, ("left", "right")) if abs(right) > abs(down) else (down, right, ("up", "down"))
    return names[along > 0] if abs(along) >= MOVED and abs(across) < abs(along) / 2 else None


class ClipReader:
    def __init__(self):
        self.reader = Reader()

    @torch.no_grad()
    def verdict(self, frames, prompt):
        """frames [8, 3, 64, 64] in 0..1 -> dict of frames (how many are right), motion (found), motion_right, success"""
        readings = self.reader.read(frames)
        asked = parse(prompt, self.reader.grammar)
        right = sum(holds(found, asked, self.reader.config["thresholds"]["relation_pixels"])["success"] for found in readings)
        motions = [motion_of(displacement(readings, group["noun"])) for group in asked["nouns"]]
        wanted = asked_motion(prompt)
        motion_right = wanted is None or all(m == wanted for m in motions)
        return dict(frames=right, motion=motions[0], motion_right=motion_right, success=right >= math.ceil(FRAMES_RIGHT * len(readings)) and motion_right)


def export():
    FOLDER.mkdir(parents=True, exist_ok=True)
    still = MODEL / "judge"
    rules = dict(frames_right=FRAMES_RIGHT, moved_pixels=MOVED, stood_pixels=STOOD)
    (FOLDER / "config.json").write_text(json.dumps(json.loads((still / "config.json").read_text()) | dict(clip=rules), indent=1) + "\n")
    # What else may stand in a caption of a clip says nothing of its own.
    fillers = [*world.GRAMMAR["fillers"], *(v for v in MOTION_FILE["sideways_verbs"] if v not in world.GRAMMAR["fillers"])]
    (FOLDER / "grammar.json").write_text(json.dumps(dict(world.GRAMMAR, fillers=fillers, motions=MOTION_FILE["motions"]), indent=1) + "\n")


if __name__ == "__main__":
    export()
