"""Fetches the SVG art from its npm package and renders one square RGBA sprite a noun."""

import io
import json
import subprocess
import tarfile

import numpy as np
import resvg_py
from PIL import Image

from .common import WORK, world_file

PACKAGE, VERSION, LICENCE = "@iconify-json/fluent-emoji-flat", "1.2.6", "MIT"
SIDE = 128


def icons():
    folder = WORK / "art"
    folder.mkdir(exist_ok=True)
    archive = folder / f"iconify-json-fluent-emoji-flat-{VERSION}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True)
    with tarfile.open(archive) as tar:
        info = json.load(tar.extractfile("package/info.json"))
        if info["license"]["spdx"] != LICENCE:
            raise SystemExit(f"{PACKAGE} {VERSION} says licence {info['license']}, expected {LICENCE}")
        return json.load(tar.extractfile("package/icons.json"))


def render(data, name):
    icon = data["icons"][name]
    width, height = icon.get("width", data.get("width", 32)), icon.get("height", data.get("height", 32))
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * SIDE}" height="{2 * SIDE}" '
           f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>')
    image = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    # Cropping to the drawing lets "size" mean the size one sees, not the size of an empty margin.
    box = image.getchannel("A").point(lambda a: 255 if a > 20 else 0).getbbox()
    image = image.crop(box)
    side = max(image.size)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square.resize((SIDE, SIDE), Image.LANCZOS))


def sprites():
    """noun -> uint8 [128, 128, 4], natural colours; kept in the work folder."""
    path = WORK / "sprites.npz"
    nouns = world_file("grammar.json")["nouns"]
    if path.exists():
        kept = dict(np.load(path))
        if set(kept) == set(nouns):
            return kept
    data = icons()
    made = {noun: render(data, entry["icon"]) for noun, entry in nouns.items()}
    np.savez_compressed(path, **made)
    return made
