"""Twins: two scenes that differ in one thing, each with its own caption. The scorer learns to tell them apart both ways.

False captions teach which of two sentences fits a picture. Noise optimisation asks the other question, which of two pictures
fits a sentence, and the pictures that one model draws for one prompt differ in little else than what was drawn wrongly.
"""

import copy

from . import world

# What differs; only what the caption speaks of can.
WEIGHTS = dict(side=4, swap=4, count=5, color=2, place=1, noun=1)


def twin(scene, rng):
    """A scene like the given one but for one thing that its caption says; the caption is changed with it."""
    asked = scene["asked"]
    told = [i for i, c in enumerate(asked["colors"]) if c]
    possible = dict(
        side=asked["relation"] is not None,
        swap=len(told) == 2 and asked["colors"][0] != asked["colors"][1],
        count=asked["kind"] == "count",
        color=bool(told),
        place=asked["place"] is not None,
        noun=True,
    )
    names = [name for name, is_possible in possible.items() if is_possible]
    name = world.choose(rng, names, [WEIGHTS[n] for n in names])
    other = lambda options, *taken: (lambda left: left[rng.integers(len(left))])([o for o in options if o not in taken])
    made = copy.deepcopy(scene)
    asked, objects = made["asked"], made["objects"]
    if name == "side":
        first, second = objects
        for axis in ("x", "y"):
            first[axis], second[axis] = second[axis], first[axis]
        asked["relation"] = world.OPPOSITE[asked["relation"]]
    elif name == "swap":
        asked["colors"] = asked["colors"][::-1]
        for o, color in zip(objects, asked["colors"]):
            o["color"] = color
    elif name == "count":
        asked["count"] = other([c for c in (asked["count"] - 1, asked["count"] + 1) if c <= 5])
        made["objects"] = repeated(objects[0], asked["count"], rng)
    elif name == "color":
        i = told[rng.integers(len(told))]
        asked["colors"][i] = other(world.PAINTS, asked["colors"][i])
        for o in objects:
            if o["noun"] == asked["nouns"][i]:
                o["color"] = asked["colors"][i]
    elif name == "place":
        asked["place"] = made["place"] = other(world.NAMED_PLACES, made["place"])
    else:
        i = rng.integers(len(asked["nouns"]))
        before, asked["nouns"][i] = asked["nouns"][i], other(world.NOUNS, *asked["nouns"])
        for o in objects:
            if o["noun"] == before:
                o["noun"] = asked["nouns"][i]
                if not asked["colors"][i] and o["color"] == world.NATURAL[before]:
                    o["color"] = world.NATURAL[o["noun"]]
    return made


def repeated(one, count, rng):
    """`count` of the object, half of the time no larger than they were, or the size would tell the count."""
    low, high = world.FREQUENCIES["sizes_px"]["single" if count == 1 else f"count{count}"]
    size = min(one["size"], high) if rng.random() < 0.5 else int(rng.integers(low, high + 1))
    points, size = world.place_objects(count, size, rng)
    return [dict(one, x=float(x), y=float(y), size=size) for x, y in points]


def pairs(scenes, rng):
    """-> the scenes, each followed by its twin"""
    return [s for scene in scenes for s in (scene, twin(scene, rng))]
