"""Makes the tokenizer: a byte-pair encoding in CLIP's file format in which every word of the world is one token."""

import json
import re

import numpy as np

from . import world
from .common import MODEL

FOLDER = MODEL / "tokenizer"
LENGTH = 24
START, END = "<|startoftext|>", "<|endoftext|>"


def load():
    from transformers import CLIPTokenizer
    return CLIPTokenizer.from_pretrained(FOLDER)


def byte_characters():
    """CLIP's printable stand-ins for the 256 bytes, in CLIP's order."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(len(rest))]


def words():
    """Every word that a caption can hold, the most frequent first."""
    rng = np.random.default_rng(3)
    counts = {}
    for i in range(40_000):
        scene = world.sample(rng, uniform=i % 2 == 0)
        for word in re.findall(r"[a-z]+|[0-9]", world.caption(scene["asked"], rng)):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda w: (-counts[w], w))


def merges_for(vocabulary_words):
    """Joins each word from its left end; equal prefixes share their merges."""
    merges = []
    seen = set()
    for word in vocabulary_words:
        pieces = list(word[:-1]) + [word[-1] + "</w>"]
        # What the merges so far already join, in their order, is applied first, as the tokenizer itself will do.
        for pair in merges:
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == pair:
                    pieces[i:i + 2] = [pair[0] + pair[1]]
                i += 1
        while len(pieces) > 1:
            pair = (pieces[0], pieces[1])
            if pair not in seen:
                seen.add(pair)
                merges.append(pair)
            pieces[0:2] = [pair[0] + pair[1]]
    return merges


def main():
    if (FOLDER / "vocab.json").exists():
        print("tokenizer exists; it never changes once a model was trained on it")
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = words()
    # Long words first: their merges must not be broken by those of the short ones inside them.
    merges = merges_for(sorted(known, key=lambda w: (-len(w), w)))
    characters = byte_characters()
    vocabulary = {}
    for token in [*characters, *(c + "</w>" for c in characters), *(a + b for a, b in merges), START, END]:
        vocabulary.setdefault(token, len(vocabulary))
    write_files(FOLDER, vocabulary, merges)
    (FOLDER / "known_words.json").write_text(json.dumps(sorted(known), indent=0) + "\n")

    made = load()
    broken = [w for w in known if len(made(w)["input_ids"]) != 3]
    print(len(vocabulary), "tokens,", len(known), "words; not one token:", broken)


def write_files(folder, vocabulary, merges):
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    special = lambda text: dict(content=text, lstrip=False, normalized=True, rstrip=False, single_word=False)
    (folder / "special_tokens_map.json").write_text(json.dumps(
        dict(bos_token=special(START), eos_token=special(END), unk_token=special(END), pad_token=END), indent=2))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(
        tokenizer_class="CLIPTokenizer", model_max_length=LENGTH, do_lower_case=True, add_prefix_space=False, errors="replace",
        bos_token=special(START), eos_token=special(END), unk_token=special(END), pad_token=END), indent=2))
    start, end = vocabulary[START], vocabulary[END]
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    added = lambda i, text: dict(id=i, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    tokenizer = dict(
        version="1.0", truncation=None, padding=None, added_tokens=[added(start, START), added(end, END)],
        normalizer=dict(type="Sequence", normalizers=[
            dict(type="NFC"), dict(type="Replace", pattern=dict(Regex=r"\s+"), content=" "), dict(type="Lowercase")]),
        pre_tokenizer=dict(type="Sequence", pretokenizers=[
            dict(type="Split", pattern=dict(Regex=pattern), behavior="Removed", invert=True),
            dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)]),
        post_processor=dict(type="RobertaProcessing", sep=[END, end], cls=[START, start], trim_offsets=False, add_prefix_space=False),
        decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
        model=dict(type="BPE", dropout=None, unk_token=END, continuing_subword_prefix="", end_of_word_suffix="</w>",
                   fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=vocabulary, merges=[f"{a} {b}" for a, b in merges]))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))


if __name__ == "__main__":
    main()
