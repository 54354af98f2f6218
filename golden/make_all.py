"""Makes every reference number of this folder again, each script in a process of its own.

Run: python golden/make_all.py   (versions in golden/requirements.txt)
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
# In an order in which each finds what it needs.
SCRIPTS = [
    "torch_rng.py",
    "images/make.py",
    "diffusion/schedulers.py",
    "diffusion/make.py",
    "diffusion/torch_file.py",
    "diffusion/single_file.py",
    "diffusion/adapters.py",
    "diffusion/adapter_kinds.py",
    "diffusion/text_files.py",
    "diffusion/variants.py",
    "diffusion/seeds.py",
    "diffusion/sizes.py",
    "diffusion/tiling.py",
    "diffusion/default_model.py",
    "rewards/clip.py",
    "rewards/hps.py",
    "rewards/image_reward.py",
    "rewards/viclip.py",
    "rewards/aesthetic.py",
    "rewards/resize.py",
    "rewards/jpeg.py",
    "rewards/tokens.py",
    "rewards/open_clip_tokens.py",
]

for script in SCRIPTS:
    print(script, flush=True)
    subprocess.run([sys.executable, HERE / script], check=True)
