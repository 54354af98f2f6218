"""What `noisefind.tune` costs beside the pipeline and the reward that it calls.

    python bench/python/overhead.py [MODEL_FOLDER] [--evaluations 160] [--samples 32] [--repeats 5] [--threads 1] [--record FILE]

Each repeat calls the pipeline by itself as often as a run does, and then `noisefind.tune`, with the steps and the guidance that
the folder recommends. What is beside the pipeline is noise, learning, journal, image files, comparison, grid and report; the
reward is subtracted. Two shares are told:

- waiting: seconds of the run in which the pipeline does not generate, over those in which it does;
- processor: processor seconds of the run beyond those of the pipeline by itself, over these. Much of it is spent while the
  pipeline generates, in another thread.

The record gets one line of JSON a repeat.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import noisefind
import numpy as np
import torch
from noisefind.diffusers import load

MODEL = Path(__file__).parents[2] / "models" / "emoji-64-turbo"
PROMPT = "a green dog"
GENERATION_BATCH = 8


class Stopwatch:
    """Seconds on the clock and of the processor that a function takes, over all calls that return."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def around(self, function):
        @functools.wraps(function)
        def timed(*arguments, **named):
            wall, cpu = time.perf_counter(), time.process_time()
            result = function(*arguments, **named)
            self.wall += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu
            return result

        return timed


def green(images, prompt):
    """Mean of green less mean of red and blue."""
    arrays = [np.asarray(image, np.float64) / 255 for image in images]
    return [float(1.5 * one[..., 1].mean() - 0.5 * one.sum(-1).mean()) for one in arrays]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=MODEL)
    parser.add_argument("--evaluations", type=int, default=160)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pipe = load(given.folder)
    recommended = json.loads((given.folder / "noisefind.json").read_text())
    call = {name: recommended[name] for name in ("num_inference_steps", "guidance_scale")}
    own_call = type(pipe).__call__
    images = given.evaluations + 2 * given.samples
    shape = noisefind.diffusers.noise_shape(pipe, PROMPT, **call)
    policy = noisefind.NoisePolicy.standard(shape)
    print(f"{'pipeline s':>11} {'waiting':>9} {'pipeline processor s':>21} {'processor':>10}")
    waiting, processor = [], []
    for repeat in range(given.repeats):
        alone, pipeline, reward = Stopwatch(), Stopwatch(), Stopwatch()
        type(pipe).__call__ = alone.around(own_call)
        for first in range(0, images, GENERATION_BATCH):
            count = min(GENERATION_BATCH, images - first)
            pipe([PROMPT] * count, latents=policy.latents(pipe, count, seed=first), **call)
        type(pipe).__call__ = pipeline.around(own_call)
        with tempfile.TemporaryDirectory() as folder:
            tune = Stopwatch()
            tune.around(noisefind.tune)(
                pipe,
                PROMPT,
                reward=reward.around(green),
                evaluations=given.evaluations,
                min_evaluations=given.evaluations,
                samples=given.samples,
                seed=repeat,
                out=f"{folder}/run",
                generation_batch=GENERATION_BATCH,
                progress=False,
                **call,
            )
        waiting.append((tune.wall - reward.wall - pipeline.wall) / pipeline.wall)
        processor.append((tune.cpu - reward.cpu - alone.cpu) / alone.cpu)
        print(f"{pipeline.wall:11.2f} {waiting[-1]:9.2%} {alone.cpu:21.2f} {processor[-1]:10.2%}", flush=True)
        if given.record:
            figures = {
                "model": given.folder.name,
                "images": images,
                "threads": given.threads,
                "processors": len(os.sched_getaffinity(0)),
                "seconds": {"run": tune.wall, "pipeline": pipeline.wall, "reward": reward.wall, "alone": alone.wall},
                "processor_seconds": {"run": tune.cpu, "reward": reward.cpu, "alone": alone.cpu},
            }
            with given.record.open("a") as record:
                record.write(json.dumps(figures) + "\n")
    print(f"medians: waiting {statistics.median(waiting):.2%}, processor {statistics.median(processor):.2%}")


if __name__ == "__main__":
    main()
