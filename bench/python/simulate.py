"""Pools that nobody has at hand, simulated from recorded times: where time goes with 8 to 512 workers.

    python bench/python/simulate.py bench/python/results/scaling.json

The record is that of `scaling.py`. A worker takes a chunk of one image when it is idle, as `noisefind.ray.Pool` lets it. An
evaluation takes as long as one of the recorded chunks, scaled so that their median is `--seconds`; of ten, one is a straggler
that takes three times as long. The driver takes images in one after the other, each in the time recorded for 1024 x 1024
pixels (decoding it, journaling its reward, saving it), and between two steps it learns. One prompt alone waits at the end of every step for its last evaluation; several prompts over one pool fill these
gaps, because each is at another place of its step.
"""

import argparse
import heapq
import json
import random
import statistics
from pathlib import Path


def simulate(workers, prompts, batch, steps, draw, driver_a_chunk, driver_a_step):
    """Seconds of all prompts, share of them that workers compute, and share that the busiest driver computes.

    Args:
        workers: Of the pool.
        prompts: Tuned at the same time, each by a driver of its own.
        batch: Evaluations a step of each.
        steps: Of each.
        draw: Gives the seconds of an evaluation.
        driver_a_chunk: Seconds for which a driver takes in an evaluation.
        driver_a_step: Seconds between the last answer of a step and the next step.
    """
    events, number = [], 0
    queue = [prompt for prompt in range(prompts) for _ in range(batch)]
    queue.reverse()
    idle, busy, driver_free, driver_busy = workers, 0.0, [0.0] * prompts, [0.0] * prompts
    left, steps_left, now = [batch] * prompts, [steps] * prompts, 0.0
    while True:
        while idle and queue:
            seconds, prompt = draw(), queue.pop()
            heapq.heappush(events, (now + seconds, number, "evaluated", prompt))
            number, busy, idle = number + 1, busy + seconds, idle - 1
        if not events:
            total = max(driver_free)
            return total, busy / (workers * total), max(driver_busy) / total
        now, _, kind, prompt = heapq.heappop(events)
        if kind == "step":
            queue[:0] = [prompt] * batch
            continue
        idle += 1
        driver_free[prompt] = max(driver_free[prompt], now) + driver_a_chunk
        driver_busy[prompt] += driver_a_chunk
        left[prompt] -= 1
        if left[prompt] == 0:
            driver_free[prompt] += driver_a_step
            driver_busy[prompt] += driver_a_step
            left[prompt], steps_left[prompt] = batch, steps_left[prompt] - 1
            if steps_left[prompt]:
                heapq.heappush(events, (driver_free[prompt], number, "step", prompt))
                number += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0, help="median of an evaluation")
    parser.add_argument("--stragglers", type=float, default=0.1)
    given = parser.parse_args()
    recorded = json.loads(given.record.read_text())
    median = statistics.median(recorded["chunk_seconds"])
    times = [given.seconds * one / median for one in recorded["chunk_seconds"]]
    generator = random.Random(0)

    def draw():
        return generator.choice(times) * (3 if generator.random() < given.stragglers else 1)

    step, image = recorded["driver_seconds_a_step"], recorded["driver_seconds_an_image_of_1024_pixels"]
    spread = max(times) / min(times)
    print(f"evaluations of {given.seconds} s, the slowest of {len(times)} recorded {spread:.1f} times the fastest,")
    print(f"{given.stragglers:.0%} stragglers; driver {image * 1000:.0f} ms an image and {step:.2f} s a step", end="\n\n")
    heads = ("one prompt, ten steps as wide as the pool: minutes", "workers / 4 prompts, 160 evaluations each: minutes")
    print(f"| workers | {' | workers busy | driver busy | '.join(heads)} | workers busy | driver busy |")
    print("| --- " * 7 + "|")
    for workers in (8, 16, 32, 64, 128, 256, 512):
        batch = max(16, workers)
        wide = simulate(workers, 1, batch, 10, draw, image, step)
        many = simulate(workers, max(1, workers // 4), 16, 10, draw, image, step)
        cells = [f"{total / 60:.1f} | {busy:.0%} | {driver:.0%}" for total, busy, driver in (wide, many)]
        print(f"| {workers} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
