"""Generated images, read by the annotator; the scorer learns to prefer the right ones of a prompt.

Rendered scenes never show what a generator does wrong: things that grow together, a fifth robot that is half of one. Tuning asks
of the scorer to tell such images apart, all of one prompt, so it is trained on that question (Bradley-Terry, as reward models are).
What an image of "five robots" shows makes it right under "four robots", so each image also serves under the captions of its neighbours.
"""

import argparse
import collections
import json

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel

from . import pictures, world
from .annotator import Annotator
from .common import HERE, MODEL, WORK, save_atomically
from .judge import holds
from .specification import parse
from .tokenizer import LENGTH, load as load_tokenizer
from .trajectories import Generator

PATH, LABELLED = WORK / "pool-preferences.pt", WORK / "pool-preferences-labelled.pt"
# Those of the shipped scorer: lists of bench/method grew since, so drawing them again would give others.
LIST = HERE / "preference-prompts.txt"
IMAGES = 12  # a prompt
# Two colours and counts are what a scorer gets wrong on prompts that it did not meet.
KINDS = dict(single=0.15, pair=0.4, count=0.4, relation=0.05)


def measured_prompts():
    """Prompts on which results are reported; the scorer must not have met them."""
    lists = (HERE.parent / "bench" / "method").glob("*.tsv")
    return {line.split("\t")[1] for path in lists for line in path.read_text().splitlines() if line and not line.startswith("#")}


def prompts(rng, count):
    """Prompts that ask for something unusual; most ask for one thing and not for several at once. The recorded ones come first."""
    made = LIST.read_text().splitlines()[:count]
    taken = measured_prompts() | set(made)
    while len(made) < count:
        asked = world.sample(rng, kind=world.choose(rng, list(KINDS), list(KINDS.values())), uniform=True)["asked"]
        asked["size"] = None
        if rng.random() < 0.7 and (asked["kind"] != "single" or any(asked["colors"])):
            asked["place"] = None
        if asked["kind"] == "relation" and rng.random() < 0.8:
            asked["colors"] = [None] * len(asked["colors"])
        if asked["kind"] == "count" and rng.random() < 0.6:
            asked["count"] = max(asked["count"], int(rng.integers(3, 6)))
        unusual = asked["place"] or any(c and c != world.NATURAL[n] for c, n in zip(asked["colors"], asked["nouns"])) or asked["kind"] != "single"
        text = world.caption(asked, plain=True)
        if unusual and text not in taken:
            taken.add(text)
            made.append(text)
    return made


def labelled():
    """The generated images with their labels; None before there are any."""
    return torch.load(LABELLED, weights_only=False) if LABELLED.exists() else None


def asked_of(specification):
    """A parsed prompt in the form of `world.sample`'s "asked"."""
    nouns = specification["nouns"]
    kind = "relation" if specification["relation"] else "pair" if len(nouns) > 1 else "count" if nouns[0]["count"] > 1 else "single"
    return dict(kind=kind, nouns=[n["noun"] for n in nouns], colors=[n["color"] for n in nouns], count=nouns[0]["count"], size=None,
                place=specification["place"], relation=specification["relation"])


def fitted(asked, found):
    """What is asked, with number, colours, place and relation as they are found; None where the nouns are not there."""
    of = [[o for o in found["objects"] if o["noun"] == noun] for noun in asked["nouns"]]
    if not all(of) or len(found["objects"]) > 5:
        return None
    made = dict(asked, colors=[objects[0]["color"] if c else None for c, objects in zip(asked["colors"], of)])
    if asked["kind"] == "count":
        made["count"] = len(of[0])
    if asked["place"]:
        made["place"] = found["place"] if found["place"] in world.NAMED_PLACES else None
    if asked["relation"] in ("left", "right"):
        made["relation"] = "left" if of[0][0]["x"] < of[1][0]["x"] else "right"
    elif asked["relation"]:
        made["relation"] = "above" if of[0][0]["y"] < of[1][0]["y"] else "below"
    return made


def errors(found, specification):
    """How many things of an image are not as the prompt says: objects too many or too few, colours, place, relation. 0 is success."""
    verdict = holds(found, specification)
    if verdict["success"]:
        return 0
    wanted = collections.Counter()
    for asked in specification["nouns"]:
        wanted[asked["noun"]] += asked["count"]
    there = collections.Counter(o["noun"] for o in found["objects"])
    off = sum(abs(there[noun] - wanted[noun]) for noun in there | wanted)
    for asked in specification["nouns"]:
        if asked["color"]:
            colors = [o["color"] for o in found["objects"] if o["noun"] == asked["noun"]]
            off += max(0, min(len(colors), asked["count"]) - colors.count(asked["color"]))
    return max(1, off + (not verdict["place"]) + (verdict["nouns"] and not verdict["relation"]))


