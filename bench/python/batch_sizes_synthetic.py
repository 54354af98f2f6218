"""Gain for several batch sizes and budgets on a synthetic reward, with many seeds.

    python bench/python/batch_sizes_synthetic.py [--runs 40]

The reward of a noise of the default model's shape is a random smooth function, the mean of 24 sines of projections, plus
as much noise that no neighbour tells. Each run has another function. The gain is the rise of the smooth part's mean from
256 noises of N(0, I) to 256 of the policy, in standard deviations of the reward of N(0, I).
"""

import argparse
import math
import tempfile
from statistics import mean, stdev

import noisefind
import numpy as np

SHAPE = (4, 16, 16)
# Batch size and evaluations; the first is what the others are compared with.
CASES = ((16, 160), (32, 160), (64, 160), (64, 320))


class Function:
    """A random smooth function of a noise, with values of mean 0 and of about the variance 1."""

    def __init__(self, seed):
        generator = np.random.default_rng(seed)
        directions = generator.normal(size=(24, math.prod(SHAPE)))
        self.directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self.phases = generator.uniform(0, 2 * math.pi, 24)
        self.generator = generator

    def smooth(self, noise):
        """[n]: the part that neighbours tell."""
        projected = noise.reshape(len(noise), -1) @ self.directions.T
        return np.sin(projected + self.phases).mean(1) * math.sqrt(2 * 24)

    def reward(self, noise):
        """[n]: the smooth part and as much noise."""
        return (self.smooth(noise) + self.generator.normal(size=len(noise))) / math.sqrt(2)


def gain(seed, batch_size, evaluations):
    function = Function(seed)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        run = noisefind.Run(SHAPE, seed=seed, out=f"{folder}/run", evaluations=evaluations, batch_size=batch_size)
        while not run.done:
            batch = run.ask()
            run.tell(batch.keys, function.reward(batch.noise))
        base, tuned = (
            function.smooth(policy.sample(256, seed=1)).mean()
            for policy in (noisefind.NoisePolicy.standard(SHAPE), run.policy)
        )
    return (tuned - base) / math.sqrt(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    given = parser.parse_args()
    gains = {case: [gain(seed, *case) for seed in range(given.runs)] for case in CASES}
    print("| batch size | evaluations | gain | gain less that of 16 and 160 |\n| --- | --- | --- | --- |")
    for (size, evaluations), of in gains.items():
        less = [one - first for one, first in zip(of, gains[CASES[0]])]
        error = stdev(less) / math.sqrt(len(less))
        print(f"| {size} | {evaluations} | {mean(of):.2f} | {mean(less):+.2f} ± {error:.2f} |")


if __name__ == "__main__":
    main()
