"""Success and gain at 160 evaluations for several batch sizes: what a pool that is wider than 16 costs the method.

    python bench/python/batch_sizes.py --record FILE [--limit 1] [--model emoji-64-turbo] [--seeds 1]

Takes the first `--limit` prompts of each category of bench/method/prompts.tsv. Each cell is one `noisefind tune`, judged
on 32 fresh seeds; the record has one line of JSON a cell, and what is in it is not measured again.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

PROMPTS = Path(__file__).parents[1] / "method" / "prompts.tsv"
BATCH_SIZES = (16, 32, 64)


def prompts(limit):
    """The first prompts of every category, in the order of the file."""
    chosen, counts = [], {}
    for line in PROMPTS.read_text().splitlines():
        if line.startswith("#"):
            continue
        category, prompt, *_ = line.split("\t")
        counts[category] = counts.get(category, 0) + 1
        if counts[category] <= limit:
            chosen.append(prompt)
    return chosen


def measured(prompt, seed, batch_size, model):
    """The comparison of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "noisefind", "--threads", "1", "tune", prompt, "--model", model),
            *("--seed", str(seed), "--batch-size", str(batch_size), "--evaluations", "160"),
            *("--samples", "32", "--out", f"{folder}/run", "--json"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        return json.loads((Path(folder) / "run" / "comparison.json").read_text())


def table(cells):
    """Means over the cells of each batch size, with the standard error of the difference to 16 on the same cells."""
    by_cell = {(cell["prompt"], cell["seed"], cell["batch_size"]): cell["comparison"] for cell in cells}
    rows = ["| batch size | runs | success | gain | gain less that of 16 | diversity |", "| --- | --- | --- | --- | --- | --- |"]
    for size in BATCH_SIZES:
        pairs = [
            (one, by_cell[(*key, 16)])
            for (*key, of), one in by_cell.items()
            if of == size and (*key, 16) in by_cell
        ]
        if not pairs:
            continue
        success = mean([one["tuned"]["success_rate"] for one, _ in pairs])
        gain, diversity = (mean([one[name] for one, _ in pairs]) for name in ("standardised_gain", "diversity_ratio"))
        less = [one["standardised_gain"] - of_16["standardised_gain"] for one, of_16 in pairs]
        error = stdev(less) / math.sqrt(len(less)) if len(less) > 1 else math.nan
        rows.append(
            f"| {size} | {len(pairs)} | {success:.2f} | {gain:.2f} | {mean(less):+.2f} ± {error:.2f} | {diversity:.2f} |"
        )
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1)
    parser.add_argument("--model", default="emoji-64-turbo")
    parser.add_argument("--seeds", default="1")
    given = parser.parse_args()
    cells = [json.loads(line) for line in given.record.read_text().splitlines()] if given.record.exists() else []
    known = {(cell["prompt"], cell["seed"], cell["batch_size"]) for cell in cells}
    for seed in map(int, given.seeds.split(",")):
        for prompt in prompts(given.limit):
            for size in BATCH_SIZES:
                if (prompt, seed, size) in known:
                    continue
                comparison = measured(prompt, seed, size, given.model)
                cells.append({"prompt": prompt, "seed": seed, "batch_size": size, "comparison": comparison})
                with given.record.open("a") as record:
                    record.write(json.dumps(cells[-1]) + "\n")
    print(table(cells))


if __name__ == "__main__":
    main()
