"""Scenes drawn over by the trained denoiser, for the scorer and the judge: their pictures will all be in its hand."""

import torch

from . import diffusion, export, latents, world
from .muon import WORKING
from .tokenizer import LENGTH, load as load_tokenizer


def described(truth):
    """A caption that says everything the picture shows, or guidance would draw what is common where it is silent."""
    shown = {o["noun"]: o["color"] for o in truth["objects"]}
    place = None if truth["place"] == world.PLAIN else truth["place"]
    return world.caption(dict(truth["asked"], colors=[shown[n] for n in truth["asked"]["nouns"]], place=place), plain=True)


class Redraw:
    """The same scenes in the denoiser's hand: latents noised to a random level and denoised again in a few guided steps.

    The levels leave what stands where, and take how it was drawn.
    """

    def __init__(self, levels, steps, guidance):
        """`levels`: the first and the last timestep that latents are noised to; from there `steps` steps."""
        self.levels, self.steps, self.guidance = levels, steps, guidance
        self.mean, self.std = (v[:, None, None] for v in latents.standardisation())
        denoiser, self.tokenizer = export.averaged_denoiser(), load_tokenizer()
        self.text_encoder, unet = denoiser.text_encoder, denoiser.unet.to(WORKING).to(memory_format=torch.channels_last)
        self.unet = torch.compile(lambda x, t, text: unet(x, t, text, return_dict=False)[0])
        self.products = diffusion.alpha_products()

    def embed(self, captions):
        tokens = self.tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")["input_ids"]
        return self.text_encoder(tokens).last_hidden_state.to(WORKING)

    @torch.no_grad()
    def __call__(self, z, truths, generator):
        """z [n, 4, 16, 16] as the autoencoder gives them -> the same"""
        z = (z - self.mean) / self.std
        text = torch.cat([self.embed([""]).expand(len(z), -1, -1), self.embed([described(t) for t in truths])])
        start = int(torch.randint(*self.levels, (), generator=generator))
        times = [round(start * (1 - k / self.steps)) for k in range(self.steps + 1)]
        root = lambda t: (self.products[t].sqrt(), (1 - self.products[t]).sqrt()) if t else (torch.tensor(1.0), torch.tensor(0.0))
        a, s = root(start)
        z = a * z + s * torch.randn(z.shape, generator=generator)
        for now, then in zip(times, times[1:]):
            both = torch.cat([z, z]).to(WORKING).contiguous(memory_format=torch.channels_last)
            without, told = self.unet(both, torch.tensor(now), text).float().chunk(2)
            v = without + self.guidance * (told - without)
            (a, s), (a_then, s_then) = root(now), root(then)
            z = a_then * (a * z - s * v) + s_then * (s * z + a * v)
        return z * self.std + self.mean
