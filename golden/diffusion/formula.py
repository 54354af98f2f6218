"""Weights by formula: a function of the tensor's name and the element's number, so that files need not hold them.

The tests compute the same numbers (`crates/diffusion/tests/common/formula.rs`).
"""

import zlib

import numpy
import torch


def hashes(name, count):
    """One well mixed 32-bit number for each element (the constants of `lowbias32`, Wellons 2018)."""
    with numpy.errstate(over="ignore"):
        h = numpy.uint32(zlib.crc32(name.encode())) + numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(0x9E3779B9)
        h ^= h >> numpy.uint32(16)
        h *= numpy.uint32(0x7FEB352D)
        h ^= h >> numpy.uint32(15)
        h *= numpy.uint32(0x846CA68B)
        h ^= h >> numpy.uint32(16)
    return h


def tensor(name, shape):
    """Evenly distributed numbers: of unit variance for each output of a matrix, small around 1 in the weights of norms."""
    shape = tuple(shape)
    count = int(numpy.prod(shape, dtype=numpy.int64))
    inputs = int(numpy.prod(shape[1:], dtype=numpy.int64))
    scale = 0.17 if len(shape) <= 1 else (0.8 if "embedding" in name and "time_emb" not in name else (3.0 / inputs) ** 0.5)
    is_norm = any(word in name for word in ("norm", "ln_", "in_layers.0.", "out_layers.0.", "out.0."))
    offset = 1.0 if len(shape) == 1 and is_norm and name.endswith("weight") else 0.0
    values = (hashes(name, count).astype(numpy.float64) / 2**31 - 1.0) * scale + offset
    return torch.from_numpy(values.astype(numpy.float32).reshape(shape))


def fill(module):
    """Sets every parameter of a module by its name."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(tensor(name, parameter.shape))
    return module.eval()


def shapes(module):
    return {name: list(parameter.shape) for name, parameter in module.named_parameters()}
