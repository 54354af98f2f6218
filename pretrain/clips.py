"""The world of the default video model: clips of the still world's objects that move one way or stand still.

A clip has 8 frames. Its objects cross most of the picture along a straight line, all of them the same way, on a background
that stays. Its truth is kept as plain values like that of a still scene, with the motion and the path of every object.
"""

import numpy as np

from . import world
from .common import world_file
from .world import SIDE

MOTION_FILE = world_file("motions.json")
FRAMES = MOTION_FILE["frames"]
MOTIONS = list(MOTION_FILE["motions"])
NATURAL = MOTION_FILE["natural"]
OPPOSITE = {"right": "left", "left": "right", "up": "down", "down": "up"}


def odd_motion(noun, rng):
    options = [m for m in MOTIONS if m != NATURAL[noun]]
    return options[rng.integers(len(options))]


def paths(count, motion, size, rng):
    """Centres of `count` objects in every frame, [count, 8, 2] as (x, y), rounded to pixels.

    Along the motion they go from near one edge to near the other; across it, and when standing still, they may be anywhere
    inside the picture where they do not meet.
    """
    half, jitter = size / 2, MOTION_FILE["end_jitter_px"]
    low, high = half, SIDE - half
    lanes = rng.uniform(low, high, count)
    if count == 2:
        first = rng.uniform(low, SIDE / 2 - half + 1)
        second = rng.uniform(max(first + size, SIDE / 2 + half - 1), high)
        lanes = rng.permutation([first, second])
    along = np.full(FRAMES, rng.uniform(low, high))
    if motion != "still":
        start, end = low + rng.uniform(0, jitter), high - rng.uniform(0, jitter)
        along = np.linspace(start, end, FRAMES)
        if motion in ("left", "up"):
            along = along[::-1]
    upright = motion in ("up", "down") or (motion == "still" and rng.random() < 0.5)
    points = [np.stack([np.full(FRAMES, lane), along] if upright else [along, np.full(FRAMES, lane)], -1) for lane in lanes]
    return np.round(np.array(points))


def sample(rng, uniform=False, noisy=False, kind=None, motion=None):
    """One clip: `asked` is what its caption may say; `objects`, `place`, `motion` and `paths` are what is shown.

    `uniform` draws colours, places and motions evenly (for the scorer); `noisy` lets the clip disagree with its caption as
    often as the files of the world say.
    """
    f = MOTION_FILE
    kind = kind or ("pair" if rng.random() < f["pair"] else "single")
    scene = world.sample(rng, kind=kind, uniform=uniform, noisy=noisy)
    natural = NATURAL[scene["asked"]["nouns"][0]]
    if motion:
        shown = said = motion
    elif uniform:
        shown = said = MOTIONS[rng.integers(len(MOTIONS))]
    else:
        said = natural if rng.random() < f["natural_motion"] else odd_motion(scene["asked"]["nouns"][0], rng)
        shown = natural if noisy and rng.random() < f["caption_noise"]["odd_motion"] else said
    if rng.random() >= f["motion_word"]:
        # What is not said is what is natural, except where motions are drawn evenly.
        said, shown = None, shown if uniform or motion else natural
    low, high = f["sizes_px"][kind]
    size = int(rng.integers(low, high + 1))
    way = paths(len(scene["objects"]), shown, size, rng)
    objects = [dict(noun=o["noun"], color=o["color"], size=size) for o in scene["objects"]]
    return dict(asked=dict(scene["asked"], size=None, motion=said), objects=objects, place=scene["place"], motion=shown, paths=way)


def caption(asked, rng=None, plain=False):
    """A sentence for what is asked; without a generator or with `plain`, the canonical one.

    Canonical: "a green dog moving from right to left on the grass".
    """
    f = MOTION_FILE
    vary = (lambda p: False) if plain or rng is None else (lambda p: rng.random() < p)
    still = dict(asked, place=None, relation=None, count=1)
    text = world.caption(still, None if plain else rng, plain)
    phrase = None
    if asked["motion"]:
        phrases = f["motions"][asked["motion"]]
        phrase = phrases[rng.integers(len(phrases))] if vary(f["alternative_phrase"]) else phrases[0]
        if asked["motion"] in ("left", "right") and vary(f["verb"]):
            phrase = f["sideways_verbs"][rng.integers(len(f["sideways_verbs"]))] + " " + f["motions"][asked["motion"]][1]
        if vary(f["is"]) and not phrase.startswith("from"):
            phrase = ("are " if len(asked["nouns"]) > 1 else "is ") + phrase
    place = None
    if asked["place"]:
        options = world.GRAMMAR["places"][asked["place"]]
        place = options[rng.integers(len(options))] if vary(world.FREQUENCIES["alternative_phrase"]) else options[0]
    order = [phrase, place] if not vary(1 - f["motion_before_place"]) else [place, phrase]
    return " ".join([text] + [p for p in order if p])


def frame(truth, index):
    """The still scene of one frame, as `world.Painter.draw` takes it."""
    objects = [dict(o, x=float(p[index][0]), y=float(p[index][1])) for o, p in zip(truth["objects"], truth["paths"])]
    return dict(objects=objects, place=truth["place"])


def draw(painter, truth, rng):
    """-> uint8 [8, 64, 64, 3]; the background is the same in all frames."""
    seed = int(rng.integers(2**31))
    return np.stack([painter.draw(frame(truth, i), np.random.default_rng(seed)) for i in range(FRAMES)])
