"""Compares the judge with labels made by eye on pictures that the diffusion model drew.

`draw` writes numbered contact sheets and nothing of the judge's. A person then writes `labels.json`: for every prompt a string with one
letter a picture, y where the picture shows exactly what the prompt asks, n where it does not, ? where nobody could say. `compare` reads
both.
"""

import argparse
import json

import numpy as np
import torch
from PIL import Image

from .common import HERE, MODEL
from .draw import Artist, noises, sheet
from .judge import Reader

FOLDER, COLUMNS, ROWS = HERE / "judge-check", 8, 9
PROMPTS = [
    "a dog", "a green dog", "a dog on the moon", "two elephants", "a frog in the desert", "a red book and a yellow vase", "four pandas", "a blue apple", "a dog and a cat",
    "a cat to the left of a car", "three apples", "a pink car on the road", "two rabbits in the snow", "a robot on the beach", "a yellow heart", "a star above a house",
    "a guitar", "a white umbrella", "five balls", "a black cat and a yellow bell", "a lion on the road", "a crab below a boat", "three mushrooms", "a purple fish", "a rocket on the grass",
    "two owls", "an orange hat",
]


def pixels(sheet_path, index):
    """Picture `index` of a sheet made by `draw`, 0..1."""
    canvas = Image.open(sheet_path)
    side, row, column = 130, index // COLUMNS, index % COLUMNS
    x0, y0 = canvas.width - COLUMNS * side + column * side, row * side
    part = np.asarray(canvas.crop((x0, y0, x0 + 128, y0 + 128)))[::2, ::2]
    return torch.from_numpy(part.astype(np.float32) / 255).permute(2, 0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["draw", "compare"])
    parser.add_argument("--salt", type=int, default=900)
    a = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    sheets = range((len(PROMPTS) + ROWS - 1) // ROWS)
    if a.action == "draw":
        guidance = json.loads((MODEL / "noisefind.json").read_text())["guidance_scale"]
        artist = Artist()
        for k in sheets:
            rows = PROMPTS[k * ROWS:(k + 1) * ROWS]
            drawn = artist.draw([p for p in rows for _ in range(COLUMNS)], noises(range(COLUMNS * len(rows)), a.salt + k), guidance)
            sheet(rows, drawn, COLUMNS, FOLDER / f"sheet-{k}.png", scale=2)
        return
    labels, reader, rows, agreed, total = json.loads((FOLDER / "labels.json").read_text())["labels"], Reader(), [], 0, 0
    for k in sheets:
        for r, prompt in enumerate(PROMPTS[k * ROWS:(k + 1) * ROWS]):
            said = "".join("y" if reader.verdict(pixels(FOLDER / f"sheet-{k}.png", r * COLUMNS + j), prompt)["success"] else "n" for j in range(COLUMNS))
            seen = labels[prompt]
            same = [s == e for s, e in zip(said, seen) if e != "?"]
            agreed, total = agreed + sum(same), total + len(same)
            rows.append(dict(prompt=prompt, eye=seen, judge=said, agreed=sum(same), of=len(same)))
    result = dict(agreement=agreed / total, labelled=total, agreed=agreed, rows=rows)
    (FOLDER / "comparison.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "rows"}))
    for row in rows:
        if row["agreed"] < row["of"]:
            print(row["prompt"], row["eye"], row["judge"])


if __name__ == "__main__":
    main()
