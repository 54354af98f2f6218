"""Trains the scorer, a small CLIP, contrastively with hard negatives of both kinds; it is the default reward.

False captions of a picture are one kind, the other are twins (`twins.py`): every second scene of a batch differs in one thing
from the one before it. The pool holds scenes that the trained denoiser drew over, because the scorer will judge its hand. Once
`preferences.py` has labelled generated images, every batch also holds pairs of them, of which the right one must score higher.
"""

import argparse
import copy
import json
import math
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

from . import export as export_program, pictures, preferences, world
from .common import MODEL, WORK, Average, Clock, Curve, device, save_atomically
from .muon import WORKING, Muon
from .redraw import Redraw
from .tokenizer import FOLDER as TOKENIZER, LENGTH, load as load_tokenizer

PATH, FOLDER = WORK / "scorer.pt", MODEL / "scorer"
NEGATIVES = 2
# Two objects more often than elsewhere: whose colour, and on which side, takes longest to learn.
KINDS = dict(single=0.15, pair=0.2, count=0.28, relation=0.37)
ADAM_ONLY = ("embedding", "projection")
# Weight of the loss over pairs of generated images, which are what the scorer is for.
PREFERENCE = 3


def new_model():
    tokenizer = load_tokenizer()
    text = dict(vocab_size=len(tokenizer), hidden_size=192, intermediate_size=768, num_hidden_layers=3, num_attention_heads=4,
                max_position_embeddings=LENGTH, hidden_act="quick_gelu", projection_dim=128, bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id)
    vision = dict(image_size=64, patch_size=8, hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4,
                  hidden_act="quick_gelu", projection_dim=128)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128, logit_scale_init_value=math.log(10),
                                attn_implementation="eager"))


def exchanged(asked, truth, rng, aspect=None):
    """What is asked with one aspect made false of the picture; None where the caption has no such aspect.

    Colour and place are also made false where the caption was silent: the picture has some other colour and place anyway.
    """
    other = lambda options, *not_these: (lambda left: left[rng.integers(len(left))])([o for o in options if o not in not_these])
    aspects = ["noun"] + (["color"] * 2) + (["count"] * (2 if asked["kind"] == "count" else 0))
    aspects += ["place"] if asked["place"] or rng.random() < 0.3 else []
    aspects += ["relation"] * 2 if asked["relation"] else []
    if len(asked["nouns"]) == 2 and all(asked["colors"]) and asked["colors"][0] != asked["colors"][1]:
        aspects += ["swap"] * 2
    aspect = aspect or aspects[rng.integers(len(aspects))]
    made = copy.deepcopy(asked)
    if aspect == "noun":
        i = rng.integers(len(made["nouns"]))
        made["nouns"][i] = other(world.NOUNS, *asked["nouns"])
        # A stale natural colour would give the exchange away.
    elif aspect == "color":
        i = rng.integers(len(made["nouns"]))
        drawn = next(o["color"] for o in truth["objects"] if o["noun"] == asked["nouns"][i])
        made["colors"][i] = other(world.PAINTS, drawn, world.NATURAL[asked["nouns"][i]] if drawn == world.NATURAL[asked["nouns"][i]] else drawn)
    elif aspect == "swap":
        if not (len(asked["nouns"]) == 2 and all(asked["colors"]) and asked["colors"][0] != asked["colors"][1]):
            return None
        made["colors"] = asked["colors"][::-1]
    elif aspect == "count":
        if len(asked["nouns"]) != 1:
            return None
        near = [c for c in (asked["count"] - 1, asked["count"] + 1) if 1 <= c <= 5]
        made["count"] = near[rng.integers(len(near))] if rng.random() < 0.75 else int(other([1, 2, 3, 4, 5], asked["count"]))
    elif aspect == "place":
        made["place"] = other(world.NAMED_PLACES, truth["place"])
    elif aspect == "relation":
        if not asked["relation"]:
            return None
        made["relation"] = world.OPPOSITE[asked["relation"]] if rng.random() < 0.7 else made["relation"]
        if made["relation"] == asked["relation"]:
            made["nouns"], made["colors"] = asked["nouns"][::-1], asked["colors"][::-1]
    return made


