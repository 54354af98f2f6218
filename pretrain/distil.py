"""Distils the default model into a few steps without the guidance pass.

The student starts as the teacher's UNet and learns the teacher's path itself: from the latents at one of its own times, the v
whose single DDIM step ends where the teacher's guided steps end (the target of progressive distillation, Salimans and Ho 2022,
with guidance folded in). The map from noise to image is therefore the teacher's, failures included. Text encoder, autoencoder
and schedule of noise are unchanged.
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler

from . import trajectories
from .common import WORK, Average, Clock, Curve, device, save_atomically
from .diffusion import SCHEDULER


class Schedule:
    """The student's times, and for each the points of the teacher's path where its step begins and ends."""

    def __init__(self, steps):
        if trajectories.STEPS % steps:
            raise SystemExit(f"--steps {steps}: expected a divisor of the teacher's {trajectories.STEPS} steps")
        scheduler = DDIMScheduler(**SCHEDULER)
        scheduler.set_timesteps(steps)
        self.steps, self.stride, self.times = steps, trajectories.STEPS // steps, scheduler.timesteps
        # As DDIMScheduler.step takes them: the time before is found by an integer division.
        before = self.times - scheduler.config.num_train_timesteps // steps
        abar = scheduler.alphas_cumprod
        self.abar = abar[self.times]
        self.abar_after = torch.where(before >= 0, abar[before.clamp(min=0)], scheduler.final_alpha_cumprod)

    def _coefficients(self, k):
        """cos and sin of both ends of step k [n], as [n, 1, 1, 1]."""
        return (y[k][:, None, None, None] for y in (self.abar.sqrt(), (1 - self.abar).sqrt(), self.abar_after.sqrt(), (1 - self.abar_after).sqrt()))

    def velocity(self, x, after, k):
        """The v with which step k [n] leads from x to `after`, [n, 4, 16, 16]."""
        a, s, b, r = self._coefficients(k)
        return (after - (b * a + r * s) * x) / (r * a - b * s)

    def advance(self, x, v, k):
        """Where step k [n] leads from x with v."""
        a, s, b, r = self._coefficients(k)
        return (b * a + r * s) * x + (r * a - b * s) * v


class Paths:
    """Every shard of paths among `indices` that exists, in memory as f32; `refresh` picks up new ones. Long paths stand first."""

    def __init__(self, schedule, text, indices):
        self.schedule, self.text, self.indices, self.shards = schedule, text, indices, {}
        self.refresh()

    def refresh(self):
        new = [i for i in self.indices if i not in self.shards and trajectories.shard_path(i).exists()]
        if not new:
            return
        for index in new:
            state = torch.load(trajectories.shard_path(index))
            points = state["points"][:, ::self.schedule.stride]
            self.shards[index] = points, self.text.embed(state["texts"]).cpu()
        shards = sorted(self.shards.values(), key=lambda shard: -shard[0].shape[1])
        self.embedded = torch.cat([embedded for _, embedded in shards])
        self.points = torch.cat([F.pad(points, (0, 0, 0, 0, 0, 0, 0, self.schedule.steps + 1 - points.shape[1])) for points, _ in shards])
        # How many paths reach the end of each step.
        self.reaching = torch.tensor([sum(len(points) for points, _ in shards if points.shape[1] > k + 1) for k in range(self.schedule.steps)])

    def batch(self, size, generator):
        """`size` pairs -> latents before the step, at its beginning and at its end, embedded captions, step indices.

        The first step is taken twice as often as the last, with a line between: there guidance does most and the loss falls longest.
        """
        u = (torch.arange(size) + torch.rand(size, generator=generator)) / size
        k = (torch.searchsorted(torch.linspace(2, 1, self.schedule.steps).cumsum(0), u * 1.5 * self.schedule.steps)).clamp(max=self.schedule.steps - 1)
        index = (torch.rand(size, generator=generator) * self.reaching[k]).long()
        return self.points[index, (k - 1).clamp(min=0)], self.points[index, k], self.points[index, k + 1], self.embedded[index], k


def velocities(unet, schedule, x, text, k):
    return unet(x.to(device()).contiguous(memory_format=torch.channels_last), schedule.times[k].to(device()), text.to(device()), return_dict=False)[0]


def losses(unet, schedule, x, after, text, k):
    """Mean squared error of v, one a pair."""
    return F.mse_loss(velocities(unet, schedule, x, text, k), schedule.velocity(x, after, k).to(device()), reduction="none").mean((1, 2, 3))


@torch.no_grad()
def arrived(unet, schedule, before, x, text, k, chosen):
    """x, and for the `chosen` pairs the student's own step towards it, which later steps have to live with."""
    chosen = chosen & (k > 0)
    if not chosen.any():
        return x
    own = velocities(unet, schedule, before[chosen], text[chosen], k[chosen] - 1).cpu()
    x = x.clone()
    x[chosen] = schedule.advance(before[chosen], own, k[chosen] - 1)
    return x


