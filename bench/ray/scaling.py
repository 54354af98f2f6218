"""Evaluations a second of one tuning run: the pipeline in this process, and pools of 1 and 2 workers.

    python bench/ray/scaling.py [PIPELINE_FOLDER] [--evaluations 48] [--times times.json]

Every worker and the plain run get one thread, so that two workers have twice the processor time of one. `--times` writes
the seconds of every chunk and of every step of the driver for `simulate.py`.
"""

import argparse
import functools
import json
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


def green(images, prompt):
    """Mean of green less mean of red and blue."""
    import numpy as np

    arrays = [np.asarray(image, np.float64) / 255 for image in images]
    return [float(1.5 * one[..., 1].mean() - 0.5 * one.sum(-1).mean()) for one in arrays]


def reward():
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
    parser.add_argument("--times", type=Path)
    given = parser.parse_args()
    from noisefind._tune import PipelineBackend
    from noisefind.ray import Pool

    times = {"chunk_seconds": [], "driver_seconds_a_step": 0.0}
    make = functools.partial(pipeline, given.folder)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        backend = PipelineBackend(make(), PROMPT, noisefind.scorer_of(green), 4, CALL)
        seconds = tuned(f"{folder}/plain", given.evaluations, backend=recorded(backend, times["chunk_seconds"]))
        rows.append(("one process", seconds))
        steps = given.evaluations / 16
        times["driver_seconds_a_step"] = (seconds - sum(times["chunk_seconds"])) / steps
        for workers in (1, 2):
            with Pool(make, reward, num_workers=workers, num_gpus=0, chunk_size=4, **CALL) as pool:
                rows.append((f"pool of {workers}", tuned(f"{folder}/{workers}", given.evaluations, backend=pool)))
        policies = {(Path(folder) / name / "policy.safetensors").read_bytes() for name in ("plain", "1", "2")}
    print(f"{'':12} {'seconds':>8} {'images/s':>9} {'speed':>6}")
    for name, seconds in rows:
        print(f"{name:12} {seconds:8.2f} {given.evaluations / seconds:9.2f} {rows[0][1] / seconds:6.2f}")
    print(f"policy files that differ: {len(policies) - 1}")
    print(f"driver: {1000 * times['driver_seconds_a_step']:.1f} ms a step of 16, learning and saving included")
    if given.times:
        given.times.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
