"""Paths, devices and the few training helpers that every program of this folder shares."""

import json
import os
import time
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "models" / "emoji-64"
# Everything that can be made again (renderings, latents, checkpoints, logs) stays out of the repository.
WORK = Path(os.environ.get("NOISEFIND_PRETRAIN_WORK", HERE / "work"))
WORK.mkdir(parents=True, exist_ok=True)
# Scenes in a shard of latents and in the pool of a scorer or a judge.
SCENES = int(os.environ.get("NOISEFIND_SCENES", 8192))


def device():
    """CUDA when there is one; the same programs run on a processor, only longer."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def world_file(name):
    return json.loads((HERE / "world" / name).read_text())


def save_atomically(state, path):
    """A kill during saving must leave the previous checkpoint readable."""
    path = Path(path)
    temporary = path.with_suffix(path.suffix + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


class Average:
    """Exponential moving average of the parameters, with a short memory at the start."""

    def __init__(self, model, decay):
        self.decay, self.steps = decay, 0
        self.values = {k: v.detach().clone().float() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for k, v in model.state_dict().items():
            if v.dtype.is_floating_point:
                self.values[k].lerp_(v.detach().float(), 1 - decay)
            else:
                self.values[k].copy_(v)

    def state_dict(self):
        return {"values": self.values, "steps": self.steps}

    def load_state_dict(self, state):
        self.values, self.steps = state["values"], state["steps"]


class Curve:
    """Appends rows to a CSV file, so that a curve survives a kill."""

    def __init__(self, path, columns):
        self.path = Path(path)
        if not self.path.exists():
            self.path.write_text(",".join(columns) + "\n")

    def add(self, *values):
        with self.path.open("a") as f:
            f.write(",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values) + "\n")


class Clock:
    """Seconds of training, summed over restarts; processor seconds where the core is shared with other work."""

    def __init__(self, before=0.0, processor=False):
        self.now = time.process_time if processor else time.time
        self.before, self.start = before, self.now()

    def seconds(self):
        return self.before + self.now() - self.start
