"""Trains the scorer of clips, a small network in ViCLIP's format, contrastively with hard negatives; it is the video model's reward.

    python -m pretrain.video_scorer --minutes 25
    python -m pretrain.video_scorer --redraw 96      # meanwhile: clips in the video model's hand, for a third of every batch
    python -m pretrain.video_scorer --minutes 25 --only-measure

It starts as the still scorer, frame by frame (`widened_scorer.py`), so that contrast has to teach it motion alone. Most patches of a
clip are left out while training, as ViCLIP's authors do; the last steps see all of them. Half of the clips are twins of the others:
the same clip played backwards, or one that differs in a colour, the place or a noun.
"""

import argparse
import json
import math
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from . import clips, pictures, scorer as still, video_tokenizer, world
from .common import WORK, Average, Clock, Curve, save_atomically
from .muon import Muon
from .twins import twin as still_twin
from .viclip import ViClip
from .widened_scorer import widened

PATH, POOL, FOLDER = WORK / "video-scorer.pt", WORK / "pool-video-scorer.pt", WORK / "video-model" / "scorer"
ADAM_ONLY = ("embedding", "text_projection", "vision_encoder.proj")
# Embeddings have length 1; the heads that ask them for the motion in training see them as long as this.
HEAD_SCALE = 8.0
# A motion, then what the still scorer knows already.
NEGATIVES = ("motion", "any", "any")
KINDS = ("opposite motion", "motion", "color", "place", "noun", "swap")


def false_caption(truth, rng, kind):
    """What the clip's caption asks, with one aspect made false of the clip; None where the caption has no such aspect."""
    asked = truth["asked"]
    if kind in ("motion", "opposite motion"):
        left = [m for m in clips.MOTIONS if m != truth["motion"]]
        if kind == "opposite motion":
            left = [clips.OPPOSITE[truth["motion"]]] if truth["motion"] in clips.OPPOSITE else []
        # Half of the time the opposite, which is the hardest.
        opposite = clips.OPPOSITE.get(truth["motion"])
        chosen = opposite if opposite and kind == "motion" and rng.random() < 0.5 else left[rng.integers(len(left))] if left else None
        return dict(asked, motion=chosen) if chosen else None
    return still.exchanged(asked, truth, rng, None if kind == "any" else kind)


def twin_of(truth, rng):
    """A clip like the given one but for one thing that its caption says -> truth, whether it is the same clip played backwards"""
    if truth["asked"]["motion"] is None or rng.random() < 0.45:
        return still_twin(truth, rng), False
    if truth["motion"] in clips.OPPOSITE and rng.random() < 0.7:
        motion = clips.OPPOSITE[truth["motion"]]
        return dict(truth, asked=dict(truth["asked"], motion=motion), motion=motion, paths=truth["paths"][:, ::-1]), True
    motion = [m for m in clips.MOTIONS if m != truth["motion"]][rng.integers(len(clips.MOTIONS) - 1)]
    paths = clips.paths(len(truth["objects"]), motion, truth["objects"][0]["size"], rng)
    return dict(truth, asked=dict(truth["asked"], motion=motion), motion=motion, paths=paths), False


