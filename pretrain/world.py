"""The world of the default model: 64x64 scenes of recoloured emoji, their truth and their captions.

A scene is drawn from the weights in `world/frequencies.json`; its truth is kept as plain values, so that
captions, hard negatives and the judge's labels all come from the same record.
"""

import numpy as np
from PIL import Image

from . import art
from .common import world_file

SIDE = 64
GRAMMAR, FREQUENCIES, HELD_OUT = world_file("grammar.json"), world_file("frequencies.json"), world_file("held-out.json")
COATS = world_file("coats.json")
NOUNS, COLORS = list(GRAMMAR["nouns"]), list(GRAMMAR["colors"])
PLAIN = GRAMMAR["plain_place"]
PLACES = [PLAIN] + list(GRAMMAR["places"])
NAMED_PLACES = PLACES[1:]
NATURAL = {n: e["natural_color"] for n, e in GRAMMAR["nouns"].items()}
# Gray exists only as a natural colour; the other ten are made by recolouring.
PAINTS = [c for c in COLORS if c != "gray"]
UNSEEN_COLORS = {tuple(p) for p in HELD_OUT["color_noun"]}
UNSEEN_PLACES = {tuple(p) for p in HELD_OUT["noun_place"]}
UNSEEN_PAIRS = {frozenset(p) for p in HELD_OUT["noun_pair"]}
RELATIONS = list(GRAMMAR["relations"])
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def coat(sprite, noun):
    """Which pixels are the coat, by the fill that each is nearest to: the drawings are flat. -> bool [side, side]"""
    fills = np.array([list(bytes.fromhex(f)) for f in COATS[noun]], np.float32)
    rgb, alpha = sprite[..., :3].astype(np.float32), sprite[..., 3]
    seen, times = np.unique(sprite[alpha > 250][:, :3] // 4 * 4 + 2, axis=0, return_counts=True)
    others = seen[times > 0.003 * times.sum()].astype(np.float32)
    others = others[np.abs(others[:, None] - fills[None]).max(-1).min(1) > 16]
    distance = lambda palette: ((rgb[..., None, :] - palette) ** 2).sum(-1).min(-1)
    return distance(fills) <= (distance(others) if len(others) else np.inf)


def recolor(sprite, noun, color):
    """Maps the lightness of the coat onto a ramp through the target colour; everything else keeps its own colour."""
    target = np.array(GRAMMAR["colors"][color]["rgb"], np.float32)
    rgb, alpha = sprite[..., :3].astype(np.float32), sprite[..., 3:]
    light = rgb @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    painted_here = coat(sprite, noun)
    # The median lightness of the coat takes the target colour itself, whatever the lightness was.
    middle = np.clip(np.median(light[painted_here & (alpha[..., 0] > 128)]), 0.15, 0.85)
    if color == "black":
        dark, bright = target * 0.25, target + 70
    elif color == "white":
        dark, bright = target * 0.25, target
        target = target * 0.93
    else:
        dark, bright = target * 0.22, target + (255 - target) * 0.5
    below = dark + (target - dark) * np.clip(light / middle, 0, 1)[..., None] ** 0.8
    above = target + (bright - target) * np.clip((light - middle) / max(1 - middle, 0.05), 0, 1)[..., None]
    painted = np.where((light <= middle)[..., None], below, above)
    painted = np.where(painted_here[..., None], painted, rgb)
    return np.concatenate([painted, alpha.astype(np.float32)], -1).clip(0, 255).astype(np.uint8)


class Painter:
    """Keeps every sprite at every size it was asked for, because scaling is the slow part."""

    def __init__(self):
        self.sprites = art.sprites()
        self.kept, self.backgrounds = {}, {}

    def sprite(self, noun, color, size):
        key = (noun, color, size)
        if key not in self.kept:
            image = self.sprites[noun]
            if color != NATURAL[noun]:
                image = recolor(image, noun, color)
            # Scaling premultiplied colours keeps transparent pixels from bleeding into the edge.
            a = image[..., 3:].astype(np.float32) / 255
            pre = np.concatenate([image[..., :3] * a, a * 255], -1)
            channels = [np.asarray(Image.fromarray(pre[..., i]).resize((size, size), Image.BOX if size > 40 else Image.LANCZOS)) for i in range(4)]
            alpha = np.clip(channels[3] / 255, 0, 1)[..., None]
            self.kept[key] = (np.stack(channels[:3], -1).clip(0, 255), 1 - alpha)
        return self.kept[key]

    def background(self, place, rng, variants=96):
        key = (place, int(rng.integers(variants)))
        if key not in self.backgrounds:
            self.backgrounds[key] = background(place, np.random.default_rng([PLACES.index(place), key[1], 7])).clip(0, 255)
        return self.backgrounds[key]

    def draw(self, scene, rng):
        """-> uint8 [64, 64, 3]"""
        canvas = self.background(scene["place"], rng).copy()
        for o in scene["objects"]:
            color, keep = self.sprite(o["noun"], o["color"], o["size"])
            x0, y0 = int(round(o["x"] - o["size"] / 2)), int(round(o["y"] - o["size"] / 2))
            xa, ya, xb, yb = max(x0, 0), max(y0, 0), min(x0 + o["size"], SIDE), min(y0 + o["size"], SIDE)
            part = (slice(ya - y0, yb - y0), slice(xa - x0, xb - x0))
            canvas[ya:yb, xa:xb] = canvas[ya:yb, xa:xb] * keep[part] + color[part]
        return canvas.clip(0, 255).astype(np.uint8)


def background(place, rng):
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    jitter = lambda c, d=7: np.array(c, np.float32) + rng.uniform(-d, d)
    fill = lambda a, b: jitter(a) + (np.array(b, np.float32) - np.array(a, np.float32)) * (y / SIDE)[..., None]
    def blend(image, mask, color, weight=1.0):
        m = np.clip(mask, 0, 1)[..., None] * weight
        return image * (1 - m) + np.array(color, np.float32) * m
    def disc(cx, cy, r, squash=1.0):
        return r + 0.5 - np.hypot(x - cx, (y - cy) * squash)
    if place == PLAIN:
        tint = np.array([[236, 226, 208], [214, 226, 236], [222, 234, 214], [236, 216, 222], [224, 220, 238]][rng.integers(5)], np.float32)
        return jitter(tint, 5) + np.zeros((SIDE, SIDE, 3), np.float32)
    if place == "sky":
        image = fill((104, 178, 244), (176, 220, 252))
        for _ in range(3):
            cx, cy = rng.uniform(4, 60), rng.uniform(4, 60)
            for k in (-6, 0, 6):
                image = blend(image, disc(cx + k, cy, 5 if k else 7, 1.3), (255, 255, 255), 0.9)
        return image
    if place == "space":
        image = fill((28, 16, 66), (54, 26, 96))
        for _ in range(14):
            i, j = rng.integers(1, 62, 2)
            image[i:i + 2, j:j + 2] = 235
        return image
    if place == "sea":
        image = fill((40, 150, 200), (8, 62, 130))
        for _ in range(5):
            image = blend(image, 1.2 - np.abs(np.hypot(x - rng.uniform(4, 60), y - rng.uniform(4, 48)) - 2.5), (190, 232, 250), 0.7)
        ground = y - (56 + 1.5 * np.sin(x / 6 + rng.uniform(0, 6)))
        return blend(image, ground, (206, 186, 120))
    horizon = rng.integers(30, 39)
    wave = lambda a, w: y - (horizon + a * np.sin(x / w + rng.uniform(0, 6)))
    if place == "grass":
        return blend(fill((140, 206, 250), (214, 238, 255)), wave(2.5, 11), jitter((112, 190, 76)))
    if place == "beach":
        image = fill((134, 208, 250), (210, 240, 252))
        image = blend(image, y - (horizon - 8), jitter((36, 140, 214)))
        return blend(image, wave(1.2, 5), jitter((248, 222, 150)))
    if place == "desert":
        image = blend(fill((250, 196, 120), (252, 226, 170)), disc(rng.uniform(8, 56), 9, 6), (255, 246, 200))
        return blend(image, wave(4, 9), jitter((222, 150, 74)))
    if place == "snow":
        image = blend(fill((150, 176, 206), (186, 206, 226)), wave(2.5, 12), jitter((238, 244, 250), 3))
        for _ in range(12):
            i, j = rng.integers(1, 62, 2)
            image[i:i + 2, j:j + 2] = 255
        return image
    if place == "moon":
        image = np.zeros((SIDE, SIDE, 3), np.float32) + jitter((12, 12, 26), 4)
        for _ in range(9):
            i, j = rng.integers(1, 28), rng.integers(1, 62)
            image[i:i + 2, j:j + 2] = 230
        image = blend(image, wave(1.5, 14), jitter((172, 172, 178)))
        for _ in range(5):
            image = blend(image, disc(rng.uniform(0, 64), rng.uniform(horizon + 6, 63), rng.uniform(2.5, 5), 2.0) * (y > horizon + 3), (128, 128, 136))
        return image
    if place == "road":
        image = blend(fill((196, 214, 226), (222, 232, 238)), y - (horizon - 5), jitter((120, 168, 96)))
        image = blend(image, y - horizon, jitter((84, 86, 94)))
        dash = (np.abs(y - (horizon + 14)) <= 1) & (((x + rng.integers(0, 16)) % 16) < 9)
        return blend(image, dash.astype(np.float32), (246, 240, 214))
    if place == "room":
        image = np.zeros((SIDE, SIDE, 3), np.float32) + jitter((240, 200, 176), 6)
        image = blend(image, ((x + rng.integers(0, 12)) % 12 < 4).astype(np.float32), (232, 184, 160), 0.7)
        image = blend(image, y - (46 + rng.integers(-2, 3)), jitter((164, 106, 66)))
        return blend(image, 1.5 - np.abs(y - 46), (250, 240, 228))
    raise KeyError(place)


def choose(rng, items, weights):
    weights = np.asarray(weights, np.float64)
    return items[int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum(), side="right").clip(0, len(items) - 1))]


