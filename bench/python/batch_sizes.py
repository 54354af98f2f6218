"""What batch size does to the result at 160 evaluations: the price of a step as wide as a pool of many workers.

    python bench/python/batch_sizes.py --record bench/python/results/batch_sizes.jsonl [--limit 5] [--seeds 1]

Takes the first `--limit` prompts of each category in the development half of bench/method/prompts.tsv (`bench-method` says
which half a prompt is in). A cell is one `noisefind tune` without an early stop, judged on 32 fresh seeds, which all batch
sizes have in common. The record has one line of JSON a cell, and what is in it is not measured again.
"""

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

PROMPTS = Path(__file__).parents[1] / "method" / "prompts.tsv"
BATCH_SIZES = (16, 32, 64)


def development_prompts(limit):
    """Category and prompt, the first `limit` of every category, in the order of the file."""
    chosen, counts = [], {}
    for line in PROMPTS.read_text().splitlines():
        if line.startswith("#"):
            continue
        category, prompt, *_ = line.split("\t")
        is_development = int(hashlib.sha256(prompt.encode()).hexdigest()[-1], 16) % 2 == 0
        if is_development and counts.get(category, 0) < limit:
            counts[category] = counts.get(category, 0) + 1
            chosen.append((category, prompt))
    return chosen


def measured(program, model, prompt, seed, batch_size):
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text("plateau_iterations = 0\n")
        command = [
            *(*program, "--threads", "1", "tune", prompt, "--model", model, "--config", config),
            *("--seed", str(seed), "--batch-size", str(batch_size), "--evaluations", "160"),
            *("--without", "success-stop", "--samples", "32", "--out", f"{folder}/run", "--json"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        comparison = json.loads((Path(folder) / "run" / "comparison.json").read_text())
    return {
        "evaluations": comparison["evaluations"],
        "base_success": comparison["base"]["success_rate"],
        "success": comparison["tuned"]["success_rate"],
        "gain": comparison["standardised_gain"],
        "diversity": comparison["diversity_ratio"],
    }


def table(cells):
    """Means over the cells that every batch size has, with the standard error of the difference to 16 on the same cells."""
    by_cell = {(cell["prompt"], cell["seed"], cell["batch_size"]): cell for cell in cells}
    pairs = [key for key in {key[:2] for key in by_cell} if all((*key, size) in by_cell for size in BATCH_SIZES)]
    base = mean(by_cell[(*key, 16)]["base_success"] for key in pairs)
    rows = [
        f"{len(pairs)} runs a row, success of the base {base:.3f}",
        "",
        "| batch size | success | less that of 16 | gain | less that of 16 | diversity | less that of 16 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in BATCH_SIZES:
        columns = []
        for name, digits in (("success", 3), ("gain", 2), ("diversity", 2)):
            values = [by_cell[(*key, size)][name] for key in pairs]
            less = [value - by_cell[(*key, 16)][name] for key, value in zip(pairs, values)]
            error = stdev(less) / math.sqrt(len(less)) if len(less) > 1 else math.nan
            columns += [f"{mean(values):.{digits}f}", f"{mean(less):+.{digits}f} ± {error:.{digits}f}" if size != 16 else ""]
        rows.append(f"| {size} | {' | '.join(columns)} |")
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=5)
    parser.add_argument("--model", default="emoji-64-turbo")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--program", default=f"{sys.executable} -m noisefind", help="the command noisefind")
    given = parser.parse_args()
    cells = [json.loads(line) for line in given.record.read_text().splitlines()] if given.record.exists() else []
    known = {(cell["prompt"], cell["seed"], cell["batch_size"]) for cell in cells}
    for seed in map(int, given.seeds.split(",")):
        for category, prompt in development_prompts(given.limit):
            for size in BATCH_SIZES:
                if (prompt, seed, size) in known:
                    continue
                figures = measured(given.program.split(), given.model, prompt, seed, size)
                cells.append({"category": category, "prompt": prompt, "seed": seed, "batch_size": size} | figures)
                with given.record.open("a") as record:
                    record.write(json.dumps(cells[-1]) + "\n")
    print(table(cells))


if __name__ == "__main__":
    main()
