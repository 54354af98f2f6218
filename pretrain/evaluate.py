"""Measures success rates by category with the judge, best-of-N with the scorer, and the accuracy of both on held-out scenes.

Pictures and results are kept after every row of prompts, so that a run can be stopped and continued.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel

from . import pictures, scorer as scorer_program, world
from .common import HERE, MODEL, WORK
from .draw import Artist, noises
from .judge import Reader, holds, scene_accuracy
from .specification import parse
from .tokenizer import LENGTH, load as load_tokenizer

EASY = ["natural object", "natural place", "two of a kind"]
HARD = ["odd color", "two colors", "three to five", "odd place", "relation"]
UNSEEN = ["unseen color"]


def prompts(per_group=16, seed=5):
    """group -> prompts, drawn once from the data files and fixed by the seed; the paper's own prompts stand first."""
    rng, f = np.random.default_rng(seed), world.FREQUENCIES
    say = lambda **asked: world.caption(dict(dict(kind="single", colors=[None, None], count=1, place=None, relation=None, size=None), **asked))
    nouns = [str(n) for n in rng.permutation(world.NOUNS)]
    def rare_color(noun):
        order = f["odd_color_order"][noun]
        return order[int(rng.integers(2, len(order)))]
    def odd_place(noun):
        return str(rng.choice([p for p in world.NAMED_PLACES if p not in f["preferred_places"][noun] and (noun, p) not in world.UNSEEN_PLACES]))
    def pair():
        while True:
            a, b = (str(n) for n in rng.choice(world.NOUNS, 2, replace=False))
            if frozenset((a, b)) not in world.UNSEEN_PAIRS:
                return [a, b]
    groups = {g: [] for g in EASY + HARD + UNSEEN}
    groups["odd color"] += ["a green dog"]
    groups["two colors"] += ["a red book and a yellow vase"]
    groups["three to five"] += ["four pandas"]
    groups["odd place"] += ["a dog on the moon"]
    groups["relation"] += ["a cat to the left of a car"]
    i = 0
    while any(len(v) < per_group for v in groups.values()):
        n = nouns[i % len(nouns)]
        i += 1
        two = pair()
        c1, c2 = rare_color(two[0]), rare_color(two[1])
        made = {
            "natural object": say(nouns=[n]),
            "natural place": say(nouns=[n], place=f["preferred_places"][n][0]),
            "two of a kind": say(nouns=[n], count=2, kind="count"),
            "odd color": say(nouns=[n], colors=[rare_color(n)]),
            "two colors": say(nouns=two, colors=[c1, c2], kind="pair") if c1 != c2 else None,
            "three to five": say(nouns=[n], count=3 + i % 3, kind="count"),
            "odd place": say(nouns=[n], place=odd_place(n)),
            "relation": say(nouns=two, relation=world.RELATIONS[i % 4], kind="relation"),
            "unseen color": say(nouns=[n], colors=[next((c for c, m in world.HELD_OUT["color_noun"] if m == n), None)]),
        }
        for group, prompt in made.items():
            if prompt and len(groups[group]) < per_group and prompt not in groups[group]:
                groups[group].append(prompt)
    return groups


