"""Writes `golden-judge/clips/`: clips with what the judge of clips finds in them, and the motions of prompts, for tests of other
implementations. Rendered clips of every motion; with a trained video model beside them, some that it generates."""

import json

import numpy as np
import torch
from PIL import Image

from . import clips, video, world
from .golden import FOLDER as STILL
from .video_judge import ClipReader, asked_motion, displacement, export

FOLDER = STILL / "clips"
PROMPTS = [
    "a red car moving from right to left", "A green dog RISING, and falling down", "a dog", "an apple falling", "a cat is not moving",
    "a fish to the left of a donut", "a whale flying upwards", "two birds going up and a ball moving upwards", "a bus driving to the right",
    "a cat on the left of a car moving to the left", "a panda standing-still in the snow", "motionless", "a rocket moving down in space",
]
GENERATED = ["a car moving from left to right on the road", "a car moving from right to left on the road", "a tree standing still on the grass",
             "an apple moving up", "a green dog and a cat moving down"]


def rendered():
    rng, painter = np.random.default_rng(2025), world.Painter()
    kinds = [("single", m) for m in clips.MOTIONS] + [("pair", "left"), ("pair", "down")]
    for kind, motion in kinds:
        truth = clips.sample(rng, uniform=True, kind=kind, motion=motion)
        yield clips.draw(painter, truth, rng), clips.caption(dict(truth["asked"], motion=motion), plain=True)


def generated():
    from .draw_clips import ClipArtist
    artist = ClipArtist(steps=8)
    for seed, prompt in enumerate(GENERATED):
        yield (artist.draw(prompt, seed, 3.0).permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8), prompt


def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    export()
    rng, reader = np.random.default_rng(12), ClipReader()
    prompts = PROMPTS + [clips.caption(clips.sample(rng, uniform=True)["asked"], rng) for _ in range(60 - len(PROMPTS))]
    (FOLDER / "prompts.json").write_text(json.dumps([dict(prompt=p, motion=asked_motion(p)) for p in prompts], indent=1) + "\n")
    rows = []
    for i, (frames, prompt) in enumerate([*rendered(), *(generated() if video.PATH.exists() else [])]):
        name = f"clip-{i}.png"
        Image.fromarray(frames.reshape(-1, *frames.shape[2:])).save(FOLDER / name)
        x = torch.from_numpy(frames.astype(np.float32) / 255).permute(0, 3, 1, 2)
        readings = reader.reader.read(x)
        nouns = sorted({o["noun"] for found in readings for o in found["objects"]})
        phrases = {m: options[0] for m, options in clips.MOTION_FILE["motions"].items()}
        own = asked_motion(prompt)
        other = prompt.replace(phrases[own], phrases[clips.OPPOSITE.get(own, "up")])
        rows.append(dict(clip=name, prompt=prompt, verdict=reader.verdict(x, prompt), other_prompt=other, other_verdict=reader.verdict(x, other),
                         objects=[[[o["noun"], o["color"], o["x"], o["y"]] for o in found["objects"]] for found in readings],
                         displacements={noun: displacement(readings, noun) for noun in nouns}))
        print(name, prompt, rows[-1]["verdict"], rows[-1]["other_verdict"]["success"], flush=True)
    (FOLDER / "clips.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
