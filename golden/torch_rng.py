"""Reference numbers of torch.randn with a CPU generator.

Run with PyTorch on a processor with AVX2 or AVX-512 (the released wheels use the same code there):
    python golden/torch_rng.py > crates/core/tests/golden/torch_rng.json
Values are the bit patterns of f32. `fold` is the hash h = 31 h + bits (mod 2^32) over all values; `tail` keeps
the last twenty, where an incomplete block is drawn again.
"""

import json

import torch

CASES = [(0, 1), (42, 4), (7, 15), (42, 16), (7, 17), (123, 31), (2**32 + 5, 40), (2**40 - 1, 48),
         (42, 1024), (1, 1000), (2024, 16384), (99, 30003)]


def bits(values):
    return [int(word) & 0xFFFFFFFF for word in values.view(torch.int32)]


# Several tensors from one generator: an odd number of values below 16 leaves one of a pair behind.
SEQUENCES = [(42, [3, 5, 2]), (7, [15, 16, 1, 40, 3]), (2024, [1024, 1024, 1024])]


def case(seed, count, generator=None):
    words = bits(torch.randn(count, generator=generator or torch.Generator().manual_seed(seed)))
    fold = 0
    for word in words:
        fold = (31 * fold + word) & 0xFFFFFFFF
    return {"seed": seed, "count": count, "fold": fold, "tail": words[-20:]}


def sequence(seed, counts):
    generator = torch.Generator().manual_seed(seed)
    return {"seed": seed, "draws": [case(seed, count, generator) for count in counts]}


entries = [case(*one) for one in CASES] + [sequence(*one) for one in SEQUENCES]
print("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]")
