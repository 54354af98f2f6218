"""Time of the README's first command, with its spread: tuning, and all of it with comparison and files.

    python bench/first_command.py [--noisefind target/release/noisefind] [--repeats 10] [--threads N] [--json FILE]

Every repeat is a process of its own with a new run folder and the same seed, so all do the same work. The machine should
have nothing else to do.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

PROMPT = "a dog on the moon"


def once(program, threads):
    """-> seconds of tuning, seconds of the whole process, evaluations"""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, *(["--threads", str(threads)] if threads else []), "tune", PROMPT, "--json", "--out", f"{folder}/run"]
        began = time.perf_counter()
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        tuned = json.loads(told.stdout)
    return tuned["elapsed_seconds"], seconds, tuned["evaluations"]


def spread(values):
    return dict(
        median=statistics.median(values),
        mean=statistics.mean(values),
        standard_deviation=statistics.stdev(values) if len(values) > 1 else 0.0,
        lowest=min(values),
        highest=max(values),
    )


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noisefind", default="target/release/noisefind")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    once(a.noisefind, a.threads)
    runs = [once(a.noisefind, a.threads) for _ in range(a.repeats)]
    doctor = json.loads(subprocess.run([a.noisefind, "doctor", "--json"], check=True, capture_output=True, text=True).stdout)
    record = dict(
        prompt=PROMPT, evaluations=runs[0][2], repeats=a.repeats, threads=a.threads or doctor["threads"],
        processor=processor(), instruction_sets=doctor["instruction_sets"],
        tuning_seconds=spread([tuning for tuning, _, _ in runs]), all_seconds=spread([whole for _, whole, _ in runs]),
    )
    for name in ("tuning_seconds", "all_seconds"):
        of = record[name]
        print(f"{name}: {of['mean']:.2f} +- {of['standard_deviation']:.2f}, median {of['median']:.2f}, {of['lowest']:.2f} to {of['highest']:.2f}")
    if a.json:
        a.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