_NOUN_WEIGHTS = [FREQUENCIES["noun_weights"][n] for n in NOUNS]


def place_objects(count, size, rng):
    """Centres that keep the objects inside the picture and apart from each other."""
    while True:
        for _ in range(40):
            points = rng.uniform(size * 0.5, SIDE - size * 0.5, (count, 2)).round() if size < SIDE else np.full((count, 2), SIDE / 2)
            if all(np.abs(points[i] - points[j]).max() >= size for i in range(count) for j in range(i)):
                return points, size
        size -= 1


def odd_color(noun, rng):
    order = FREQUENCIES["odd_color_order"][noun]
    return choose(rng, order, [(i + 1.0) ** -FREQUENCIES["odd_color_zipf"] for i in range(len(order))])


def sample(rng, kind=None, uniform=False, noisy=False):
    """One scene: `asked` is what its caption may say, `objects` and `place` are what is drawn.

    `uniform` draws colours and places evenly and uses the unseen pairs too (for the scorer and the judge, which must know
    them); `noisy` lets the picture disagree with the caption as often as the frequencies file says.
    """
    f, noise = FREQUENCIES, FREQUENCIES["caption_noise"]
    kind = kind or choose(rng, list(f["kinds"]), list(f["kinds"].values()))
    noun = NOUNS[rng.integers(len(NOUNS))] if uniform else choose(rng, NOUNS, _NOUN_WEIGHTS)
    nouns, count, size_word = [noun], 1, None
    if kind in ("pair", "relation"):
        while True:
            other = NOUNS[rng.integers(len(NOUNS))] if uniform else choose(rng, NOUNS, _NOUN_WEIGHTS)
            if other != noun and (uniform or frozenset((noun, other)) not in UNSEEN_PAIRS):
                break
        nouns.append(other)
    if kind == "count":
        count = int(choose(rng, [2, 3, 4, 5], [1, 1, 1, 1] if uniform else list(f["counts"].values())))
    if kind == "single" and rng.random() < f["size_word"]:
        size_word = ["small", "big"][rng.integers(2)]

    said, drawn = [], []
    say = rng.random() < f["color_word"][kind]
    for n in nouns:
        if uniform:
            c = NATURAL[n] if rng.random() < 0.4 else PAINTS[rng.integers(len(PAINTS))]
            said.append(c if say else None), drawn.append(c if say or rng.random() < 0.6 else NATURAL[n])
        elif not say:
            said.append(None), drawn.append(NATURAL[n])
        else:
            c = NATURAL[n] if rng.random() < f["natural_color"] else odd_color(n, rng)
            wrong = noisy and c != NATURAL[n] and rng.random() < noise["odd_color" if len(nouns) == 1 else "pair_odd_color"]
            said.append(c), drawn.append(NATURAL[n] if wrong else c)
    if noisy and kind in ("pair", "relation") and say and rng.random() < noise["pair_colors_swapped"]:
        swapped = drawn[::-1]
        if all((c, n) not in UNSEEN_COLORS and (c != "gray" or NATURAL[n] == "gray") for c, n in zip(swapped, nouns)):
            drawn = swapped

    said_place = place = None
    if rng.random() < f["place_word"]:
        preferred = f["preferred_places"][noun]
        if uniform:
            place = NAMED_PLACES[rng.integers(len(NAMED_PLACES))]
        elif rng.random() < f["preferred_place"]:
            place = choose(rng, preferred, f["preferred_place_weights"])
        else:
            place = NAMED_PLACES[rng.integers(len(NAMED_PLACES))]
        said_place = place
        if noisy and place not in preferred and rng.random() < noise["odd_place"]:
            place = preferred[0]
    elif uniform:
        place = PLACES[rng.integers(len(PLACES))]
    else:
        place = PLAIN if rng.random() < f["silent_place_plain"] else f["preferred_places"][noun][0]
    if not uniform:
        # An unseen pair of noun and place gives way to the plain background, in the picture and in the caption.
        if any((n, place) in UNSEEN_PLACES or (n, said_place) in UNSEEN_PLACES for n in nouns):
            place, said_place = PLAIN, None

    sizes = f["sizes_px"]
    drawn_count = count
    if noisy and count >= 3 and rng.random() < noise["count_3_to_5"]:
        drawn_count = count + (-1 if rng.random() < 0.75 or count == 5 else 1)
    key = {"single": size_word or "single", "count": f"count{drawn_count}"}.get(kind, "pair")
    size = int(rng.integers(sizes[key][0], sizes[key][1] + 1))
    relation = None
    if kind == "relation":
        relation = RELATIONS[rng.integers(4)]
        shown = OPPOSITE[relation] if noisy and rng.random() < noise["relation_flipped"] else relation
        near = rng.uniform(size * 0.5, SIDE / 2 - size * 0.5 + 1)
        far = rng.uniform(SIDE / 2 + size * 0.5 - 1, SIDE - size * 0.5)
        a = rng.uniform(size * 0.5, SIDE - size * 0.5)
        b = np.clip(a + rng.uniform(-6, 6), size * 0.5, SIDE - size * 0.5)
        first, second = ((near, a), (far, b)) if shown in ("left", "right") else ((a, near), (b, far))
        points = [first, second] if shown in ("left", "above") else [second, first]
        points = np.round(np.array(points))
    elif kind == "count":
        points, size = place_objects(drawn_count, size, rng)
    else:
        points, size = place_objects(len(nouns), size, rng)
    if kind == "count":
        objects = [dict(noun=noun, color=drawn[0], x=float(p[0]), y=float(p[1]), size=size) for p in points]
    else:
        objects = [dict(noun=n, color=c, x=float(p[0]), y=float(p[1]), size=size) for n, c, p in zip(nouns, drawn, points)]
        if noisy and kind == "pair" and rng.random() < noise["pair_one_missing"]:
            objects.pop(rng.integers(2))
    asked = dict(kind=kind, nouns=nouns, colors=said, count=count, place=said_place, relation=relation, size=size_word)
    return dict(asked=asked, objects=objects, place=place)


