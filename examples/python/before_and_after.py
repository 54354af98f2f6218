"""Before and after, cell by cell: the model as it is, a policy, the same seeds under the policy.

    python examples/python/before_and_after.py [PROMPT] [OUT]

It tunes the default model of the repository on the CPU. For a pipeline of yours, change the first cell.
"""

# %% The pipeline that you already have
import sys
from pathlib import Path

import noisefind
from diffusers import DiffusionPipeline, UNet2DConditionModel
from PIL import Image

prompt = sys.argv[1] if len(sys.argv) > 1 else "a dog on the moon"
out = Path(sys.argv[2] if len(sys.argv) > 2 else "runs/before-and-after")
models = Path(__file__).parents[2] / "models"
unet = UNet2DConditionModel.from_pretrained(models / "emoji-64-turbo" / "unet")
pipe = DiffusionPipeline.from_pretrained(models / "emoji-64", unet=unet)
pipe.set_progress_bar_config(disable=True)
call = {"num_inference_steps": 4, "guidance_scale": 1.0}


# %% What the model generates without tuning, from eight seeds
def generated(latents):
    return pipe([prompt] * len(latents), latents=latents, **call).images


def sheet(images):
    """Images side by side."""
    width, height = images[0].size
    whole = Image.new("RGB", (width * len(images), height))
    for at, image in enumerate(images):
        whole.paste(image, (at * width, 0))
    return whole


shape = noisefind.diffusers.noise_shape(pipe, prompt, **call)
before = generated(noisefind.NoisePolicy.standard(shape).latents(pipe, 8, seed=1))

# %% Tuning: `reward` may be any function of images and prompt; this is noisefind's own scorer for the default model
tuned = noisefind.tune(pipe, prompt, reward="clip-score", judge="scene-judge", seed=7, out=out, overwrite=True, **call)

# %% The same seeds under the policy
after = generated(tuned.policy.latents(pipe, 8, seed=1))
both = [sheet(before), sheet(after)]
whole = Image.new("RGB", (both[0].width, 2 * both[0].height))
for at, row in enumerate(both):
    whole.paste(row, (0, at * row.height))
whole.save(out / "before-and-after.png")

# %% What the numbers say
base, policy = tuned.comparison["base"], tuned.comparison["tuned"]
print(f"reward  {base['reward_mean']:.3f} -> {policy['reward_mean']:.3f}")
if base["success_rate"] is not None:
    print(f"success {base['success_rate']:.2f} -> {policy['success_rate']:.2f}")
print(f"images in {out}/before-and-after.png, everything else in {tuned.out}/report.html")
