"""Muon for the matrices, Adam for the rest, in one optimiser.

Muon (Jordan et al. 2024) replaces the momentum of a weight matrix by its nearest semi-orthogonal matrix, found with five
Newton-Schulz steps. Convolution kernels are flattened to [out, in * k * k]. The update is scaled to Adam's usual
root-mean-square, so that one learning rate serves both halves.
"""

import torch

# Half precision costs more than it saves on a processor without instructions for it.
WORKING = torch.bfloat16 if torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def orthogonalised(matrices, steps=5):
    """[n, rows, cols] -> the same shape, singular values near one."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.to(WORKING)
    wide = x.shape[1] <= x.shape[2]
    if not wide:
        x = x.transpose(1, 2)
    x = x / (x.flatten(1).float().norm(dim=1).to(WORKING)[:, None, None] + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    """`lr` is the learning rate of both halves; tensors of one dimension, embeddings and tiny matrices take Adam."""

    def __init__(self, named_parameters, lr, momentum=0.95, betas=(0.9, 0.99), weight_decay=0.01, adam_only=()):
        matrices, others = [], []
        for name, p in named_parameters:
            if not p.requires_grad:
                continue
            flat = p.flatten(1) if p.ndim > 1 else None
            small = flat is None or min(flat.shape) < 16 or any(part in name for part in adam_only)
            (others if small else matrices).append(p)
        super().__init__([dict(params=matrices, muon=True), dict(params=others, muon=False)],
                         dict(lr=lr, momentum=momentum, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            live = [p for p in group["params"] if p.grad is not None]
            if group["muon"]:
                self._muon(live, group)
            else:
                self._adam(live, group)

    def _muon(self, live, group):
        shapes = {}
        for p in live:
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 1 - group["momentum"])
            update = torch.lerp(p.grad, state["momentum"], group["momentum"])
            shapes.setdefault(tuple(p.flatten(1).shape), []).append((p, update.reshape(p.shape[0], -1)))
        for (rows, cols), entries in shapes.items():
            updates = orthogonalised(torch.stack([u for _, u in entries]))
            scale = 0.2 * max(rows, cols) ** 0.5
            for (p, _), u in zip(entries, updates):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(u.reshape(p.shape).to(p.dtype), alpha=-group["lr"] * scale)

    def _adam(self, live, group):
        first, second = group["betas"]
        for p in live:
            state = self.state[p]
            if not state:
                state["m"], state["v"], state["step"] = torch.zeros_like(p), torch.zeros_like(p), 0
            state["step"] += 1
            state["m"].lerp_(p.grad, 1 - first)
            state["v"].lerp_(p.grad * p.grad, 1 - second)
            m = state["m"] / (1 - first ** state["step"])
            v = state["v"] / (1 - second ** state["step"])
            p.addcdiv_(m, v.sqrt_().add_(1e-8), value=-group["lr"])