_VERBS = {"ground": ["standing", "sitting", "running", "walking", "playing"], "sky": ["flying"], "sea": ["swimming"], "space": ["floating"]}


def article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def caption(asked, rng=None, plain=False):
    """A sentence of the grammar for what is asked; without a generator or with `plain`, the canonical one."""
    f = FREQUENCIES
    vary = (lambda p: False) if plain or rng is None else (lambda p: rng.random() < p)
    pick = lambda options: options[rng.integers(len(options))]
    def noun_phrase(i, count=1):
        noun, color = asked["nouns"][i], asked["colors"][i]
        entry = GRAMMAR["nouns"][noun]
        forms = (entry["singular"], entry["plural"])
        if entry["synonyms"] and vary(f["synonym"]):
            forms = pick(entry["synonyms"])
        words = [asked["size"]] if asked["size"] and i == 0 else []
        if words and vary(f["alternative_phrase"]):
            words = [pick(GRAMMAR["sizes"][asked["size"]])]
        if color:
            words.append(pick(GRAMMAR["colors"][color]["words"]) if vary(f["alternative_phrase"]) else color)
        phrase = " ".join(words + [forms[count > 1]])
        if count == 1:
            return "one " + phrase if vary(0.04) else article(phrase)
        word = {2: "two", 3: "three", 4: "four", 5: "five"}[count]
        return (str(count) if vary(0.1) else word) + " " + phrase
    text = noun_phrase(0, asked["count"])
    if len(asked["nouns"]) == 2:
        if asked["relation"]:
            joint = pick(GRAMMAR["relations"][asked["relation"]]) if vary(f["alternative_phrase"]) else GRAMMAR["relations"][asked["relation"]][0]
        else:
            joint = pick(GRAMMAR["conjunctions"]) if vary(f["alternative_phrase"]) else "and"
        text += f" {joint} {noun_phrase(1)}"
    place = asked["place"]
    if place:
        phrases = GRAMMAR["places"][place]
        phrase = pick(phrases) if vary(f["alternative_phrase"]) else phrases[0]
        if vary(f["place_first"]):
            return f"{phrase}, {text}"
        if not asked["relation"] and vary(f["verb"]):
            be = "are" if asked["count"] > 1 or len(asked["nouns"]) > 1 else "is"
            text += f" {be} {pick(_VERBS.get(place, _VERBS['ground']))}"
        text += " " + phrase
    if vary(f["prefix"]):
        text = pick(["a photo of", "a picture of", "an image of", "a drawing of"]) + " " + text
    return text
