"""Trains the text encoder and the denoiser together on latents, v-prediction, with classifier-free dropout."""

import argparse
import copy
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel

from . import latents
from .common import WORK, Average, Clock, Curve, device, save_atomically
from .muon import Muon
from .tokenizer import LENGTH, load as load_tokenizer

PATH = WORK / "diffusion.pt"
TEXT_WIDTH = 192
ADAM_ONLY = ("embedding", "conv_in", "conv_out")
# Thin where there are many positions, wide where there are few: the time goes into large matrix products.
UNET = dict(
    sample_size=16, in_channels=4, out_channels=4, block_out_channels=(64, 192), layers_per_block=1,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    transformer_layers_per_block=1, attention_head_dim=4, cross_attention_dim=TEXT_WIDTH, use_linear_projection=True, norm_num_groups=16,
)
SCHEDULER = dict(
    num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
    set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction", timestep_spacing="trailing",
)


class Denoiser(torch.nn.Module):
    """Tokens and noisy latents in, v out."""

    def __init__(self, vocabulary, end):
        super().__init__()
        self.text_encoder = CLIPTextModel(CLIPTextConfig(
            vocab_size=vocabulary, hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH, num_hidden_layers=3, num_attention_heads=4,
            max_position_embeddings=LENGTH, hidden_act="quick_gelu", projection_dim=TEXT_WIDTH,
            bos_token_id=end - 1, eos_token_id=end, pad_token_id=end, attn_implementation="eager"))
        self.unet = UNet2DConditionModel(**UNET)
        # Plain matrix products: the fused attention of PyTorch is several times slower backwards at 64 positions on a processor.
        self.unet.set_attn_processor(AttnProcessor())
        # Every residual branch starts silent, so that the first steps are spent on learning and not on undoing noise.
        for name, p in self.unet.named_parameters():
            if name.endswith(("conv2.weight", "proj_out.weight", "to_out.0.weight", "ff.net.2.weight", "conv_out.weight")):
                torch.nn.init.zeros_(p)

    def forward(self, tokens, noisy, timesteps):
        text = self.text_encoder(tokens).last_hidden_state
        return self.unet(noisy, timesteps, text, return_dict=False)[0]


def new_model():
    tokenizer = load_tokenizer()
    return Denoiser(len(tokenizer), tokenizer.eos_token_id)


def alpha_products():
    return DDIMScheduler(**SCHEDULER).alphas_cumprod


def draw_timesteps(count, generator):
    """Stratified, and denser in the middle, where layout and colour are decided."""
    u = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    centred = torch.sigmoid(0.3 + 1.3 * math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.99999, 0.99999)))
    chosen = torch.where(torch.rand(count, generator=generator) < 0.3, torch.rand(count, generator=generator), centred)
    return (chosen * 1000).long().clamp(0, 999)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--samples", type=int, default=4_000_000, help="stop here if it comes before the minutes")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--decay-from", type=float, default=0.6, help="share of the run after which the rate falls to zero")
    parser.add_argument("--optimiser", choices=["muon", "adam"], default="muon")
    parser.add_argument("--trial", action="store_true", help="time and compare only: save nothing, load nothing")
    a = parser.parse_args()
    torch.manual_seed(2)
    dev = device()
    generator = torch.Generator().manual_seed(time.time_ns() % 2**31 if PATH.exists() else 2)
    master = new_model().to(dev)
    average = Average(master, 0.9985)
    if a.optimiser == "muon":
        optimiser = Muon(master.named_parameters(), a.lr, adam_only=ADAM_ONLY)
    else:
        optimiser = torch.optim.AdamW(master.parameters(), a.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    step, samples, before = 0, 0, 0.0
    if PATH.exists() and not a.trial:
        state = torch.load(PATH, map_location=dev)
        master.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, samples, before = state["step"], state["samples"], state["seconds"]
    # The working copy is bf16 throughout; the master copy keeps the small updates that bf16 would round away.
    model = copy.deepcopy(master).to(torch.bfloat16).to(memory_format=torch.channels_last)
    model.train()
    masters, workers = list(master.parameters()), list(model.parameters())
    abar = alpha_products().to(dev)

    @torch.compile
    def loss_of(tokens, clean, noise, t):
        a_, s_ = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
        v = model(tokens, (a_ * clean + s_ * noise).bfloat16(), t).float()
        return F.mse_loss(v, a_ * noise - s_ * clean, reduction="none").mean((1, 2, 3))

    def save():
        if not a.trial:
            save_atomically(dict(model=master.state_dict(), average=average.state_dict(), optimiser=optimiser.state_dict(),
                                 step=step, samples=samples, seconds=clock.seconds()), PATH)

    source = latents.Store(dev)
    empty = source.empty_tokens
    columns = ["seconds", "samples", "loss", "loss_low_noise", "loss_middle", "loss_high_noise", "lr"]
    curve = Curve(WORK / (f"trial-{a.optimiser}.csv" if a.trial else "diffusion.csv"), columns)
    clock, saved, marks = Clock(before), time.time(), []
    while True:
        progress = max(clock.seconds() / (60 * a.minutes), samples / a.samples)
        if progress >= 1:
            break
        lr = a.lr * min(1, (step + 1) / 150) * min(1, max(0.01, (1 - progress) / (1 - a.decay_from)))
        for group in optimiser.param_groups:
            group["lr"] = lr
        clean, tokens = source.batch(a.batch, generator)
        tokens = torch.where((torch.rand(a.batch, 1, generator=generator) < 0.1).to(dev), empty, tokens)
        t = draw_timesteps(a.batch, generator).to(dev)
        noise = torch.randn(clean.shape, generator=generator).to(dev).to(memory_format=torch.channels_last)
        losses = loss_of(tokens, clean, noise, t)
        losses.mean().backward()
        for m, w in zip(masters, workers):
            m.grad = None if w.grad is None else w.grad.float()
            w.grad = None
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_copy_(workers, masters)
        if step % 4 == 0:
            average.update(master)
        step, samples = step + 1, samples + a.batch
        marks.append((t.cpu(), losses.detach().cpu()))
        if step % 50 == 0:
            t_all, l_all = torch.cat([m[0] for m in marks]), torch.cat([m[1] for m in marks])
            parts = [l_all[(t_all >= lo) & (t_all < hi)].mean().item() for lo, hi in ((0, 333), (333, 667), (667, 1000))]
            curve.add(clock.seconds(), samples, l_all.mean().item(), *parts, lr)
            print(f"{clock.seconds():.0f} s, {samples} samples, loss {l_all.mean():.4f}, by noise {parts[0]:.3f} {parts[1]:.3f} {parts[2]:.3f}, "
                  f"scenes {source.count}", flush=True)
            marks = []
            source.refresh()
        if time.time() - saved > 180:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
