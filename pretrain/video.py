"""Trains the video model on clips: temporal layers from scratch, spatial layers and text encoder gently on from the still model.

    python -m pretrain.video --minutes 90

It makes its own clips as it needs them, saves every two minutes and resumes; `--minutes` counts the processor minutes of all runs.
"""

import argparse
import math
import time

import torch
import torch.nn.functional as F

from . import diffusion, video_latents, video_model
from .clips import MOTIONS
from .common import WORK, Average, Clock, Curve, save_atomically
from .muon import Muon

PATH = WORK / "video.pt"


def draw_timesteps(count, generator):
    """Stratified and dense at high noise, where motion and layout are decided; what follows the still model knows already."""
    u = ((torch.arange(count) + torch.rand(count, generator=generator)) / count).clamp(1e-5, 1 - 1e-5)
    high = torch.sigmoid(1.2 + 1.1 * math.sqrt(2) * torch.erfinv(2 * u - 1))
    chosen = torch.where(torch.rand(count, generator=generator) < 0.2, torch.rand(count, generator=generator), high)
    return (chosen * 1000).long().clamp(0, 999)


def losses(model, abar, clean, tokens, noise, t):
    a, s = (y[:, None, None, None, None] for y in (abar[t].sqrt(), (1 - abar[t]).sqrt()))
    v = model(tokens, a * clean + s * noise, t)
    return F.mse_loss(v, a * noise - s * clean, reduction="none").mean((1, 2, 3, 4))


def averaged():
    model = video_model.VideoDenoiser()
    model.load_state_dict(torch.load(PATH, map_location="cpu")["average"]["values"], strict=True)
    return model.eval()


def optimisers(model, a):
    """The new layers' optimiser and those of the old ones, which move less."""
    named = [(k, p) for k, p in model.named_parameters() if "transformer_in" not in k]
    temporal = [(k, p) for k, p in named if video_model.is_temporal(k)]
    spatial = [(k, p) for k, p in named if k.startswith("unet") and not video_model.is_temporal(k)]
    text = [(k, p) for k, p in named if k.startswith("text_encoder")]
    made = [Muon(part, lr, adam_only=diffusion.ADAM_ONLY) for part, lr in ((temporal, a.lr), (spatial, a.lr * a.spatial), (text, a.lr * a.text))]
    return made, [a.lr, a.lr * a.spatial, a.lr * a.text]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--spatial", type=float, default=0.15, help="rate of the spatial layers as a share of --lr")
    parser.add_argument("--text", type=float, default=0.4, help="rate of the text encoder as a share of --lr")
    parser.add_argument("--average", type=float, default=0.99)
    parser.add_argument("--decay-from", type=float, default=0.6, help="share of the minutes after which the rates fall to zero")
    parser.add_argument("--epochs", type=float, default=5, help="how often a clip is used before new ones are made")
    parser.add_argument("--shard", type=int, default=video_latents.CLIPS, help="clips a shard")
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    torch.manual_seed(5)
    torch.set_num_threads(a.threads)
    model = video_model.inflated().eval()
    average = Average(model, a.average)
    steppers, rates = optimisers(model, a)
    step, samples, before = 0, 0, 0.0
    if PATH.exists():
        state = torch.load(PATH, map_location="cpu")
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for stepper, kept in zip(steppers, state["optimisers"]):
            stepper.load_state_dict(kept)
        step, samples, before = state["step"], state["samples"], state["seconds"]
    # A silent `transformer_in` is left out while training and put back into the checkpoint.
    silent = model.unet.transformer_in
    video_model.make_fast(model.unet)
    generator = torch.Generator().manual_seed(5 + step)
    abar = diffusion.alpha_products()
    clock = Clock(before, processor=True)
    source = video_latents.Source(a.shard)
    curve = Curve(WORK / "video.csv", ["seconds", "samples", "clips", "loss", "loss_below_500", "loss_500_to_800", "loss_above_800", *(f"loss_{m}" for m in MOTIONS), "lr"])
    marks, saved, began = [], time.time(), time.time()

    def whole():
        return {**model.state_dict(), **{f"unet.transformer_in.{k}": v for k, v in silent.state_dict().items()}}

    def save():
        save_atomically(dict(model=whole(), average=average.state_dict(), optimisers=[o.state_dict() for o in steppers],
                             step=step, samples=samples, seconds=clock.seconds()), PATH)

    while clock.seconds() < 60 * a.minutes:
        if source.size * a.epochs <= samples:
            source.grow()
        progress = clock.seconds() / (60 * a.minutes)
        rate = min(1, (step + 1) / 20) * min(1, max(0.01, (1 - progress) / (1 - a.decay_from)))
        for stepper, lr in zip(steppers, rates):
            for group in stepper.param_groups:
                group["lr"] = lr * rate
        clean, tokens, motions = source.batch(a.batch, generator)
        tokens = torch.where(torch.rand(a.batch, 1, generator=generator) < 0.1, source.empty_tokens, tokens)
        t = draw_timesteps(a.batch, generator)
        loss = losses(model, abar, clean, tokens, torch.randn(clean.shape, generator=generator), t)
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        average.update(model)
        step, samples = step + 1, samples + a.batch
        marks.append((t, loss.detach(), motions))
        if step % 20 == 0:
            t_all, l_all, m_all = (torch.cat(part) for part in zip(*marks))
            by_noise = [l_all[(t_all >= low) & (t_all < high)].mean().item() for low, high in ((0, 500), (500, 800), (800, 1000))]
            by_motion = [l_all[m_all == i].mean().item() for i in range(len(MOTIONS))]
            curve.add(clock.seconds(), samples, source.size, l_all.mean().item(), *by_noise, *by_motion, a.lr * rate)
            print(f"{clock.seconds():.0f} processor s ({time.time() - began:.0f} s by the clock), {samples} samples of {source.size} clips, loss {l_all.mean():.4f}, "
                  f"by noise {' '.join(f'{v:.3f}' for v in by_noise)}, by motion {' '.join(f'{v:.3f}' for v in by_motion)}", flush=True)
            marks = []
        if time.time() - saved > 120:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