FACTS = (["noun", n] for n in world.NOUNS), (["color", c, n] for n in world.NOUNS for c in world.COLORS), \
    (["side", s, n] for n in world.NOUNS for s in world.RELATIONS), (["count", c] for c in range(1, 6)), (["place", p] for p in world.PLACES)
FACTS = {tuple(fact): i for i, fact in enumerate(fact for kind in FACTS for fact in kind)}


def facts_shown(truth):
    """What a picture shows: nouns, their colours and sides, how many objects, the place. -> indices into FACTS"""
    middle, facts = world.SIDE / 2, [("count", len(truth["objects"])), ("place", truth["place"])]
    for o in truth["objects"]:
        sides = [("left", middle - o["x"]), ("right", o["x"] - middle), ("above", middle - o["y"]), ("below", o["y"] - middle)]
        facts += [("noun", o["noun"]), ("color", o["color"], o["noun"])] + [("side", s, o["noun"]) for s, by in sides if by > 4]
    return sorted({FACTS[f] for f in facts})


def facts_said(asked):
    """What a caption says, in the same facts; a relation says on which side either noun stands."""
    facts = [("count", asked["count"] + len(asked["nouns"]) - 1)] + ([("place", asked["place"])] if asked["place"] else [])
    for i, (noun, color) in enumerate(zip(asked["nouns"], asked["colors"])):
        facts += [("noun", noun)] + ([("color", color, noun)] if color else [])
        if asked["relation"]:
            facts += [("side", asked["relation"] if i == 0 else world.OPPOSITE[asked["relation"]], noun)]
    return sorted({FACTS[f] for f in facts})


def facts_loss(logits, facts):
    """Binary cross-entropy a fact, summed and divided by the number of true facts, which are few."""
    truth = torch.zeros(logits.shape)
    for row, indices in zip(truth, facts):
        row[indices] = 1
    truth = truth.to(logits.device)
    return F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="sum") / truth.sum()


class Reader(torch.nn.Module):
    """Heads that exist only in training: they ask every patch what stands there, and both embeddings which facts they hold.

    Contrast alone takes long to find out what a picture holds, and it never needs to know on which side; with these the features
    are there early, and contrast has only to weigh them.
    """

    def __init__(self, width, embedding):
        super().__init__()
        self.noun, self.color = torch.nn.Linear(width, len(world.NOUNS) + 1), torch.nn.Linear(width, len(world.COLORS))
        self.shown, self.said = torch.nn.Linear(embedding, len(FACTS)), torch.nn.Linear(embedding, len(FACTS))
        for facts in (self.shown, self.said):
            torch.nn.init.constant_(facts.bias, -5)

    def forward(self, patches, image, text):
        return self.noun(patches), self.color(patches), self.shown(image), self.said(text)


def patch_labels(truths):
    """-> noun [n, 64] (the last class is nothing), colour [n, 64] (-1 where nothing stands)"""
    centres = np.arange(8) * 8 + 4
    noun = np.full((len(truths), 8, 8), len(world.NOUNS))
    color = np.full((len(truths), 8, 8), -1)
    for i, t in enumerate(truths):
        for o in t["objects"]:
            reach = max(0.38 * o["size"], 5)
            inside = (np.abs(centres - o["y"]) < reach)[:, None] & (np.abs(centres - o["x"]) < reach)[None]
            noun[i][inside], color[i][inside] = world.NOUNS.index(o["noun"]), world.COLORS.index(o["color"])
    return torch.from_numpy(noun).flatten(1), torch.from_numpy(color).flatten(1)


