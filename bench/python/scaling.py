"""Evaluations a second of one tuning run: the pipeline in this process, and pools of workers.

    python bench/python/scaling.py [PIPELINE_FOLDER] [--evaluations 48] [--workers 1,2] [--repeats 3] [--times times.json]
    python bench/python/scaling.py --wait 1 --chunk-size 1 --workers 1,2,4,8

Every worker and the plain run get one thread, so that two workers have twice the processor time of one. With `--wait`
an evaluation is one step of denoising and that many seconds of sleep, so the processor is not what limits, as where
GPUs evaluate. `--times` writes the seconds of every chunk and of every step of the driver for `simulate.py`.
"""

import argparse
import contextlib
import functools
import json
import statistics
import tempfile
import time
from pathlib import Path

import noisefind

MODEL = Path(__file__).parents[2] / "models" / "emoji-64"
PROMPT = "a green dog"
CALL = {"num_inference_steps": 20, "guidance_scale": 4.0}


def pipeline(folder):
    """The pipeline, with one thread."""
    import torch
    from noisefind.diffusers import load

    torch.set_num_threads(1)
    return load(str(folder))


def reward(wait):
    """Mean of green less mean of red and blue, after `wait` seconds an image."""

    def green(images, prompt):
        import numpy as np

        time.sleep(wait * len(images))
        arrays = [np.asarray(image, np.float64) / 255 for image in images]
        return [float(1.5 * one[..., 1].mean() - 0.5 * one.sum(-1).mean()) for one in arrays]

    return green


def tuned(out, evaluations, **more):
    began = time.monotonic()
    noisefind.tune(
        prompt=PROMPT, out=out, evaluations=evaluations, samples=0, seed=7, progress=False, **{"pipe": None} | more
    )
    return time.monotonic() - began


def recorded(backend, chunks):
    """`backend`, with the seconds between its answers kept in `chunks`."""
    evaluate = backend.evaluate

    def timed(*arguments):
        last = time.monotonic()
        for done in evaluate(*arguments):
            chunks.append(time.monotonic() - last)
            yield done
            last = time.monotonic()

    backend.evaluate = timed
    return backend


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=MODEL)
    parser.add_argument("--evaluations", type=int, default=48)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--chunk-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wait", type=float, default=0.0)
    parser.add_argument("--times", type=Path)
    given = parser.parse_args()
    from noisefind._tune import PipelineBackend
    from noisefind.ray import Pool

    call = {**CALL, "num_inference_steps": 1} if given.wait else CALL
    times = {"chunk_seconds": [], "driver_seconds_a_step": []}
    make, scorer = functools.partial(pipeline, given.folder), functools.partial(reward, given.wait)
    seconds, policies = {}, set()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def measure(name, backend):
            out = f"{folder}/{sum(map(len, seconds.values()))}"
            seconds.setdefault(name, []).append(tuned(out, given.evaluations, backend=backend))
            policies.add((Path(out) / "policy.safetensors").read_bytes())

        pools = {
            f"pool of {workers}": stack.enter_context(
                Pool(make, scorer, num_workers=workers, num_gpus=0, chunk_size=given.chunk_size, **call)
            )
            for workers in map(int, given.workers.split(","))
        }
        # Repeats take turns, so that a machine that is busy for a while slows all of them.
        for _ in range(given.repeats):
            chunks = []
            own = PipelineBackend(make(), PROMPT, noisefind.scorer_of(scorer()), given.chunk_size, call)
            measure("one process", recorded(own, chunks))
            times["chunk_seconds"] += chunks
            steps = given.evaluations / 16
            times["driver_seconds_a_step"].append((seconds["one process"][-1] - sum(chunks)) / steps)
            for name, pool in pools.items():
                measure(name, pool)
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    print(f"{'':12} {'seconds':>8} {'images/s':>9} {'speed':>6}   of {given.repeats}: fastest, slowest")
    for name, median in medians.items():
        speed = medians["one process"] / median
        between = f"{min(seconds[name]):8.2f} {max(seconds[name]):8.2f}"
        print(f"{name:12} {median:8.2f} {given.evaluations / median:9.2f} {speed:6.2f}   {between}")
    print(f"policy files that differ: {len(policies) - 1}")
    times["driver_seconds_a_step"] = statistics.median(times["driver_seconds_a_step"])
    print(f"driver: {1000 * times['driver_seconds_a_step']:.1f} ms a step of 16, learning and saving included")
    if given.times:
        given.times.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
