"""Compares the student with the default model on the same prompts and noises: verdicts of the judge, scores, pixels.

The default model's pictures are kept in the work folder, so that several students are compared at the price of one.
"""

import argparse
import functools
import json
import time

import numpy as np
import torch
from diffusers import AutoencoderKL

from . import distil, trajectories
from .common import MODEL, WORK
from .draw import noises, sheet
from .evaluate import EASY, HARD, UNSEEN, Scorer, prompts
from .judge import Reader, holds
from .specification import parse

BASE_STEPS = 20
BATCH = 32


class Painter:
    """Latents of a generator, decoded by the default model's autoencoder."""

    def __init__(self, unet, steps, guidance):
        self.generator = trajectories.Generator(unet, steps, guidance)
        self.vae = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).eval()

    @torch.no_grad()
    def draw(self, noise, texts):
        """noise [n, 4, 16, 16] and n captions -> pictures in 0..1, [n, 3, 64, 64], rounded as in a PNG file."""
        made = []
        for i in range(0, len(noise), BATCH):
            z = self.generator.path(noise[i:i + BATCH], texts[i:i + BATCH])[:, -1]
            y = self.vae.decode(z, return_dict=False)[0].float()
            made.append((((y + 1) / 2).clamp(0, 1) * 255).round() / 255)
        return torch.cat(made)


def rows(per_group, samples):
    """-> (group, prompt, noises) of every prompt; the noises differ from those of the default model's card."""
    chosen = prompts(per_group)
    return [(g, p, noises(range(samples), 70 + i)) for g in EASY + HARD + UNSEEN for i, p in enumerate(chosen[g])]


def pictures(name, painter, wanted):
    """The pictures of all rows, from the work folder where they were drawn before -> [rows, samples, 3, 64, 64]."""
    folder = WORK / "distil-check.pictures"
    folder.mkdir(exist_ok=True)
    made = []
    for group, prompt, noise in wanted:
        path = folder / f"{name} {len(noise)} {prompt}.npy"
        if not path.exists():
            drawn = painter().draw(noise, [prompt] * len(noise))
            np.save(path, (drawn * 255).byte().numpy())
        made.append(torch.from_numpy(np.load(path)).float() / 255)
    return torch.stack(made)


def judged(reader, scorer, wanted, drawn):
    """-> success [rows, samples], scores [rows, samples]."""
    success = [[holds(found, parse(p, reader.grammar))["success"] for found in reader.read(x)] for (_, p, _), x in zip(wanted, drawn)]
    return np.array(success, float), np.array([scorer.scores(x, p).tolist() for (_, p, _), x in zip(wanted, drawn)])


def agreement(base, student):
    """Of two arrays of verdicts: how often they are equal, and the correlation of the two over the noises of each prompt."""
    a, b = base - base.mean(1, keepdims=True), student - student.mean(1, keepdims=True)
    spread = np.sqrt((a * a).sum() * (b * b).sum())
    return float((base == student).mean()), float((a * b).sum() / spread) if spread else float("nan")


def summary(wanted, base, student, base_pictures, student_pictures):
    """One entry a group and one for all of them."""
    (s0, c0), (s1, c1) = base, student
    groups = np.array([g for g, _, _ in wanted])
    made = {}
    for name in [*dict.fromkeys(groups), "all"]:
        here = groups == name if name != "all" else np.full(len(groups), True)
        same, correlation = agreement(s0[here], s1[here])
        same_scores = agreement(c0[here], c1[here])[1]
        # Pictures of one prompt with other noises: how far two pictures are that have only the prompt in common.
        others = base_pictures[here].roll(1, 1)
        made[name] = dict(
            prompts=int(here.sum()), pictures=int(s0[here].size), base=float(s0[here].mean()), student=float(s1[here].mean()),
            difference_by_prompt=float(np.abs(s0[here].mean(1) - s1[here].mean(1)).mean()), same_verdict=same, verdict_correlation=correlation,
            score_base=float(c0[here].mean()), score_student=float(c1[here].mean()), score_correlation=same_scores,
            pixel_distance=float((base_pictures[here] - student_pictures[here]).abs().mean()),
            pixel_distance_other_noise=float((base_pictures[here] - others).abs().mean()))
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--per-group", type=int, default=6)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--name", help="name of the kept pictures; a new one draws anew")
    parser.add_argument("--undistilled", action="store_true", help="the default model itself at these steps, guidance as in the default, for comparison")
    parser.add_argument("--student", type=int, help="weights of the student of this many steps, where they are not those of --steps")
    parser.add_argument("--sheet-rows", type=int, default=1, help="prompts of each group on the contact sheet")
    a = parser.parse_args()
    wanted = rows(a.per_group, a.samples)
    other = a.student not in (None, a.steps)
    name = a.name or (f"undistilled-{a.steps}" if a.undistilled else f"student-{a.student}-in-{a.steps}" if other else f"student-{a.steps}")
    base = pictures("base", functools.cache(lambda: Painter(trajectories.default_unet(), BASE_STEPS, trajectories.GUIDANCE)), wanted)
    began = time.time()
    if a.undistilled:
        make = lambda: Painter(trajectories.default_unet(), a.steps, trajectories.GUIDANCE)
    else:
        make = lambda: Painter(distil.averaged_unet(a.student or a.steps), a.steps, 1)
    student = pictures(name, functools.cache(make), wanted)
    print(f"{time.time() - began:.0f} s for the student's pictures")
    reader, scorer = Reader(), Scorer()
    verdicts = [judged(reader, scorer, wanted, x) for x in (base, student)]
    made = summary(wanted, *verdicts, base, student)
    per_prompt = [dict(group=g, prompt=p, base=float(b), student=float(s))
                  for (g, p, _), b, s in zip(wanted, verdicts[0][0].mean(1), verdicts[1][0].mean(1))]
    (WORK / f"distil-check-{name}.json").write_text(json.dumps(dict(steps=a.steps, groups=made, prompts=per_prompt), indent=1) + "\n")
    for group, m in made.items():
        print(f"{group:15} base {m['base']:.3f} student {m['student']:.3f} | verdict same {m['same_verdict']:.3f} r {m['verdict_correlation']:.2f} | score "
              f"{m['score_base']:.3f} {m['score_student']:.3f} r {m['score_correlation']:.2f} | pixels {m['pixel_distance']:.3f} of {m['pixel_distance_other_noise']:.3f}")
    shown = [i for g in EASY + HARD + UNSEEN for i in [j for j, w in enumerate(wanted) if w[0] == g][:a.sheet_rows]]
    labels = [f"{wanted[i][1]}{', student' if k else ''}" for i in shown for k in range(2)]
    sheet(labels, torch.cat([x for i in shown for x in (base[i], student[i])]), a.samples, WORK / f"distil-check-{name}.png", width=250)


if __name__ == "__main__":
    main()
