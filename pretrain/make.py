"""Makes the whole default model: `python -m pretrain.make`. Every stage resumes from its last checkpoint after a kill.

The stages run one after the other; each reads what the stages before it left in the work folder. Minutes are training time; the
same command uses a CUDA device when there is one. `--rehearsal` runs every stage with next to no scenes and training, to see that
the stages fit together; do it in a scratch copy of the repository with a work folder of its own, because the model is replaced.
"""

import argparse
import os
import subprocess
import sys

STAGES = [
    # (name, arguments, share of the minutes)
    ("tokenizer", [], 0),
    ("vae", [], 0.12),
    ("latents", ["--shards", "16"], 0),
    ("diffusion", [], 0.56),
    ("scorer", [], 0.12),
    ("judge", [], 0.12),
    ("export", [], 0),
    ("evaluate", [], 0),
    ("distil", [], 0.08),
    ("distil_check", [], 0),
    ("distil_card", [], 0),
    ("sheets", [], 0),
    ("reconstruct", [], 0),
    ("golden", [], 0),
    ("card", [], 0),
]

# What is different in a rehearsal; its model draws nothing that can be recognised.
REHEARSED_MINUTES, REHEARSED_SCENES = 8, 256
REHEARSED = dict(latents=["--shards", "2"], evaluate=["--per-group", "1", "--samples", "8", "--easy-samples", "2"],
                 distil=["--shards", "1", "--short-shards", "1", "--paths", "4", "--batch", "6"], distil_check=["--per-group", "1", "--samples", "2"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=600, help="training minutes of all stages together")
    parser.add_argument("--only", nargs="*", default=[s[0] for s in STAGES])
    parser.add_argument("--rehearsal", action="store_true", help="every stage in miniature, half an hour on one core")
    a = parser.parse_args()
    minutes, environment = a.minutes, dict(os.environ)
    if a.rehearsal:
        minutes, environment["NOISEFIND_SCENES"] = REHEARSED_MINUTES, str(REHEARSED_SCENES)
    for name, arguments, share in STAGES:
        if name in a.only:
            arguments = REHEARSED.get(name, arguments) if a.rehearsal else arguments
            extra = ["--minutes", str(minutes * share)] if share else []
            print(f"== {name} {' '.join(arguments + extra)}", flush=True)
            subprocess.run([sys.executable, "-m", f"pretrain.{name}", *arguments, *extra], check=True, env=environment)


if __name__ == "__main__":
    main()