class Source:
    """Batches of (truths, frames in 0..1 [n, 8, 3, 64, 64]) in pairs of twins; a third comes from the pool, once there is one."""

    def __init__(self, seed):
        self.rng, self.generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        self.painter, self.pool, self.looked = world.Painter(), None, 0.0

    def pooled(self):
        if POOL.exists() and POOL.stat().st_mtime > self.looked:
            self.looked, self.pool = POOL.stat().st_mtime, torch.load(POOL, weights_only=False)
        return self.pool

    def batch(self, count):
        truths, frames, pool = [], [], self.pooled()
        for pair in range(count // 2):
            if pool and pair % 3 == 0:
                at = int(self.rng.integers(len(pool["truths"]) // 2)) * 2
                truths += pool["truths"][at:at + 2]
                frames += [pool["frames"][at].numpy(), pool["frames"][at + 1].numpy()]
            else:
                made, drawn = drawn_pair(self.painter, self.rng)
                truths, frames = truths + made, frames + drawn
        x = torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3).float() / 255
        return truths, pictures.imperfect(x.flatten(0, 1), self.generator).view(x.shape)


def drawn_pair(painter, rng):
    """-> two truths, two clips uint8 [8, 64, 64, 3]"""
    truth = clips.sample(rng, uniform=True)
    other, backwards = twin_of(truth, rng)
    seed = int(rng.integers(2**31))
    drawn = clips.draw(painter, truth, np.random.default_rng(seed))
    # The background of a twin is the same, or it would tell the two apart.
    return [truth, other], [drawn, drawn[::-1] if backwards else clips.draw(painter, other, np.random.default_rng(seed))]


def make_pool(count, steps=3, guidance=3.0):
    """Rendered clips, noised to a random level and denoised by the video model as it is now: who and where stays, how it is drawn does not."""
    from . import diffusion, draw_clips, video_latents
    artist, rng, generator = draw_clips.ClipArtist(), np.random.default_rng(606), torch.Generator().manual_seed(606)
    painter, abar = world.Painter(), diffusion.alpha_products()
    truths, frames = [], []
    while len(truths) < count:
        for truth, clip in zip(*drawn_pair(painter, rng)):
            shown = {o["noun"]: o["color"] for o in truth["objects"]}
            told = dict(truth["asked"], colors=[shown[n] for n in truth["asked"]["nouns"]], motion=truth["motion"],
                        place=None if truth["place"] == world.PLAIN else truth["place"])
            text, start = artist.embed(["", clips.caption(told, plain=True)]), int(torch.randint(150, 450, (), generator=generator))
            z, times = video_latents.encode(artist.autoencoder, clip[None].copy()), [round(start * (1 - k / steps)) for k in range(steps + 1)]
            root = lambda t: (abar[t].sqrt(), (1 - abar[t]).sqrt()) if t else (torch.tensor(1.0), torch.tensor(0.0))
            a, s = root(start)
            z = a * z + s * torch.randn(z.shape, generator=generator)
            for now, then in zip(times, times[1:]):
                without, with_text = artist.model.unet(torch.cat([z, z]), now, text, return_dict=False)[0].chunk(2)
                v = without + guidance * (with_text - without)
                (a, s), (a_then, s_then) = root(now), root(then)
                z = a_then * (a * z - s * v) + s_then * (s * z + a * v)
            x = ((artist.autoencoder.decode(z[0].transpose(0, 1)).sample + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1)
            truths.append(truth)
            frames.append(x)
        if len(truths) % 16 == 0:
            save_atomically(dict(truths=truths, frames=torch.stack(frames)), POOL)
            print(f"{len(truths)} clips redrawn", flush=True)


def measure(model, count=256, seed=99):
    """Share of held-out rendered clips whose true caption scores above a false one, by what is false; and of captions that
    score above with their clip than with the same clip played backwards."""
    rng, painter, tokenizer, model = np.random.default_rng(seed), world.Painter(), video_tokenizer.load(), model.eval()
    won = {kind: [] for kind in KINDS} | {"clip played backwards": [], "above 8 negatives": []}
    for _ in range(count):
        truth = clips.sample(rng, uniform=True)
        truth["asked"]["motion"] = truth["motion"]
        true, clip = clips.caption(truth["asked"], plain=True), clips.draw(painter, truth, rng)
        false = {kind: false_caption(truth, rng, kind) for kind in KINDS}
        texts = [true] + [clips.caption(asked, plain=True) for asked in false.values() if asked]
        texts += [clips.caption(false_caption(truth, rng, ("motion", "any")[k % 2]), plain=True) for k in range(8)]
        tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=video_tokenizer.LENGTH, return_tensors="pt")["input_ids"]
        both = torch.from_numpy(np.stack([clip, clip[::-1]])).permute(0, 1, 4, 2, 3).float() / 255
        with torch.no_grad():
            seen, told = F.normalize(model.see(both), dim=-1), F.normalize(model.read(tokens), dim=-1)
        scores = (told @ seen.T).tolist()
        for kind, score in zip([k for k, asked in false.items() if asked], scores[1:]):
            won[kind].append(scores[0][0] > score[0])
        won["above 8 negatives"].append(scores[0][0] > max(s[0] for s, text in zip(scores[-8:], texts[-8:]) if text != true))
        if truth["motion"] in clips.OPPOSITE:
            won["clip played backwards"].append(scores[0][0] > scores[0][1])
    return {kind: dict(right=float(np.mean(values)), pairs=len(values)) for kind, values in won.items()}


def averaged():
    model = ViClip()
    model.load_state_dict(torch.load(PATH, map_location="cpu")["average"]["values"])
    return model.eval()


def export(folder=FOLDER):
    """The published names and fp16; `config.json` tells what the tensors say anyway."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous().clone() for k, v in averaged().state_dict().items()}
    save_file(state, folder / "viclip.safetensors", metadata=dict(format="pt"))
    for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(video_tokenizer.FOLDER / name, folder / name)
    (folder / "config.json").write_text(json.dumps(dict(
        model_type="viclip", image_size=world.SIDE, num_frames=clips.FRAMES, patch_size=8, context_length=video_tokenizer.LENGTH,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]), indent=1) + "\n")


def report(model):
    measured = measure(model)
    (WORK / "video-scorer.json").write_text(json.dumps(measured, indent=1) + "\n")
    for kind, found in measured.items():
        print(f"{kind}: {found['right']:.3f} of {found['pairs']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25, help="processor minutes of all runs together")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--vision", type=float, default=0.35, help="rate of the vision tower, which knows most already, as a share of --lr")
    parser.add_argument("--keep", type=float, default=0.3, help="share of the patches that a training step sees")
    parser.add_argument("--whole-from", type=float, default=0.85, help="share of the minutes after which it sees all of them")
    parser.add_argument("--redraw", type=int, help="make the pool of this many clips in the video model's hand, and end")
    parser.add_argument("--only-measure", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if a.redraw:
        with torch.no_grad():
            return make_pool(a.redraw)
    if a.only_measure:
        return report(averaged())
    torch.manual_seed(6)
    model, tokenizer = widened(), video_tokenizer.load()
    motion_of_clip, motion_of_text = (torch.nn.Linear(128, len(clips.MOTIONS)) for _ in range(2))
    heads = torch.nn.ModuleList([motion_of_clip, motion_of_text])
    average = Average(model, 0.99)
    parts = [[(k, p) for k, p in model.named_parameters() if k.startswith("vision") == is_vision] for is_vision in (True, False)]
    optimisers = [Muon(part, a.lr, adam_only=ADAM_ONLY) for part in parts]
    head_optimiser = torch.optim.Adam(heads.parameters(), 1e-2)
    step, before = 0, 0.0
    if PATH.exists():
        state = torch.load(PATH, map_location="cpu")
        for part, name in ((model, "model"), (average, "average"), (heads, "heads")):
            part.load_state_dict(state[name])
        for optimiser, kept in zip(optimisers, state["optimisers"]):
            optimiser.load_state_dict(kept)
        step, before = state["step"], state["seconds"]
    source = Source(61 + step)
    clock, curve = Clock(before, processor=True), Curve(WORK / "video-scorer.csv", ["seconds", "clips", "loss", "in_batch", "above_negatives", "above_twin", "motion", "lr"])

    def save():
        save_atomically(dict(model=model.state_dict(), average=average.state_dict(), optimisers=[o.state_dict() for o in optimisers], heads=heads.state_dict(),
                             step=step, seconds=clock.seconds()), PATH)

    saved, marks = time.time(), []
    while clock.seconds() < 60 * a.minutes:
        progress = clock.seconds() / (60 * a.minutes)
        rate = min(1, (step + 1) / 30) * min(1, max(0.02, (1 - progress) / 0.6))
        for optimiser, share in zip(optimisers, (a.vision, 1)):
            for group in optimiser.param_groups:
                group["lr"] = a.lr * share * rate
        truths, x = source.batch(a.batch)
        false = [[made for made in (false_caption(t, source.rng, kind) for kind in NEGATIVES)] for t in truths]
        asked = [t["asked"] for t in truths] + [made for row in false for made in row]
        captions = [clips.caption(one, source.rng) for one in asked]
        tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=video_tokenizer.LENGTH, return_tensors="pt")["input_ids"]
        clip = model.see(x, keep=1.0 if progress >= a.whole_from else a.keep)
        text = model.read(tokens)
        said = torch.tensor([clips.MOTIONS.index(one["motion"]) if one["motion"] else -1 for one in asked])
        shown = torch.tensor([clips.MOTIONS.index(t["motion"]) for t in truths])
        clip, text = F.normalize(clip, dim=-1), F.normalize(text, dim=-1)
        motions = motion_of_clip(HEAD_SCALE * clip)
        loss = F.cross_entropy(motions, shown) + 0.5 * F.cross_entropy(motion_of_text(HEAD_SCALE * text), said, ignore_index=-1)
        scores = clip @ text.T / model.temp
        n, target = len(truths), torch.arange(len(truths))
        same = torch.tensor([[c == t for c in captions] for t in captions[:n]]) & ~torch.eye(n, len(captions), dtype=torch.bool)
        scores = scores.masked_fill(same, -1e4)
        # Clips stand in pairs: whose number differs in the last bit is the twin.
        own, other = scores.diagonal()[:, None], target ^ 1
        texts = torch.cat([own, scores[target, other][:, None], scores[:, n:].view(n, n, len(NEGATIVES))[target, target]], 1)
        clips_of_a_text = torch.cat([own, scores[other, target][:, None]], 1)
        loss = loss + F.cross_entropy(scores, target) + 0.5 * F.cross_entropy(scores[:, :n].T, target)
        loss = loss + sum(F.cross_entropy(of, torch.zeros_like(target)) for of in (texts, clips_of_a_text))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for one in (*optimisers, head_optimiser):
            one.step()
            one.zero_grad(set_to_none=True)
        with torch.no_grad():
            model.temp.clamp_(min=0.01)
        average.update(model)
        step += 1
        right = lambda of, wanted: (of.argmax(1) == wanted).float().mean().item()
        marks.append((loss.item(), right(scores, target), right(texts, 0), right(clips_of_a_text, 0), right(motions, shown)))
        if step % 20 == 0:
            found = np.mean(marks, 0)
            curve.add(clock.seconds(), step * a.batch, *(float(v) for v in found), a.lr * rate)
            print(f"{clock.seconds():.0f} processor s, {step * a.batch} clips, loss {found[0]:.3f}, first of all {found[1]:.3f}, above its negatives {found[2]:.3f}, "
                  f"above its twin {found[3]:.3f}, motion {found[4]:.3f}, temperature {model.temp.item():.3f}", flush=True)
            marks = []
        if time.time() - saved > 60:
            save()
            saved = time.time()
    save()
    export()
    report(averaged())


if __name__ == "__main__":
    main()
