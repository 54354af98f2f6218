"""Evaluations a second of one tuning run: the plain command, the pipeline in this process, and pools of workers.

    python bench/python/scaling.py --record bench/python/results/scaling.json
    python bench/python/scaling.py --wait 1 --chunk-size 1 --workers 1,2,4,8 --record bench/python/results/scaling_wait.json

Every worker, the command and the plain run get one thread, so that two workers have twice the processor time of one. With
`--wait` an evaluation is one step of denoising and that many seconds of sleep, so the processor is not what limits, as where
GPUs evaluate. The model generates with the steps and the guidance that its folder recommends. The record holds the seconds of
every run, and for `simulate.py` those of every chunk and of the driver.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import noisefind

MODEL = Path(__file__).parents[2] / "models" / "emoji-64-turbo"
PROMPT = "a green dog"
BATCH_SIZE = 16
PLAIN = "one process"


def pipeline(folder):
    """The pipeline, with one thread."""
    import torch
    from noisefind.diffusers import load

    torch.set_num_threads(1)
    return load(folder)


def reward(wait):
    """Mean of green less mean of red and blue, after `wait` seconds an image."""

    def green(images, prompt):
        import numpy as np

        time.sleep(wait * len(images))
        arrays = [np.asarray(image, np.float64) / 255 for image in images]
        return [float(1.5 * one[..., 1].mean() - 0.5 * one.sum(-1).mean()) for one in arrays]

    return green


def tuned(out, evaluations, backend):
    """Seconds of a run that spends all of its evaluations, without a comparison."""
    began = time.monotonic()
    settings = {"evaluations": evaluations, "min_evaluations": evaluations, "batch_size": BATCH_SIZE, "samples": 0}
    noisefind.tune(None, PROMPT, backend=backend, out=out, seed=7, progress=False, **settings)
    return time.monotonic() - began


def command(out, folder, evaluations):
    """Seconds of as long a run by `noisefind tune`, up to its comparison: the model's Rust path, with a reward as cheap."""
    arguments = ["--model", folder, "--reward", "jpeg-size"]
    arguments += ["--evaluations", evaluations, "--min-evaluations", evaluations]
    arguments += ["--batch-size", BATCH_SIZE, "--samples", 2, "--seed", 7, "--out", out, "--json"]
    program = [sys.executable, "-m", "noisefind", "--threads", "1", "tune", PROMPT]
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["elapsed_seconds"]


class Recorded:
    """A backend, with the seconds of its answers, and those from the last answer of a step to the next step."""

    def __init__(self, backend):
        self.backend = backend
        self.noise_shape, self.width, self.chunk_size = backend.noise_shape, backend.width, backend.chunk_size
        self.describe = backend.describe
        self.chunk_seconds, self.step_seconds = [], []
        self._over = None

    def evaluate(self, prompt, noise, keys, call):
        last = time.monotonic()
        if self._over is not None:
            self.step_seconds.append(last - self._over)
        for done in self.backend.evaluate(prompt, noise, keys, call):
            self.chunk_seconds.append(time.monotonic() - last)
            yield done
            last = time.monotonic()
        self._over = last


def intake_seconds(size, count=16):
    """Processor seconds of a driver for an image of `size` x `size` pixels: decoding it, journaling its reward, saving it."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    # Smooth shapes under fine noise, so that it compresses about as well as a photograph.
    coarse = Image.fromarray(generator.integers(0, 255, (16, 16, 3), np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.clip(np.asarray(coarse) + generator.normal(0, 4, (size, size, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=1)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        run = noisefind.Run((4, 16, 16), out=f"{folder}/run", evaluations=2 * count, batch_size=count + 1)
        for key in run.ask().keys[:count]:
            began = time.process_time()
            image = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))[None]
            run.tell([key], [0.0], images=[image])
            seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=MODEL)
    parser.add_argument("--evaluations", type=int, default=96)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--chunk-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--wait", type=float, default=0.0)
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    # Ray's workers give way to every other process (niceness 15), which on a busy machine would be measured too.
    os.environ["RAY_worker_niceness"] = "0"
    from noisefind._tune import PipelineBackend
    from noisefind.ray import Pool

    recommended = json.loads((given.folder / "noisefind.json").read_text())
    call = {name: recommended[name] for name in ("num_inference_steps", "guidance_scale")}
    if given.wait:
        call["num_inference_steps"] = 1
    make, scorer = functools.partial(pipeline, given.folder), functools.partial(reward, given.wait)
    seconds, policies, chunk_seconds, step_seconds = {}, set(), [], []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def measure(name, backend):
            out = Path(folder) / f"{name}-{len(seconds.get(name, []))}"
            if backend is None:
                taken = command(out, given.folder, given.evaluations)
            else:
                taken = tuned(out, given.evaluations, backend)
                policies.add((out / "policy.safetensors").read_bytes())
            seconds.setdefault(name, []).append(taken)

        own = PipelineBackend(make(), PROMPT, noisefind.scorer_of(scorer()), given.chunk_size, call)
        pools = {
            f"pool of {workers}": stack.enter_context(
                Pool(make, scorer, num_workers=workers, num_gpus=0, resources={"num_cpus": 0}, chunk_size=given.chunk_size, **call)
            )
            for workers in map(int, given.workers.split(","))
        }
        # Repeats take turns, so that a machine that is busy for a while slows all of them.
        for _ in range(given.repeats):
            recorded = Recorded(own)
            measure(PLAIN, recorded)
            chunk_seconds += recorded.chunk_seconds
            step_seconds += recorded.step_seconds
            if not given.wait:
                measure("command", None)
            for name, pool in pools.items():
                measure(name, pool)
    print("| | seconds | images a second | times one process, median of repeats | lowest, highest |\n| --- | --- | --- | --- | --- |")
    for name, of in seconds.items():
        ratios = [plain / one for plain, one in zip(seconds[PLAIN], of)]
        cells = [f"{statistics.median(of):.1f}", f"{given.evaluations / statistics.median(of):.2f}"]
        cells += [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}, {max(ratios):.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"policy files that differ: {len(policies) - 1}")
    record = {
        "model": given.folder.name,
        "call": call,
        "evaluations": given.evaluations,
        "chunk_size": given.chunk_size,
        "wait_seconds": given.wait,
        "seconds": seconds,
        "chunk_seconds": chunk_seconds,
        "driver_seconds_a_step": statistics.median(step_seconds),
        "driver_seconds_an_image_of_1024_pixels": intake_seconds(1024),
    }
    print(f"driver: {1000 * record['driver_seconds_a_step']:.0f} ms a step of {BATCH_SIZE}, ", end="")
    print(f"{1000 * record['driver_seconds_an_image_of_1024_pixels']:.0f} ms an image of 1024 x 1024 pixels")
    if given.record:
        given.record.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
