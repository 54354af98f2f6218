"""Rewards the right number of things, counted by a detector: the scorers that match text and images rarely count past two.

Usage: noisefind tune "three dogs" --reward "exec:python3 count_scorer.py [DETECTOR] [NOUN COUNT]"

DETECTOR is a model of transformers' zero-shot-object-detection (a hub id or a folder; OWLv2 unless given), or a Python
file with a function `detect(path, noun)` that returns the confidence, 0 to 1, of each thing that it finds in an image. NOUN
and COUNT are read from the prompt where it begins with a number ("three red dogs" asks for 3 of "red dogs").

The reward is 1 where the detector is sure of exactly COUNT things, and falls with the number that is missing or too
many: 1 - |expected count - COUNT| / COUNT, at least 0. The expected count is the sum of the confidences, so that a fourth dog
that is half there costs half.
"""

import importlib.util
import json
import re
import sys

DEFAULT_DETECTOR = "google/owlv2-base-patch16-ensemble"
NUMBERS = {word: at for at, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
NUMBERS |= {"a": 1, "an": 1}
# Boxes that overlap more than this are one thing.
OVERLAP = 0.5
# Confidences of a zero-shot detector are low; this one counts as sure, and in proportion below it.
SURE = 0.3
LEAST = 0.08


def asked_for(prompt):
    """-> (noun phrase, count) of a prompt that begins with a number; ends the program otherwise."""
    words = prompt.lower().split()
    first = words[0] if words else ""
    count = NUMBERS.get(first) or (int(first) if re.fullmatch(r"[1-9][0-9]?", first) else None)
    if count is None or len(words) < 2:
        sys.exit(f'the prompt "{prompt}" does not begin with a number; give NOUN and COUNT after the detector')
    return " ".join(words[1:]), count


def own_detector(path):
    specification = importlib.util.spec_from_file_location("detector", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    if not callable(getattr(module, "detect", None)):
        sys.exit(f"{path} has no function detect(path, noun)")
    return module.detect


def zero_shot_detector(model):
    from PIL import Image
    from transformers import pipeline

    finder = pipeline("zero-shot-object-detection", model=model)

    def detect(path, noun):
        found = finder(Image.open(path).convert("RGB"), candidate_labels=[noun], threshold=LEAST)
        kept = []
        for one in sorted(found, key=lambda one: -one["score"]):
            if all(overlap(one["box"], other["box"]) < OVERLAP for other in kept):
                kept.append(one)
        return [min(one["score"] / SURE, 1.0) for one in kept]

    return detect


def overlap(one, two):
    """Intersection over union of two boxes."""
    width = min(one["xmax"], two["xmax"]) - max(one["xmin"], two["xmin"])
    height = min(one["ymax"], two["ymax"]) - max(one["ymin"], two["ymin"])
    shared = max(width, 0) * max(height, 0)
    area = lambda box: (box["xmax"] - box["xmin"]) * (box["ymax"] - box["ymin"])
    return shared / max(area(one) + area(two) - shared, 1e-9)


def reward(confidences, count):
    return max(0.0, 1 - abs(sum(confidences) - count) / count)


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    arguments = sys.argv[1:]
    if len(arguments) not in (0, 1, 3):
        sys.exit("usage: count_scorer.py [DETECTOR] [NOUN COUNT]")
    name = arguments[0] if arguments else DEFAULT_DETECTOR
    detect = own_detector(name) if name.endswith(".py") else zero_shot_detector(name)
    fixed = (arguments[1], int(arguments[2])) if len(arguments) == 3 else None
    next(sys.stdin)
    print(json.dumps({"ready": True, "name": "count"}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        noun, count = fixed or asked_for(request["prompt"])
        rewards = []
        for media in request["media"]:
            frames = [media] if isinstance(media, str) else media
            rewards.append(sum(reward(detect(path, noun), count) for path in frames) / len(frames))
        print(json.dumps({"id": request["id"], "rewards": rewards}), file=answers, flush=True)


if __name__ == "__main__":
    main()
