"""Writes `golden-judge/`: pictures with what the judge reads in them, and parsed prompts, for tests of other implementations."""

import json

import numpy as np
import torch
from PIL import Image

from . import world
from .common import HERE
from .judge import Reader
from .specification import parse

FOLDER = HERE / "golden-judge"
PROMPTS = [
    "A green dog is running on the grass", "A dog and a cat", "Four pandas", "A dog on the moon", "A red book and a yellow vase.",
    "A monkey is playing guitar.", "A panda is walking on the grass, from left to right.", "in the snow, 3 grey elephants",
    "a bus under water", "an apple below a tiny star", "a cat to the left of a car", "two puppies", "an automobile over a bunny on the road",
    "a purple violet", "", "zwei Hunde", "a photo of 5 black cats in outer space", "a Fish, a FISH and two fish", "one small red rocket next to a big blue whale",
    "a dog left of", "left of a dog", "a crab on the left of a blue bell at the beach", "white penguins in the snow in the sky",
]


def pictures(reader):
    """Four scenes of the world and four drawn by the model, the second four only when the model exists."""
    rng, painter = np.random.default_rng(2024), world.Painter()
    made = [(painter.draw(s, rng), world.caption(s["asked"])) for s in (world.sample(rng, kind=k, uniform=True) for k in ("single", "pair", "count", "relation"))]
    from .draw import Artist, noises
    asked = ["a dog", "a green dog", "two elephants on the grass", "a cat to the left of a car"]
    drawn = Artist().draw(asked, noises(range(4)), 4.0)
    return made + [((x.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), p) for x, p in zip(drawn, asked)]


def main():
    FOLDER.mkdir(exist_ok=True)
    reader = Reader()
    rng = np.random.default_rng(11)
    prompts = PROMPTS + [world.caption(world.sample(rng, uniform=True)["asked"], rng) for _ in range(40 - len(PROMPTS))]
    (FOLDER / "prompts.json").write_text(json.dumps([dict(prompt=p, **parse(p, reader.grammar)) for p in prompts], indent=1) + "\n")
    rows = []
    for i, (picture, prompt) in enumerate(pictures(reader)):
        name = f"picture-{i}.png"
        Image.fromarray(picture).save(FOLDER / name)
        x = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)
        heat, color, place = reader.maps(x[None])
        rows.append(dict(
            picture=name, prompt=prompt, read=reader.read(x[None])[0], verdict=reader.verdict(x, prompt),
            false_prompt="three frogs in a room", false_verdict=reader.verdict(x, "three frogs in a room"),
            place_logits=place[0].tolist(), heat_sum=heat.double().sum().item(), color_logits_sum=color.double().sum().item()))
    (FOLDER / "pictures.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
