"""Checks of the world of motions, the inflation and the judge of clips: `python -m pretrain.video_check` fails where one does not hold."""

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from . import clips, video_model, video_tokenizer, world
from .common import MODEL
from .video_judge import ClipReader, asked_motion


def check(name, holds, found):
    print(f"{'ok' if holds else 'FAILED'}: {name}: {found}", flush=True)
    if not holds:
        raise SystemExit(1)


def check_world(count=2000):
    rng, tokenizer = np.random.default_rng(1), video_tokenizer.load()
    truths = [clips.sample(rng, noisy=True) for _ in range(count)]
    inside = all((t["paths"] >= o["size"] // 2).all() and (t["paths"] <= world.SIDE - o["size"] // 2).all() for t in truths for o in t["objects"])
    check("objects stay inside the picture", inside, inside)
    moves = {m: np.mean([t["paths"][0][-1] - t["paths"][0][0] for t in truths if t["motion"] == m], 0) for m in clips.MOTIONS}
    right = moves["right"][0] > 25 and moves["left"][0] < -25 and moves["down"][1] > 25 and moves["up"][1] < -25 and not moves["still"].any()
    check("motions go their way", right, {m: v.round(1).tolist() for m, v in moves.items()})
    natural = np.mean([t["motion"] == clips.NATURAL[t["asked"]["nouns"][0]] for t in truths])
    check("natural motions dominate", 0.7 < natural < 0.9, natural)
    odd = [t for t in truths if t["asked"]["motion"] not in (None, clips.NATURAL[t["asked"]["nouns"][0]])]
    wrong = np.mean([t["motion"] != t["asked"]["motion"] for t in odd])
    check("captions of odd motions are often wrong", 0.3 < wrong < 0.5, wrong)
    captions = [clips.caption(t["asked"], rng) for t in truths]
    longest = max(len(ids) for ids in tokenizer(captions)["input_ids"])
    check("captions fit the text encoder", longest <= video_tokenizer.LENGTH, longest)
    misread = [c for c, t in zip(captions, truths) if asked_motion(c) != t["asked"]["motion"]]
    check("the judge reads the motion of every caption", not misread, misread[:3])


@torch.no_grad()
def check_inflation():
    """A silent video model is the still model frame by frame, but for what narrower heads leave out of the attention scores."""
    torch.manual_seed(1)
    model = video_model.inflated().eval()
    still = UNet2DConditionModel.from_pretrained(MODEL / "unet", torch_dtype=torch.float32).eval()
    tokens = video_tokenizer.load()(["a green dog on the moon"], padding="max_length", max_length=video_tokenizer.LENGTH, return_tensors="pt")["input_ids"]
    text, x = model.text_encoder(tokens).last_hidden_state, torch.randn(1, 4, clips.FRAMES, 16, 16)
    for t in (100, 500, 900):
        made = model.unet(x, t, text).sample
        wanted = torch.stack([still(x[:, :, i], t, text).sample for i in range(clips.FRAMES)], 2)
        error = ((made - wanted).square().mean() / wanted.square().mean()).item()
        check(f"inflated equals still at t = {t} to 3 % of its power", error < 0.03, error)
    # A temporal layer that speaks, so that the comparison is not one of zeros.
    for name, p in model.unet.named_parameters():
        if "temp_convs" in name and name.endswith(video_model.LAST):
            torch.nn.init.normal_(p, std=0.02)
    slow = model.unet(x, 700, text).sample
    fast = video_model.make_fast(model.unet)(x, 700, text).sample
    error = (slow - fast).abs().max().item()
    check("the fast form computes the same", error < 1e-4, error)


def check_judge(count=60):
    rng, painter, reader = np.random.default_rng(4), world.Painter(), ClipReader()
    right, exchanged = [], []
    for _ in range(count):
        motion = clips.MOTIONS[rng.integers(len(clips.MOTIONS))]
        truth = clips.sample(rng, uniform=True, kind="single", motion=motion)
        asked = dict(truth["asked"], motion=motion)
        frames = torch.from_numpy(clips.draw(painter, truth, rng)).permute(0, 3, 1, 2).float() / 255
        right.append(reader.verdict(frames, clips.caption(asked, plain=True))["success"])
        other = [m for m in clips.MOTIONS if m != motion][rng.integers(len(clips.MOTIONS) - 1)]
        exchanged.append(reader.verdict(frames, clips.caption(dict(asked, motion=other), plain=True))["success"])
    check("the judge accepts rendered clips", np.mean(right) > 0.85, np.mean(right))
    check("the judge refuses another motion", np.mean(exchanged) < 0.02, np.mean(exchanged))


if __name__ == "__main__":
    torch.set_num_threads(1)
    check_world()
    check_inflation()
    check_judge()
