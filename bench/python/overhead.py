"""What `noisefind.tune` costs beside the pipeline and the reward that it calls.

    python bench/python/overhead.py [PIPELINE_FOLDER] [--evaluations 160] [--samples 32] [--repeats 3] [--threads 1]

Each repeat is one call of `noisefind.tune`. Seconds inside the pipeline's own call and inside the reward are subtracted
from its seconds; what is left is noise, learning, journal, image files, comparison, grid and report.
"""

import argparse
import functools
import statistics
import tempfile
import time
from pathlib import Path

import noisefind
import numpy as np
import torch
from diffusers import DiffusionPipeline

MODEL = Path(__file__).parents[2] / "models" / "emoji-64"


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
    parser.add_argument("folder", nargs="?", default=MODEL)
    parser.add_argument("--evaluations", type=int, default=160)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pipe = DiffusionPipeline.from_pretrained(given.folder)
    pipe.set_progress_bar_config(disable=True)
    own_call = type(pipe).__call__
    print(f"{'pipeline s':>11} {'reward s':>9} {'the rest s':>11} {'of pipeline':>12} {'processor':>10}")
    shares = []
    for repeat in range(given.repeats):
        pipeline, reward = Stopwatch(), Stopwatch()
        type(pipe).__call__ = pipeline.around(own_call)
        with tempfile.TemporaryDirectory() as folder:
            tune = Stopwatch()
            tune.around(noisefind.tune)(
                pipe,
                "a green dog",
                reward=reward.around(green),
                evaluations=given.evaluations,
                samples=given.samples,
                seed=repeat,
                out=f"{folder}/run",
                progress=False,
                num_inference_steps=20,
                guidance_scale=4.0,
            )
        rest, rest_cpu = (
            getattr(tune, clock) - getattr(pipeline, clock) - getattr(reward, clock) for clock in ("wall", "cpu")
        )
        shares.append(rest / pipeline.wall)
        print(
            f"{pipeline.wall:11.2f} {reward.wall:9.2f} {rest:11.2f} {shares[-1]:12.2%} {rest_cpu / pipeline.cpu:10.2%}",
            flush=True,
        )
    print(f"median: {statistics.median(shares):.2%} of the pipeline's own time")


if __name__ == "__main__":
    main()