class Scorer:
    def __init__(self, folder=MODEL / "scorer"):
        self.model, self.tokenizer = CLIPModel.from_pretrained(folder).float().eval(), load_tokenizer()

    @torch.no_grad()
    def scores(self, images, prompt):
        """Cosine of picture and prompt, one a picture."""
        tokens = self.tokenizer([prompt], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")["input_ids"]
        text = F.normalize(self.model.text_projection(self.model.text_model(tokens).pooler_output), dim=-1)
        image = F.normalize(self.model.visual_projection(self.model.vision_model(pictures.normalise(images)).pooler_output), dim=-1)
        return (image @ text.T)[:, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=64, help="pictures a prompt; hard prompts also report the best of these by the scorer")
    parser.add_argument("--easy-samples", type=int, default=16)
    parser.add_argument("--per-group", type=int, default=16)
    parser.add_argument("--guidance", type=float, default=json.loads((MODEL / "noisefind.json").read_text())["guidance_scale"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--groups", nargs="*", default=EASY + HARD + UNSEEN)
    parser.add_argument("--out", default=str(WORK / "evaluation.json"))
    parser.add_argument("--no-drawing", action="store_true", help="judge and score again what was drawn before")
    parser.add_argument("--only-readers", action="store_true", help="only the judge and the scorer on held-out scenes")
    a = parser.parse_args()
    out = Path(a.out)
    results = json.loads(out.read_text()) if out.exists() else dict(prompts={})
    reader = Reader()
    results["judge on held-out scenes"] = scene_accuracy(reader)
    results["scorer first among 8 hard negatives"] = scorer_program.rank_accuracy(CLIPModel.from_pretrained(MODEL / "scorer"))
    out.write_text(json.dumps(results, indent=1))
    print({k: v for k, v in results.items() if k != "prompts"}, flush=True)
    if a.only_readers:
        return
    artist, scorer = None if a.no_drawing else Artist(steps=a.steps, compiled=True), Scorer()
    pictures_folder = out.with_suffix(".pictures")
    pictures_folder.mkdir(exist_ok=True)
    chosen = prompts(a.per_group)
    # Prompt by prompt across the groups, so that a run that is stopped early has some of every group.
    for row in range(a.per_group):
        wanted = [(g, chosen[g][row], a.easy_samples if g in EASY else a.samples) for g in a.groups]
        # Pictures are kept: the judge and the scorer may be trained on, and then only they have to look again.
        kept = {g: pictures_folder / f"{a.guidance:g} {g} {row} {n}.npy" for g, _, n in wanted}
        missing = [one for one in wanted if not kept[one[0]].exists()]
        if missing and not a.no_drawing:
            drawn = artist.draw([p for _, p, n in missing for _ in range(n)], torch.cat([noises(range(n), 17 + row) for _, _, n in missing]), a.guidance)
            for (group, _, _), images in zip(missing, drawn.split([n for _, _, n in missing])):
                unfinished = kept[group].with_suffix(".tmp.npy")
                np.save(unfinished, (images * 255).round().byte().numpy())
                unfinished.replace(kept[group])
        for group, prompt, count in wanted:
            if not kept[group].exists():
                continue
            images = torch.from_numpy(np.load(kept[group])).float() / 255
            verdicts = [holds(found, parse(prompt, reader.grammar)) for found in reader.read(images)]
            scores = scorer.scores(images, prompt)
            best = scores.topk(max(1, count // 8)).indices.tolist()
            results["prompts"][f"{prompt} @ {a.guidance:g}"] = dict(
                group=group, prompt=prompt, guidance=a.guidance, samples=count, success=float(np.mean([v["success"] for v in verdicts])),
                parts={p: float(np.mean([v[p] for v in verdicts])) for p in ("nouns", "colors", "place", "relation")},
                best_succeeds=bool(verdicts[best[0]]["success"]), best_eighth=float(np.mean([verdicts[i]["success"] for i in best])))
            print(group, "|", prompt, "|", results["prompts"][f"{prompt} @ {a.guidance:g}"]["success"], verdicts[best[0]]["success"], flush=True)
        out.write_text(json.dumps(results, indent=1))
    summary = {}
    for group in a.groups:
        rows = [r for r in results["prompts"].values() if r["group"] == group and r["guidance"] == a.guidance]
        rates = [r["success"] for r in rows]
        summary[group] = dict(prompts=len(rows), samples=sum(r["samples"] for r in rows), mean=float(np.mean(rates)),
                              between_5_and_60=sum(0.05 <= r <= 0.6 for r in rates), best_of_n=float(np.mean([r["best_succeeds"] for r in rows])))
    results[f"summary @ {a.guidance:g}"] = summary
    out.write_text(json.dumps(results, indent=1))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
