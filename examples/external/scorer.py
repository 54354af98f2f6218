"""A scorer without dependencies: how much of an image is green, which is what "a green dog" mostly lacks.

Usage: noisefind score FILE --prompt P --reward "exec:python3 scorer.py"
Replace `reward` by your own function of a prompt and a list of frames, each a list of (red, green, blue).
"""

import json
import struct
import sys
import zlib


def read_png(path):
    """The pixels of an 8-bit RGB PNG, the only kind that is sent."""
    with open(path, "rb") as file:
        file.seek(8)
        data = b""
        while True:
            length, kind = struct.unpack(">I4s", file.read(8))
            chunk = file.read(length)
            file.seek(4, 1)
            if kind == b"IHDR":
                width, height = struct.unpack(">II", chunk[:8])
            elif kind == b"IDAT":
                data += chunk
            elif kind == b"IEND":
                break
    data = zlib.decompress(data)
    stride = width * 3
    above, rows = bytearray(stride), []
    for start in range(0, len(data), stride + 1):
        row = bytearray(data[start + 1 : start + 1 + stride])
        undo_filter(data[start], row, above)
        rows.append(row)
        above = row
    return [tuple(row[at : at + 3]) for row in rows for at in range(0, stride, 3)]


def undo_filter(kind, row, above):
    for at in range(len(row)):
        left = row[at - 3] if at >= 3 else 0
        up = above[at]
        corner = above[at - 3] if at >= 3 else 0
        if kind == 4:
            guess = left + up - corner
            predicted = min((left, up, corner), key=lambda side: abs(guess - side))
        else:
            predicted = (0, left, up, (left + up) // 2)[kind]
        row[at] = (row[at] + predicted) & 255


def reward(prompt, frames):
    pixels = [pixel for frame in frames for pixel in frame]
    return sum(green - max(red, blue) for red, green, blue in pixels) / (255 * len(pixels))


def main():
    answers, sys.stdout = sys.stdout, sys.stderr
    next(sys.stdin)
    print(json.dumps({"ready": True, "name": "greenness"}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        rewards = []
        for media in request["media"]:
            frames = [media] if isinstance(media, str) else media
            rewards.append(reward(request["prompt"], [read_png(path) for path in frames]))
        print(json.dumps({"id": request["id"], "rewards": rewards}), file=answers, flush=True)


if __name__ == "__main__":
    main()
