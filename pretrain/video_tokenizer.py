"""The video model's tokenizer: that of the still model, with one token more for every new word of the motions.

Old tokens keep their numbers, but for the two specials, which stay last: the scorer finds the end of a text by its number.
"""

import json
import re

import torch

from . import tokenizer as still
from .clips import MOTION_FILE
from .common import WORK

FOLDER = WORK / "video-model" / "tokenizer"
LENGTH = still.LENGTH


def motion_words():
    phrases = [p for options in MOTION_FILE["motions"].values() for p in options] + MOTION_FILE["sideways_verbs"]
    return sorted({w for p in phrases for w in re.findall("[a-z]+", p)})


def load():
    from transformers import CLIPTokenizer
    if not (FOLDER / "vocab.json").exists():
        make()
    return CLIPTokenizer.from_pretrained(FOLDER)


def old_vocabulary():
    return json.loads((still.FOLDER / "vocab.json").read_text())


def make():
    FOLDER.mkdir(parents=True, exist_ok=True)
    vocabulary = {t: i for t, i in old_vocabulary().items() if t not in (still.START, still.END)}
    merges = [tuple(line.split(" ")) for line in (still.FOLDER / "merges.txt").read_text().splitlines()[1:]]
    known = json.loads((still.FOLDER / "known_words.json").read_text())
    new = [w for w in motion_words() if w not in known]
    for word in sorted(new, key=lambda w: (-len(w), w)):
        pieces = list(word[:-1]) + [word[-1] + "</w>"]
        for pair in merges:
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == pair:
                    pieces[i:i + 2] = [pair[0] + pair[1]]
                i += 1
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[0:2] = [pieces[0] + pieces[1]]
    for pair in merges:
        vocabulary.setdefault("".join(pair), len(vocabulary))
    for special in (still.START, still.END):
        vocabulary[special] = len(vocabulary)
    still.write_files(FOLDER, vocabulary, merges)
    (FOLDER / "known_words.json").write_text(json.dumps(sorted([*known, *new]), indent=0) + "\n")
    made = load()
    broken = [w for w in [*known, *new] if len(made(w)["input_ids"]) != 3]
    if broken:
        raise SystemExit(f"words that are not one token: {broken}")


def extended_embedding(weight):
    """The still model's token embeddings [n, width] in the order of the new vocabulary; new tokens start near the mean of the old words."""
    old, new = old_vocabulary(), json.loads((FOLDER / "vocab.json").read_text())
    generator = torch.Generator().manual_seed(7)
    known = weight[[i for t, i in old.items() if t.endswith("</w>") and len(t) > 5]]
    made = known.mean(0) + known.std(0) * torch.randn(len(new), weight.shape[1], generator=generator)
    for token, i in new.items():
        if token in old:
            made[i] = weight[old[token]]
    return made
