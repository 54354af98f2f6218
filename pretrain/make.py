"""Makes the whole default model: `python -m pretrain.make`. Every stage resumes from its last checkpoint after a kill.

The stages run one after the other; each reads what the stages before it left in the work folder. Minutes are training time; the
same command uses a CUDA device when there is one.
"""

import argparse
import subprocess
import sys

STAGES = [
    # (name, arguments, share of the minutes)
    ("tokenizer", [], 0),
    ("vae", [], 0.12),
    ("latents", ["--shards", "16"], 0),
    ("diffusion", [], 0.64),
    ("scorer", [], 0.12),
    ("judge", [], 0.12),
    ("export", [], 0),
    ("evaluate", [], 0),
    ("sheets", [], 0),
    ("reconstruct", [], 0),
    ("golden", [], 0),
    ("card", [], 0),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=600, help="training minutes of all stages together")
    parser.add_argument("--only", nargs="*", default=[s[0] for s in STAGES])
    a = parser.parse_args()
    for name, arguments, share in STAGES:
        if name in a.only:
            extra = ["--minutes", str(a.minutes * share)] if share else []
            print(f"== {name} {' '.join(arguments + extra)}", flush=True)
            subprocess.run([sys.executable, "-m", f"pretrain.{name}", *arguments, *extra], check=True)


if __name__ == "__main__":
    main()
