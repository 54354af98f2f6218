"""Draws the model card's contact sheet: 40 prompts over the categories, eight seeds each, nothing picked by hand."""

import json

from .common import MODEL
from .draw import Artist, noises, sheet
from .evaluate import EASY, HARD, UNSEEN, prompts

PAPER = ["a green dog is running on the grass", "a dog and a cat", "four pandas", "a dog on the moon", "a red book and a yellow vase"]
COLUMNS = 8


def chosen():
    groups = prompts()
    rows = list(PAPER)
    # Each group starts elsewhere in its list, so that the sheet shows many nouns and not the same few nine times.
    for i, (group, count) in enumerate(zip(EASY + HARD + UNSEEN, (8, 6, 4, 4, 3, 3, 3, 2, 2))):
        turned = groups[group][(5 * i) % 16:] + groups[group][:(5 * i) % 16]
        rows += [p for p in turned if p not in rows][:count]
    return rows[:40]


def main():
    rows = chosen()
    guidance = json.loads((MODEL / "noisefind.json").read_text())["guidance_scale"]
    pictures = Artist().draw([p for p in rows for _ in range(COLUMNS)], noises(range(COLUMNS)).repeat(len(rows), 1, 1, 1), guidance)
    sheet(rows, pictures, COLUMNS, MODEL / "samples.png", width=230)


if __name__ == "__main__":
    main()
