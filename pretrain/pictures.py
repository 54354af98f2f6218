"""Pictures with their truth for the scorer and the judge: scenes, some drawn over by the denoiser, made imperfect.

Both networks meet pictures that the diffusion model drew: soft, slightly off in colour, with the autoencoder's traces. The
augmentations here imitate that; each network has its own seed, its own pool and its own strengths.
"""

import numpy as np
import torch
import torch.nn.functional as F

from . import twins, vae, world
from .common import SCENES, WORK, save_atomically
from .muon import WORKING

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


KINDS = dict(single=0.3, pair=0.25, count=0.25, relation=0.2)


def scenes(rng, count, kinds=KINDS):
    """Mostly even over colours and places, partly the skewed world, so that neither prior wins."""
    return [world.sample(rng, kind=world.choose(rng, list(kinds), list(kinds.values())), uniform=rng.random() < 0.8) for _ in range(count)]


def pool(name, seed, truths_of, redraw, painter):
    """Scenes that the denoiser drew over; made once a network. -> list of truths, uint8 [n, 64, 64, 3]

    `truths_of(rng, count)` makes the scenes, `redraw` turns their latents into latents of the same scenes in its own hand.
    """
    path = WORK / f"pool-{name}.pt"
    if not path.exists():
        rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        model = vae.load_average(WORKING).to(memory_format=torch.channels_last)
        truths, images = truths_of(rng, SCENES), []
        with torch.no_grad():
            for i in range(0, SCENES, 64):
                x = torch.from_numpy(np.stack([painter.draw(s, rng) for s in truths[i:i + 64]])).permute(0, 3, 1, 2)
                z = model.quant_conv(model.encoder(x.to(WORKING).div(127.5).sub(1).to(memory_format=torch.channels_last)))[:, :4]
                z = redraw(z.float(), truths[i:i + 64], generator)
                y = model.decoder(model.post_quant_conv(z.to(WORKING))).float()
                images.append(((y + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu())
        save_atomically(dict(truths=truths, images=torch.cat(images)), path)
    state = torch.load(path, weights_only=False)
    return state["truths"], state["images"].numpy()


def imperfect(x, generator, strength=1.0):
    """x in 0..1, [n, 3, 64, 64]: blur, colour jitter, low-frequency stains and fine noise, each on some of the pictures."""
    n = len(x)
    r = lambda *shape: torch.rand(*shape, generator=generator)
    some = lambda p: (r(n, 1, 1, 1) < p).float()
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    coarse = F.interpolate(F.interpolate(x, scale_factor=0.5, mode="area"), scale_factor=2, mode="bilinear", align_corners=False)
    m = some(0.35 * strength) * r(n, 1, 1, 1)
    x = x * (1 - m) + blurred * m
    m = some(0.2 * strength) * r(n, 1, 1, 1)
    x = x * (1 - m) + coarse * m
    x = x * (1 + 0.16 * strength * (r(n, 3, 1, 1) - 0.5)) + 0.10 * strength * (r(n, 3, 1, 1) - 0.5)
    stains = F.interpolate(torch.randn(n, 3, 8, 8, generator=generator), size=64, mode="bilinear", align_corners=False)
    x = x + some(0.5) * 0.05 * strength * r(n, 1, 1, 1) * stains
    x = x + some(0.5) * 0.04 * strength * r(n, 1, 1, 1) * torch.randn(x.shape, generator=generator)
    return x.clamp(0, 1)


class Source:
    """Batches of (truths, normalised pictures); a third comes from the pool. With `twin` they come in pairs of twins."""

    def __init__(self, name, seed, strength, run_seed, redraw, kinds=KINDS, twin=False):
        self.painter, self.strength, self.together = world.Painter(), strength, 2 if twin else 1
        self.truths_of = lambda rng, count: twins.pairs(scenes(rng, count // 2, kinds), rng) if twin else scenes(rng, count, kinds)
        self.truths, self.images = pool(name, seed, self.truths_of, redraw, self.painter)
        self.rng, self.generator = np.random.default_rng(run_seed), torch.Generator().manual_seed(run_seed)

    def batch(self, count):
        pooled = count // 3 // self.together
        fresh = self.truths_of(self.rng, count - pooled * self.together)
        picks = self.rng.integers(len(self.truths) // self.together, size=pooled)
        picks = [int(i) * self.together + k for i in picks for k in range(self.together)]
        truths = fresh + [self.truths[i] for i in picks]
        images = [self.painter.draw(s, self.rng) for s in fresh] + [self.images[i] for i in picks]
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        return truths, normalise(imperfect(x, self.generator, self.strength))


def normalise(x):
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
