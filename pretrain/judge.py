"""The judge: reads a picture into objects and a place, and says whether a prompt of the grammar holds.

A plain stack of convolutions finds objects as peaks of one heat map a noun, reads their colours at the peaks, and the place from
the mean over the picture. It shares no weights, seed or augmentation strength with the scorer and is never used for tuning.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from . import pictures, world
from .common import MODEL, WORK, Average, Clock, Curve, device, save_atomically
from .muon import WORKING, Muon
from .redraw import Redraw
from .specification import parse

PATH, FOLDER = WORK / "judge.pt", MODEL / "judge"
# (channels out, stride, dilation): 64 -> 32 -> 16 cells a side; the dilated layers see the whole picture.
LAYERS = [(32, 2, 1), (64, 1, 1), (96, 2, 1), (128, 1, 1), (128, 1, 1), (128, 1, 2), (128, 1, 2), (128, 1, 1), (160, 1, 1)]
CELL = 4


class Judge(torch.nn.Module):
    def __init__(self, layers=LAYERS):
        super().__init__()
        self.convolutions, self.norms = torch.nn.ModuleList(), torch.nn.ModuleList()
        width = 3
        for out, stride, dilation in layers:
            self.convolutions.append(torch.nn.Conv2d(width, out, 3, stride, dilation, dilation, bias=False))
            self.norms.append(torch.nn.BatchNorm2d(out))
            width = out
        self.heat, self.color = torch.nn.Conv2d(width, len(world.NOUNS), 1), torch.nn.Conv2d(width, len(world.COLORS), 1)
        self.place = torch.nn.Linear(width, len(world.PLACES))
        torch.nn.init.constant_(self.heat.bias, -5.0)

    def forward(self, x):
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x)))
        return self.heat(x), self.color(x), self.place(x.mean((2, 3)))


def targets(truths):
    """-> heat [n, nouns, 16, 16] in 0..1, colour class a cell (-1 where there is no object's centre nearby), place class."""
    side = world.SIDE // CELL
    heat = np.zeros((len(truths), len(world.NOUNS), side, side), np.float32)
    color = np.full((len(truths), side, side), -1, np.int64)
    yy, xx = np.mgrid[0:side, 0:side]
    for i, t in enumerate(truths):
        for o in t["objects"]:
            # A centre at pixel p lies in cell p / 4 - 0.5, counted between cell centres.
            cx, cy = o["x"] / CELL - 0.5, o["y"] / CELL - 0.5
            sigma = 0.55 + 0.03 * o["size"] / CELL
            bump = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * sigma * sigma))
            # The nearest cell is a full positive even where the centre falls between cells.
            bump[int(np.clip(round(cy), 0, side - 1)), int(np.clip(round(cx), 0, side - 1))] = 1
            channel = heat[i, world.NOUNS.index(o["noun"])]
            np.maximum(channel, bump, out=channel)
            color[i][(np.abs(xx - cx) <= 1) & (np.abs(yy - cy) <= 1)] = world.COLORS.index(o["color"])
    return torch.from_numpy(heat), torch.from_numpy(color), torch.tensor([world.PLACES.index(t["place"]) for t in truths])


def loss_of(outputs, heat, color, place):
    logits, colors, places = outputs
    p = torch.sigmoid(logits.float()).clamp(1e-5, 1 - 1e-5)
    positive = heat >= 0.999
    focal = -torch.where(positive, (1 - p) ** 2 * p.log(), (1 - heat) ** 4 * p ** 2 * (1 - p).log()).sum() / positive.sum()
    return focal + F.cross_entropy(colors.float(), color, ignore_index=-1) + 0.5 * F.cross_entropy(places.float(), place)


