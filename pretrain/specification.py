"""Parses a prompt of the grammar into what it asks for: nouns with counts and colours, a place, a relation, a size.

The words come from `grammar.json` alone, so that any other implementation can follow the same steps:

1. Lower case; every character that is not a letter or a digit becomes a space; words are split at spaces.
2. From left to right, at each word, the longest phrase of the grammar that starts there is taken, tried in this order at equal
   length: place, relation, number, colour, size, noun; a word that starts no phrase is skipped.
3. A number, colour or size waits for the next noun and belongs to it; without a number, a noun counts one.
   A noun in a place phrase ("in the sky") is part of the phrase, because the phrase is longer.
4. The first place and the first relation count; a relation needs a noun before it and a noun after it, otherwise it is dropped.
"""

import re


def phrases(grammar):
    """-> {tuple of words: (class, value)}; an earlier class wins a tie."""
    table = {}
    add = lambda text, kind, value: table.setdefault(tuple(re.findall(r"[a-z0-9]+", text)), (kind, value))
    for place, texts in grammar["places"].items():
        for text in texts:
            add(text, "place", place)
    for relation, texts in grammar["relations"].items():
        for text in texts:
            add(text, "relation", relation)
    for number, texts in grammar["numbers"].items():
        for text in texts:
            add(text, "number", int(number))
    for color, entry in grammar["colors"].items():
        for text in entry["words"]:
            add(text, "color", color)
    for size, texts in grammar["sizes"].items():
        for text in texts:
            add(text, "size", size)
    for noun, entry in grammar["nouns"].items():
        for text in [entry["singular"], entry["plural"], *(form for pair in entry["synonyms"] for form in pair)]:
            add(text, "noun", noun)
    return table


def parse(prompt, grammar):
    table = phrases(grammar)
    longest = max(len(p) for p in table)
    words = re.findall(r"[a-z0-9]+", prompt.lower())
    nouns, place, relation, relation_at = [], None, None, None
    number = color = size = None
    i = 0
    while i < len(words):
        for length in range(min(longest, len(words) - i), 0, -1):
            hit = table.get(tuple(words[i:i + length]))
            if hit:
                break
        else:
            i += 1
            continue
        kind, value = hit
        if kind == "place":
            place = place or value
        elif kind == "relation" and relation is None and nouns:
            relation, relation_at = value, len(nouns)
        elif kind == "number":
            number = value
        elif kind == "color":
            color = value
        elif kind == "size":
            size = value
        elif kind == "noun":
            nouns.append(dict(noun=value, count=number or 1, color=color, size=size))
            number = color = size = None
        i += length
    if relation is not None:
        if relation_at < len(nouns):
            # The relation holds between the noun just before it and the noun just after it: those come first.
            nouns = nouns[relation_at - 1:relation_at + 1] + nouns[:relation_at - 1] + nouns[relation_at + 1:]
        else:
            relation = None
    return dict(nouns=nouns, place=place, relation=relation)