def captions_for(truths, rng):
    """-> what the true captions ask, then what NEGATIVES false ones for each ask; and all of them as sentences.

    The first false one turns what contrast within a batch would never turn: the relation, the colours of two, the count.
    """
    true, false = [t["asked"] for t in truths], []
    for t in truths:
        turned = [made for made in (exchanged(t["asked"], t, rng, aspect) for aspect in ("relation", "swap")) if made]
        if t["asked"]["kind"] == "count":
            turned.append(exchanged(t["asked"], t, rng, "count"))
        turned += [exchanged(t["asked"], t, rng) for _ in range(NEGATIVES - min(len(turned), 1))]
        false += turned[:NEGATIVES]
    return true + false, [world.caption(asked, rng) for asked in true + false]


def export():
    model = new_model()
    state = torch.load(PATH, map_location="cpu")
    model.load_state_dict(state["average"]["values"])
    FOLDER.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(FOLDER)
    export_program.declare_float32(FOLDER / "config.json")
    for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(TOKENIZER / name, FOLDER / name)
    (FOLDER / "preprocessor_config.json").write_text(json.dumps(dict(
        image_processor_type="CLIPImageProcessor", do_resize=True, size=dict(shortest_edge=64), resample=3, do_center_crop=True,
        crop_size=dict(height=64, width=64), do_rescale=True, rescale_factor=1 / 255, do_normalize=True, do_convert_rgb=True,
        image_mean=pictures.MEAN, image_std=pictures.STD), indent=2) + "\n")