def export(path=PATH, layers=LAYERS, folder=FOLDER, threshold=0.4):
    model = Judge(layers).eval()
    model.load_state_dict(torch.load(path, map_location="cpu")["average"]["values"])
    tensors = {}
    with torch.no_grad():
        for i, (convolution, norm) in enumerate(zip(model.convolutions, model.norms)):
            # Batch normalisation at rest is a scale and a shift a channel: both fold into the convolution.
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            tensors[f"trunk.{i}.weight"] = convolution.weight * scale[:, None, None, None]
            tensors[f"trunk.{i}.bias"] = norm.bias - norm.running_mean * scale
        for name in ("heat", "color", "place"):
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = getattr(model, name).weight, getattr(model, name).bias
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous().clone() for k, v in tensors.items()}, folder / "model.safetensors", metadata=dict(format="pt"))
    (folder / "config.json").write_text(json.dumps(dict(
        model_type="noisefind-scene-judge", image_size=world.SIDE, mean=pictures.MEAN, std=pictures.STD,
        nouns=world.NOUNS, colors=world.COLORS, places=world.PLACES, channels=[3] + [l[0] for l in layers],
        strides=[l[1] for l in layers], dilations=[l[2] for l in layers], cell=CELL,
        thresholds=dict(heat=threshold, peak_window=3, same_object_cells=2.5, relation_pixels=4.0)), indent=1) + "\n")
    (folder / "grammar.json").write_text(json.dumps(world.GRAMMAR, indent=1) + "\n")


class Reader:
    """The exported judge, read back from its folder; this is the reference for every other implementation."""

    def __init__(self, folder=FOLDER):
        folder = Path(folder)
        self.config = json.loads((folder / "config.json").read_text())
        self.grammar = json.loads((folder / "grammar.json").read_text())
        self.tensors = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}

    @torch.no_grad()
    def maps(self, images):
        """images in 0..1, [n, 3, 64, 64] -> heat in 0..1, colour logits, place logits"""
        c, t = self.config, self.tensors
        x = (images - torch.tensor(c["mean"])[:, None, None]) / torch.tensor(c["std"])[:, None, None]
        for i, (stride, dilation) in enumerate(zip(c["strides"], c["dilations"])):
            x = F.relu(F.conv2d(x, t[f"trunk.{i}.weight"], t[f"trunk.{i}.bias"], stride, dilation, dilation))
        heat = torch.sigmoid(F.conv2d(x, t["heat.weight"], t["heat.bias"]))
        return heat, F.conv2d(x, t["color.weight"], t["color.bias"]), F.linear(x.mean((2, 3)), t["place.weight"], t["place.bias"])

    def read(self, images):
        """-> one dict(objects=[...], place=...) a picture; objects from the strongest peak down."""
        c, limits = self.config, self.config["thresholds"]
        heat, color, place = self.maps(images)
        found = []
        best, noun = heat.max(1)
        top = F.max_pool2d(best[:, None], limits["peak_window"], 1, limits["peak_window"] // 2)[:, 0]
        for i in range(len(images)):
            ys, xs = torch.nonzero((best[i] >= top[i]) & (best[i] >= limits["heat"]), as_tuple=True)
            peaks = sorted(zip((-best[i][ys, xs]).tolist(), ys.tolist(), xs.tolist()))
            objects = []
            for negative, y, x in peaks:
                near = any(math.hypot(x - o["cell"][0], y - o["cell"][1]) < limits["same_object_cells"] for o in objects)
                if not near:
                    objects.append(dict(noun=c["nouns"][noun[i, y, x]], color=c["colors"][color[i, :, y, x].argmax()], score=-negative, cell=[x, y],
                                        x=(x + 0.5) * c["cell"], y=(y + 0.5) * c["cell"]))
            found.append(dict(objects=objects, place=c["places"][place[i].argmax()]))
        return found

    def verdict(self, image, prompt):
        specification = parse(prompt, self.grammar)
        if not specification["nouns"]:
            raise ValueError(f"no noun of the grammar in {prompt!r}")
        return holds(self.read(image[None])[0], specification, self.config["thresholds"]["relation_pixels"])


def holds(found, specification, relation_pixels=4.0):
    """-> dict of nouns, colors, place, relation (each a bool; true where nothing is asked) and their conjunction `success`."""
    objects = found["objects"]
    asked = specification["nouns"]
    nouns = len(objects) == sum(a["count"] for a in asked) and all(
        sum(o["noun"] == n for o in objects) == sum(a["count"] for a in asked if a["noun"] == n) for n in {a["noun"] for a in asked})
    # Each asked group claims that many objects of its noun with its colour; groups with a colour claim before those without.
    free, colors = list(objects), True
    for a in sorted(asked, key=lambda a: a["color"] is None):
        for _ in range(a["count"]):
            match = next((o for o in free if o["noun"] == a["noun"] and a["color"] in (None, o["color"])), None)
            colors = colors and match is not None
            if match is not None:
                free.remove(match)
    place = specification["place"] is None or specification["place"] == found["place"]
    relation = True
    if specification["relation"]:
        first, second = ([o for o in objects if o["noun"] == a["noun"]] for a in asked[:2])
        axis, sign = {"left": ("x", 1), "right": ("x", -1), "above": ("y", 1), "below": ("y", -1)}[specification["relation"]]
        relation = bool(first and second) and sign * (second[0][axis] - first[0][axis]) > relation_pixels
    return dict(nouns=nouns, colors=colors, place=place, relation=relation, success=nouns and colors and place and relation)


def scene_accuracy(reader, count=1024, seed=77, kind=None):
    """Share of held-out scenes that are read exactly: nouns and counts, colours, place, and all at once."""
    rng, painter = np.random.default_rng(seed), world.Painter()
    truths = [world.sample(rng, kind=kind, uniform=True) for _ in range(count)] if kind else pictures.scenes(rng, count)
    x = torch.from_numpy(np.stack([painter.draw(t, rng) for t in truths])).permute(0, 3, 1, 2).float() / 255
    read = [r for part in x.split(256) for r in reader.read(part)]
    key = lambda objects, *fields: sorted(tuple(o[f] for f in fields) for o in objects)
    nouns = [key(r["objects"], "noun") == key(t["objects"], "noun") for r, t in zip(read, truths)]
    colors = [key(r["objects"], "noun", "color") == key(t["objects"], "noun", "color") for r, t in zip(read, truths)]
    places = [r["place"] == t["place"] for r, t in zip(read, truths)]
    every = [c and p for c, p in zip(colors, places)]
    return {k: float(np.mean(v)) for k, v in dict(nouns_and_counts=nouns, with_colors=colors, place=places, everything=every).items()}


def arguments(description, minutes):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=minutes, help="processor minutes, because the core may be shared")
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    return parser


