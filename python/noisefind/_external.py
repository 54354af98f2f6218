"""The generator's side of the protocol of `--model "exec:COMMAND"`: lines of JSON over standard input and output.

`examples/external/README.md` of the repository has the protocol. Whatever the generator prints goes to standard
error, because nothing but answers may stand in standard output.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence, TextIO

import numpy as np

Key = tuple[int, int, int]
Clip = Sequence[bytes]
"""The frames of one image or clip as PNG files."""


@dataclass(frozen=True)
class Request:
    """Noises to generate from.

    Attributes:
        prompt: What should be shown.
        noise: float32 `[n, C, (F,) h, w]`, standard deviation 1.
        keys: (seed, iteration, index) of each noise.
        options: Settings of generation by the names of noisefind's flags; None is a setting that was not given.
        folder: Where the noise lies and images may be written.
    """

    prompt: str
    noise: np.ndarray
    keys: Sequence[Key]
    options: Mapping[str, Any]
    folder: Path


def serve(start: Callable[[], tuple[Sequence[int], Callable[[Request], Iterable[Clip]], bool]]) -> None:
    """Answers requests until standard input ends.

    `start` opens the model after the greeting has come, and returns the shape of one noise, the function that generates, and
    whether it generates clips. A failure of `start` is told as the reason why there is no generator; one of a request ends
    the run with its reason.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    requests = iter(sys.stdin)
    if next(requests, None) is None:
        return
    try:
        shape, generate, clips = start()
    except Exception as error:
        _answer(answers, {"ready": False, "error": _reason(error)})
        raise
    _answer(answers, {"ready": True, "noise_shape": list(shape)})
    for line in requests:
        message = json.loads(line)
        try:
            media = _media(message, generate, clips)
        except Exception as error:
            _answer(answers, {"id": message["id"], "error": _reason(error)})
            raise
        _answer(answers, {"id": message["id"], "media": media})


def arguments(texts: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` arguments of a command line; values are JSON or plain text."""
    named = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise SystemExit(f"found the argument {text!r}, expected NAME=VALUE, such as height=768")
        try:
            named[name] = json.loads(value)
        except ValueError:
            named[name] = value
    return named


def read_noise(path: str | os.PathLike[str]) -> np.ndarray:
    """The float32 tensor `noise` of a safetensors file; needs no library of that name."""
    data = Path(path).read_bytes()
    try:
        header_length = int.from_bytes(data[:8], "little")
        entry = json.loads(data[8 : 8 + header_length])["noise"]
        begin, end = (8 + header_length + offset for offset in entry["data_offsets"])
        dtype, shape = entry["dtype"], entry["shape"]
        if dtype == "F32":
            return np.frombuffer(data[begin:end], np.dtype("<f4")).reshape(shape)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no safetensors file with the tensor noise ({error})") from None
    raise ValueError(f"{path}: tensor noise is {dtype}, expected F32")


def _media(message: Mapping[str, Any], generate: Callable[[Request], Iterable[Clip]], clips: bool) -> list[Any]:
    file = Path(message["noise"])
    keys = [(seed, iteration, index) for seed, iteration, index in message["keys"]]
    request = Request(message["prompt"], read_noise(file), keys, message["options"], file.parent)
    media: list[Any] = []
    for at, frames in enumerate(generate(request)):
        paths = []
        for frame, png in enumerate(frames):
            path = file.parent / f"{at}-{frame}.png"
            path.write_bytes(png)
            paths.append(str(path))
        media.append(paths if clips else paths[0])
    return media


def _answer(answers: TextIO, message: Mapping[str, Any]) -> None:
    print(json.dumps(message), file=answers, flush=True)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