@torch.no_grad()
def held_out(unet, schedule, paths, text, steps):
    """-> error of v a step on the teacher's path, and error of the latents at the end of the student's own path."""
    n = len(paths.points)
    by_step = [losses(unet, schedule, paths.points[:, i], paths.points[:, i + 1], paths.embedded, torch.full((n,), i)).mean().item() for i in range(steps)]
    z = paths.points[:, 0]
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        z = scheduler.step(unet(z.to(device()), t, paths.embedded.to(device()), return_dict=False)[0].cpu(), t, z).prev_sample
    return by_step, F.mse_loss(z, paths.points[:, -1]).item()


def checkpoint(steps):
    return WORK / f"distilled-{steps}.pt"


def averaged_unet(steps):
    unet = trajectories.default_unet()
    unet.load_state_dict(torch.load(checkpoint(steps), map_location="cpu")["average"]["values"])
    return unet.eval()


def train(a):
    torch.manual_seed(3)
    path, schedule, text = checkpoint(a.steps), Schedule(a.steps), trajectories.Text()
    if a.start and not path.exists():
        unet = averaged_unet(a.start)
    else:
        unet = trajectories.default_unet()
    unet = unet.to(device(), memory_format=torch.channels_last).train()
    average = Average(unet, a.average)
    optimiser = torch.optim.AdamW(unet.parameters(), a.lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    step, samples, before = 0, 0, 0.0
    if path.exists() and not a.trial:
        state = torch.load(path, map_location=device())
        unet.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, samples, before = state["step"], state["samples"], state["seconds"]
    generator = torch.Generator().manual_seed(3 + step)
    paths = Paths(schedule, text, range(trajectories.HELD_OUT))
    test = Paths(schedule, text, [trajectories.HELD_OUT])
    clock = Clock(before, processor=device().type == "cpu")
    curve = Curve(WORK / (f"trial-{a.trial}.csv" if a.trial else f"distil-{a.steps}.csv"),
                  ["seconds", "samples", "paths", "whole_paths", "loss", "held_out_loss", "held_out_end_error", "lr"])
    watched, saved, measured = [], time.time(), 0.0

    def save():
        if not a.trial:
            save_atomically(dict(model=unet.state_dict(), average=average.state_dict(), optimiser=optimiser.state_dict(),
                                 step=step, samples=samples, seconds=clock.seconds()), path)

    def measure():
        probe = trajectories.default_unet().to(device(), memory_format=torch.channels_last)
        probe.load_state_dict(average.values)
        by_step, end = held_out(probe, schedule, test, text, a.steps)
        trained = torch.stack(watched).nanmean(0).tolist() if watched else [float("nan")] * a.steps
        curve.add(clock.seconds(), samples, len(paths.points), int(paths.reaching[-1]), float(np.mean(trained)), float(np.mean(by_step)), end, lr)
        print(f"{clock.seconds():.0f} s, {samples} samples of {len(paths.points)} paths, loss {' '.join(f'{e:.4f}' for e in trained)}, held out "
              f"{' '.join(f'{e:.4f}' for e in by_step)}, end {end:.4f}", flush=True)
        watched.clear()

    while True:
        progress = clock.seconds() / (60 * a.minutes)
        lr = a.lr * min(1, (step + 1) / 50) * min(1, max(0.01, (1 - progress) / (1 - a.decay_from)))
        if progress >= 1:
            break
        if clock.seconds() >= measured:
            measure()
            measured = clock.seconds() + a.measure
            paths.refresh()
        for group in optimiser.param_groups:
            group["lr"] = lr
        before_x, x, after, embedded, k = paths.batch(a.batch, generator)
        x = arrived(unet, schedule, before_x, x, embedded, k, torch.rand(len(k), generator=generator) < a.own)
        loss = losses(unet, schedule, x, after, embedded, k)
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(unet)
        watched.append(torch.zeros(a.steps).index_add(0, k, loss.detach().cpu()) / torch.bincount(k, minlength=a.steps))
        step, samples = step + 1, samples + a.batch
        if time.time() - saved > 180:
            save()
            saved = time.time()
    measure()
    save()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--shards", type=int, default=17, help="shards of 64 teacher's paths")
    parser.add_argument("--short-shards", type=int, default=40, help="shards of paths that end after the first third")
    parser.add_argument("--paths", type=int, default=trajectories.PATHS, help="paths a shard")
    parser.add_argument("--minutes", type=float, default=50, help="training, without the teacher's paths; processor minutes where there is no GPU")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--own", type=float, default=0.3, help="share of pairs that begin where the student's own step before arrives")
    parser.add_argument("--average", type=float, default=0.99)
    parser.add_argument("--decay-from", type=float, default=0.4, help="share of the run after which the rate falls to zero")
    parser.add_argument("--start", type=int, help="start from the student of this many steps instead of the teacher")
    parser.add_argument("--measure", type=float, default=240, help="seconds between measurements on held-out paths")
    parser.add_argument("--trial", help="compare settings only: save nothing, load nothing, write trial-NAME.csv")
    a = parser.parse_args()
    short = range(trajectories.SHORT, trajectories.SHORT + a.short_shards)
    trajectories.make_shards([trajectories.HELD_OUT, *range(a.shards), *short], a.paths)
    train(a)


if __name__ == "__main__":
    main()
