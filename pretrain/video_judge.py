"""The judge of clips: the still judge read frame by frame, and the motion from the track of the asked object.

A clip is right where at least `FRAMES_RIGHT` of its 8 frames satisfy the prompt as stills, and every asked noun moves as asked.
The track of a noun is the centre of its strongest object in each frame; its displacement is the least-squares slope in pixels a
frame times 7. A motion needs `MOVED` pixels along its axis and less than half as many across it; standing still, less than `STOOD`.
"""

import re

import numpy as np
import torch

from .clips import FRAMES, MOTION_FILE
from .judge import Reader, holds
from .specification import parse

FRAMES_RIGHT, MOVED, STOOD = 6, 16.0, 6.0


def asked_motion(prompt):
    """The motion whose longest phrase the prompt contains, or None."""
    words = " ".join(re.findall(r"[a-z0-9]+", prompt.lower()))
    found = [(len(p), m) for m, phrases in MOTION_FILE["motions"].items() for p in phrases if f" {p} " in f" {words} "]
    return max(found)[1] if found else None


def displacement(readings, noun):
    """-> (right, down) in pixels over the clip, or None where the noun is found in fewer than `FRAMES_RIGHT` frames."""
    track = [(i, o["x"], o["y"]) for i, found in enumerate(readings) for o in [o for o in found["objects"] if o["noun"] == noun][:1]]
    if len(track) < FRAMES_RIGHT:
        return None
    frame, x, y = np.array(track).T
    return tuple(float(np.polyfit(frame, v, 1)[0]) * (FRAMES - 1) for v in (x, y))


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
        return dict(frames=right, motion=motions[0], motion_right=motion_right, success=right >= FRAMES_RIGHT and motion_right)