class Preferences:
    """Batches of images of one prompt under that prompt and under captions that other images of it would fit better."""

    def __init__(self, state):
        self.images, self.captions, self.errors = state["images"], [], []
        self.sure = [np.flatnonzero(sure) for sure in state["sure"]]
        for prompt, found, sure in zip(state["prompts"], state["found"], self.sure):
            asked = asked_of(parse(prompt, world.GRAMMAR))
            captions = [asked]
            for i in sure:
                made = fitted(asked, found[i])
                if made and made not in captions:
                    captions.append(made)
            table = np.array([[errors(one, parse(world.caption(c, plain=True), world.GRAMMAR)) for one in found] for c in captions])
            some = [v for v, row in enumerate(table[:, sure]) if (row == 0).any() and (row > 0).any()]
            self.captions.append([captions[v] for v in some])
            self.errors.append(table[some])
        self.usable = [i for i, captions in enumerate(self.captions) if captions]
        self.tokenizer = load_tokenizer()

    def batch(self, prompts, images, captions, rng, generator):
        """-> normalised images [prompts * images, 3, 64, 64], tokens [prompts * captions, LENGTH] and errors [prompts, captions, images],
        -1 where a caption only fills up."""
        x, texts, table = [], [], np.full((prompts, captions, images), -1)
        for row, i in enumerate(rng.choice(self.usable, prompts)):
            v = rng.permutation(len(self.captions[i]))[:captions]
            # Half of the images right under the first caption, where there are as many.
            of_first = self.errors[i][v[0], self.sure[i]]
            right, wrong = (rng.permutation(self.sure[i][of_first == 0]), rng.permutation(self.sure[i][of_first > 0]))
            few = min(len(right), max(images // 2, images - len(wrong)))
            n = np.concatenate([right[:few], wrong[:images - few]])
            n = np.concatenate([n, rng.choice(n, images - len(n))]).astype(int)
            # A mirror exchanges left and right, of which only relations speak.
            mirror = rng.random() < 0.5 and not any(c["relation"] for c in self.captions[i])
            x.append(self.images[i, n, :, ::-1] if mirror else self.images[i, n])
            table[row, :len(v)] = self.errors[i][v][:, n]
            texts += [world.caption(self.captions[i][k], rng, plain=rng.random() < 0.7) for k in v] + [""] * (captions - len(v))
        x = torch.from_numpy(np.concatenate(x)).permute(0, 3, 1, 2).float() / 255
        tokens = self.tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")["input_ids"]
        return pictures.normalise(pictures.imperfect(shifted(x, rng), generator, 0.3)), tokens, torch.from_numpy(table)


def shifted(x, rng, most=3):
    """Every image moved by up to `most` pixels; what stands where relative to the rest stays."""
    padded = F.pad(x, (most,) * 4, mode="replicate")
    down, right = rng.integers(0, 2 * most + 1, (2, len(x)))
    return torch.stack([one[:, d:d + x.shape[2], r:r + x.shape[3]] for one, d, r in zip(padded, down, right)])


def pairwise_loss(scores, errors):
    """Bradley-Terry over the last dimension: fewer errors should score higher. Pairs of two wrong ones count a quarter."""
    better = (errors[..., :, None] >= 0) & (errors[..., :, None] < errors[..., None, :])
    weight = better * torch.where(errors[..., :, None] == 0, 1.0, 0.25)
    return (weight * F.softplus(scores[..., None, :] - scores[..., :, None])).sum() / weight.sum().clamp(min=1)


def preference_loss(cosine, errors, scale, threshold):
    """cosine and errors [prompts, captions, images] -> the loss, and how often a right image scores above a wrong one.

    Three questions: which image fits a caption, which caption fits an image, and whether an image is right at all, which gives
    the cosine a meaning across prompts: above `threshold` an image is more likely right than wrong.
    """
    scores, known = scale * cosine, errors >= 0
    right = (errors == 0).float()
    loss = pairwise_loss(scores, errors) + 0.5 * pairwise_loss(scores.transpose(1, 2), errors.transpose(1, 2))
    loss = loss + 0.5 * F.binary_cross_entropy_with_logits((scores - scale * threshold)[known], right[known])
    pairs = (errors[..., :, None] == 0) & (errors[..., None, :] > 0)
    return loss, (scores[..., :, None] > scores[..., None, :])[pairs].float().mean()


def noise(index):
    """The noises of prompt number `index`, [IMAGES, 4, 16, 16]."""
    return torch.randn(IMAGES, 4, 16, 16, generator=torch.Generator().manual_seed(6_100_000 + index))


def generate(count):
    """Images for the first `count` prompts, by the distilled model; saves often and goes on from there."""
    folder = MODEL.with_name("emoji-64-turbo")
    steps = json.loads((folder / "noisefind.json").read_text())["num_inference_steps"]
    generator = Generator(UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32), steps, 1)
    autoencoder = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).to(memory_format=torch.channels_last)
    texts, images = prompts(np.random.default_rng(61), count), []
    if PATH.exists():
        images = list(torch.load(PATH, weights_only=False)["images"])
    for at in range(len(images), count):
        z = generator.path(noise(at), [texts[at]] * IMAGES)[:, -1]
        with torch.no_grad():
            x = autoencoder.decode(z.contiguous(memory_format=torch.channels_last), return_dict=False)[0]
        images.append((((x + 1) / 2).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy())
        if (at + 1) % 25 == 0 or at + 1 == count:
            save_atomically(dict(prompts=texts[:at + 1], images=np.stack(images)), PATH)
            print(f"{at + 1} of {count} prompts", flush=True)


def label():
    """What the annotator finds in every image that it has not read yet, and whether that is sure."""
    annotator, state, before = Annotator(), torch.load(PATH, weights_only=False), labelled()
    found, sure = (list(before["found"]), list(before["sure"])) if before else ([], [])
    for images in state["images"][len(found):]:
        read, certain = annotator.annotate(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
        found.append(read)
        sure.append(certain)
    save_atomically(dict(state, found=found, sure=np.array(sure)), LABELLED)
    right = [errors(one, parse(prompt, world.GRAMMAR)) == 0 for prompt, row in zip(state["prompts"], found) for one in row]
    print(f"{len(found)} prompts: {np.mean(right):.3f} right, {np.mean(sure):.3f} sure")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1200)
    a = parser.parse_args()
    generate(a.prompts)
    label()


if __name__ == "__main__":
    main()
