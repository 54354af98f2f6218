"""Trains the autoencoder: 64x64 pictures to 16x16 latents of four channels and back."""

import argparse
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from . import world
from .common import WORK, Average, Clock, Curve, device, save_atomically
from .muon import Muon

PATH = WORK / "vae.pt"
CONFIG = dict(
    in_channels=3, out_channels=3, latent_channels=4, sample_size=64,
    down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    block_out_channels=(32, 64, 96), layers_per_block=1, norm_num_groups=16, act_fn="silu",
)


def pictures(painter, rng, count):
    """Half from the skewed world, half evenly over colours and places, so that odd colours survive the latents."""
    drawn = [painter.draw(world.sample(rng, uniform=rng.random() < 0.5), rng) for _ in range(count)]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def reconstruction_loss(output, target):
    """Pixels, plus the same at a quarter and an eighth of the side: without those, chroma is the first thing to go."""
    loss = F.l1_loss(output, target) + 2.0 * F.mse_loss(output, target)
    for side in (4, 8):
        loss = loss + 0.5 * F.l1_loss(F.avg_pool2d(output, side), F.avg_pool2d(target, side))
    return loss


def load_average(dtype=torch.float32):
    model = AutoencoderKL(**CONFIG)
    state = torch.load(PATH, map_location="cpu")
    model.load_state_dict(state["average"]["values"])
    return model.to(dtype).eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--samples", type=int, default=600_000, help="stop here if it comes before the minutes")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    a = parser.parse_args()
    torch.manual_seed(1)
    dev = device()
    rng = np.random.default_rng(time.time_ns() if PATH.exists() else 1)
    painter = world.Painter()
    model = AutoencoderKL(**CONFIG).to(dev, memory_format=torch.channels_last)
    average = Average(model, 0.998)
    optimiser = Muon(model.named_parameters(), a.lr, weight_decay=0.0)
    step, samples, before = 0, 0, 0.0
    if PATH.exists():
        state = torch.load(PATH, map_location=dev)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, samples, before = state["step"], state["samples"], state["seconds"]
    clock, curve = Clock(before), Curve(WORK / "vae.csv", ["seconds", "samples", "psnr_db", "loss", "kl_nats_per_value", "posterior_std"])

    def save():
        save_atomically(dict(model=model.state_dict(), average=average.state_dict(), optimiser=optimiser.state_dict(),
                             step=step, samples=samples, seconds=clock.seconds()), PATH)

    @torch.compile
    def forward(x):
        with torch.autocast(dev.type, torch.bfloat16):
            moments = model.quant_conv(model.encoder(x))
            mean, log_var = moments.float().chunk(2, 1)
            log_var = log_var.clamp(-12, 4)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
            y = model.decoder(model.post_quant_conv(z)).float()
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).mean()
        return y, kl, torch.exp(0.5 * log_var).mean()

    saved = time.time()
    while True:
        progress = max(clock.seconds() / (60 * a.minutes), samples / a.samples)
        if progress >= 1:
            break
        lr = a.lr * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = lr
        x = pictures(painter, rng, a.batch).to(dev, memory_format=torch.channels_last)
        y, kl, spread = forward(x)
        loss = reconstruction_loss(y, x) + 2e-4 * kl
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(model)
        step, samples = step + 1, samples + a.batch
        if step % 100 == 0:
            psnr = -10 * math.log10(F.mse_loss(y.detach(), x).item() / 4)
            curve.add(clock.seconds(), samples, psnr, loss.item(), kl.item(), spread.item())
            print(f"{clock.seconds():.0f} s, {samples} samples, {psnr:.2f} dB, loss {loss.item():.4f}, "
                  f"kl {kl.item():.2f}, posterior std {spread.item():.3f}", flush=True)
        if time.time() - saved > 90:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