def train(a, model, source, path):
    """Trains `model` on batches of `source`; saves to `path` every minute, and goes on from there."""
    dev = device()
    model = model.to(dev, memory_format=torch.channels_last)
    average = Average(model, 0.997)
    optimiser = Muon(model.named_parameters(), a.lr, adam_only=("heat", "color", "place"))
    step, samples, before = 0, 0, 0.0
    if path.exists():
        state = torch.load(path, map_location=dev)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, samples, before = state["step"], state["samples"], state["seconds"]
    clock, curve = Clock(before, processor=True), Curve(path.with_suffix(".csv"), ["seconds", "samples", "loss", "noun_at_centre", "color", "place"])

    def save():
        save_atomically(dict(model=model.state_dict(), average=average.state_dict(), optimiser=optimiser.state_dict(),
                             step=step, samples=samples, seconds=clock.seconds()), path)

    @torch.compile
    def outputs_of(x):
        with torch.autocast(dev.type, torch.bfloat16, enabled=WORKING == torch.bfloat16):
            return model(x)

    model.train()
    saved = time.time()
    while True:
        progress = max(clock.seconds() / (60 * a.minutes), samples / a.samples)
        if progress >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = a.lr * min(1, (step + 1) / 100) * min(1, max(0.02, (1 - progress) / 0.6))
        truths, x = source.batch(a.batch)
        heat, color, place = (v.to(dev) for v in targets(truths))
        outputs = outputs_of(x.to(dev, memory_format=torch.channels_last))
        loss = loss_of(outputs, heat, color, place)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(model)
        step, samples = step + 1, samples + a.batch
        if step % 40 == 0:
            at = (heat >= 0.999).any(1)
            noun = (outputs[0].argmax(1) == heat.argmax(1))[at].float().mean().item()
            right = (outputs[1].argmax(1) == color)[color >= 0].float().mean().item()
            where = (outputs[2].argmax(1) == place).float().mean().item()
            curve.add(clock.seconds(), samples, loss.item(), noun, right, where)
            print(f"{clock.seconds():.0f} processor s, {samples} samples, loss {loss.item():.3f}, noun {noun:.3f}, colour {right:.3f}, place {where:.3f}", flush=True)
        if time.time() - saved > 60:
            save()
            saved = time.time()
    save()


def main():
    a = arguments(__doc__, 30).parse_args()
    torch.manual_seed(4)
    run_seed = time.time_ns() % 2**31 if PATH.exists() else 41
    source = pictures.Source("judge", 402, 1.3, run_seed, redraw=Redraw(levels=(100, 350), steps=5, guidance=3.0))
    train(a, Judge(), source, PATH)
    export()
    print("held-out scenes:", scene_accuracy(Reader()))


if __name__ == "__main__":
    main()