def rank_accuracy(model, count=512, seed=99, hard=8):
    """Share of scenes whose true caption scores above `hard` hard negatives, and above each kind of negative alone."""
    rng, painter, tokenizer = np.random.default_rng(seed), world.Painter(), load_tokenizer()
    truths = pictures.scenes(rng, count)
    x = torch.from_numpy(np.stack([painter.draw(t, rng) for t in truths])).permute(0, 3, 1, 2).float() / 255
    lists, kinds = [], []
    for t in truths:
        texts = [world.caption(t["asked"], plain=True)]
        while len(texts) < hard + 1:
            made = world.caption(exchanged(t["asked"], t, rng), plain=True)
            texts += [made] if made != texts[0] else []
        lists.append(texts)
    model = model.float().eval()
    with torch.no_grad():
        image = F.normalize(model.visual_projection(model.vision_model(pictures.normalise(x)).pooler_output), dim=-1)
        tokens = tokenizer([c for l in lists for c in l], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")["input_ids"]
        text = torch.cat([F.normalize(model.text_projection(model.text_model(part).pooler_output), dim=-1) for part in tokens.split(512)])
    scores = (text.view(count, hard + 1, -1) * image[:, None]).sum(-1)
    return (scores[:, 0] > scores[:, 1:].max(1).values).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="processor minutes, because the core may be shared")
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=24, help="pairs of generated images beside each batch, once they are labelled")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    a = parser.parse_args()
    torch.manual_seed(3)
    dev = device()
    tokenizer = load_tokenizer()
    run_seed = time.time_ns() % 2**31 if PATH.exists() else 31
    source = pictures.Source("scorer", 303, 1.0, run_seed, kinds=KINDS, twin=True, redraw=Redraw(levels=(100, 300), steps=4, guidance=4.0))
    pool = preferences.labelled()
    preferred = preferences.Preferences(pool) if pool else None
    rng = np.random.default_rng(run_seed)
    model = new_model().to(dev)
    average = Average(model, 0.997)
    reader = Reader(192, 128).to(dev)
    reader_optimiser = torch.optim.Adam(reader.parameters(), a.lr)
    optimiser = Muon(model.named_parameters(), a.lr, adam_only=ADAM_ONLY)
    step, samples, before = 0, 0, 0.0
    if PATH.exists():
        state = torch.load(PATH, map_location=dev)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        if "reader" in state:
            reader.load_state_dict(state["reader"])
        step, samples, before = state["step"], state["samples"], state["seconds"]
    clock, curve = Clock(before, processor=True), Curve(WORK / "scorer.csv", ["seconds", "samples", "loss", "in_batch", "above_negatives", "above_twin", "preferred"])

    def save():
        save_atomically(dict(model=model.state_dict(), average=average.state_dict(), optimiser=optimiser.state_dict(), reader=reader.state_dict(),
                             step=step, samples=samples, seconds=clock.seconds()), PATH)

    @torch.compile
    def embed(x, tokens):
        with torch.autocast(dev.type, torch.bfloat16, enabled=WORKING == torch.bfloat16):
            seen = model.vision_model(x)
            image = model.visual_projection(seen.pooler_output)
            text = model.text_projection(model.text_model(tokens).pooler_output)
            read = reader(seen.last_hidden_state[:, 1:], image, text)
        return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1), read

    saved = time.time()
    while True:
        progress = max(clock.seconds() / (60 * a.minutes), samples / a.samples)
        if progress >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = a.lr * min(1, (step + 1) / 100) * min(1, max(0.02, (1 - progress) / 0.6))
        truths, x = source.batch(a.batch)
        asked, captions = captions_for(truths, rng)
        tokens = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")["input_ids"]
        pairs = preferred.batch(a.pairs, rng, source.generator) if preferred else (x[:0], tokens[:0])
        image, text, read = embed(torch.cat([x, pairs[0]]).to(dev), torch.cat([tokens, pairs[1]]).to(dev))
        loss, prefers = 0, float("nan")
        if preferred:
            loss, prefers = preferences.preference_loss(image[len(x):], text[len(tokens):], model.logit_scale.exp())
            loss, prefers = PREFERENCE * loss, prefers.item()
        image, text = image[:len(x)], text[:len(tokens)]
        noun_read, color_read, shown, said = (part[:len(own)] for part, own in zip(read, (x, x, x, tokens)))
        scores = model.logit_scale.exp() * image @ text.T
        n, target = len(truths), torch.arange(len(truths), device=dev)
        same = torch.tensor([[c == t for c in captions] for t in captions[:n]]) & ~torch.eye(n, len(captions), dtype=torch.bool)
        scores = scores.masked_fill(same.to(dev), -1e4)
        # Pictures stand in pairs: whose number differs in the last bit is the twin.
        own, twin = scores.diagonal()[:, None], target ^ 1
        texts = torch.cat([own, scores[target, twin][:, None], scores[:, n:].view(n, n, NEGATIVES)[target, target]], 1)
        pictures_of_a_text = torch.cat([own, scores[twin, target][:, None]], 1)
        loss = loss + F.cross_entropy(scores, target) + 0.5 * F.cross_entropy(scores[:, :n].T, target)
        loss = loss + sum(F.cross_entropy(of, torch.zeros_like(target)) for of in (texts, pictures_of_a_text))
        noun, color = (v.to(dev) for v in patch_labels(truths))
        loss = loss + F.cross_entropy(noun_read.flatten(0, 1).float(), noun.flatten()) + F.cross_entropy(color_read.flatten(0, 1).float(), color.flatten(), ignore_index=-1)
        loss = loss + 0.5 * facts_loss(shown, [facts_shown(t) for t in truths]) + 0.25 * facts_loss(said, [facts_said(a) for a in asked])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        reader_optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        reader_optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        average.update(model)
        step, samples = step + 1, samples + a.batch
        if step % 20 == 0:
            hit = (scores.argmax(1) == target).float().mean().item()
            above, told = ((of.argmax(1) == 0).float().mean().item() for of in (texts, pictures_of_a_text))
            curve.add(clock.seconds(), samples, loss.item(), hit, above, told, prefers)
            print(f"{clock.seconds():.0f} processor s, {samples} samples, loss {loss.item():.3f}, first of all {hit:.3f}, "
                  f"above its negatives {above:.3f}, above its twin {told:.3f}, preferred {prefers:.3f}", flush=True)
        if time.time() - saved > 60:
            save()
            saved = time.time()
    save()
    export()
    print("true caption above 8 hard negatives:", rank_accuracy(CLIPModel.from_pretrained(FOLDER)))


if __name__ == "__main__":
    main()
