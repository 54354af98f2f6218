"""Ids that transformers gives to hundreds of odd texts, with CLIP's and BERT's public vocabularies: `tokens.json`, rows of
text, ids of CLIP (77 at most) and ids of BERT (35 at most, as in ImageReward).

Usage: python golden/rewards/tokens.py   (needs transformers 5; reads `vocabularies/` of `crates/nn` and `crates/rewards`)
"""

import json
import pathlib
import tempfile

from transformers import BertTokenizer, CLIPTokenizer

import texts

HERE = pathlib.Path(__file__).parent
CRATES = HERE.parents[1] / "crates"
VOCABULARIES = CRATES / "rewards" / "vocabularies"


def clip_vocabulary(merges):
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + at) for at in range(256 - len(printable))]
    tokens = letters + [letter + "</w>" for letter in letters] + ["".join(merge.split()) for merge in merges]
    return {token: at for at, token in enumerate(tokens + ["<|startoftext|>", "<|endoftext|>"])}


def main():
    merges = (CRATES / "nn" / "vocabularies" / "clip-merges.txt").read_text().splitlines()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps(clip_vocabulary(merges)))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        clip = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    bert = BertTokenizer(str(VOCABULARIES / "bert-base-uncased.txt"))
    assert clip("a green dog")["input_ids"] == [49406, 320, 1901, 1929, 49407]
    assert bert("a green rabbit")["input_ids"] == [101, 1037, 2665, 10442, 102]
    rows = []
    for text in texts.odd_texts():
        of_clip = clip(text, truncation=True, max_length=77)["input_ids"]
        rows.append([text, of_clip, bert(text, truncation=True, max_length=35)["input_ids"]])
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    (HERE / "tokens.json").write_text(f"[\n{lines}\n]\n")
    print(len(rows), "texts")


main()
