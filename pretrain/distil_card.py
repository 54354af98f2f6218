"""Writes `models/emoji-64-turbo`: the student's UNet in fp16, its scheduler, the card and the hashes; the rest is emoji-64's.

Every number of the card comes from the work folder's measurements (`distil_check.py`) and curve.
"""

import argparse
import csv
import json
import math
import shutil

from diffusers import DDIMScheduler

from . import distil, trajectories
from .common import HERE, MODEL, WORK
from .diffusion import SCHEDULER
from .export import hashes

TURBO = MODEL.with_name("emoji-64-turbo")
# Steps of its recommended call: as good as the steps it was trained for (the table against emoji-64), and cheaper.
SAMPLING_STEPS = 4


def export(steps):
    TURBO.mkdir(parents=True, exist_ok=True)
    distil.averaged_unet(steps).half().save_pretrained(TURBO / "unet")
    # Without the folder that the student was loaded from, and readable as the other files are.
    configuration = json.loads((TURBO / "unet" / "config.json").read_text())
    configuration.pop("_name_or_path", None)
    (TURBO / "unet" / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    (TURBO / "unet" / "diffusion_pytorch_model.safetensors").chmod(0o644)
    DDIMScheduler(**SCHEDULER).save_pretrained(TURBO / "scheduler")
    for name in ("LICENSE", "model_index.json"):
        shutil.copyfile(MODEL / name, TURBO / name)
    defaults = json.loads((MODEL / "noisefind.json").read_text()) | dict(num_inference_steps=SAMPLING_STEPS, guidance_scale=1.0, base="../emoji-64")
    (TURBO / "noisefind.json").write_text(json.dumps(defaults, indent=2) + "\n")


def number(value):
    """Two digits, or a dash where nothing varied."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def group_rows(measured):
    head = ["| group | prompts | pictures | emoji-64 | this model | same verdict | correlation of verdicts | pixel distance |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    return head + [
        f"| {group} | {m['prompts']} | {m['pictures']} | {m['base']:.2f} | {m['student']:.2f} | {m['same_verdict']:.2f} | "
        f"{number(m['verdict_correlation'])} | {m['pixel_distance']:.3f} |" for group, m in measured["groups"].items()]


def comparison_rows(found):
    """One line for every model that was measured on the same prompts and noises."""
    head = ["| model | steps | passes | success | same verdict | pixel distance |", "| --- | --- | --- | --- | --- | --- |"]
    return head + [f"| {label} | {steps} | {passes} | {m['student']:.3f} | {m['same_verdict']:.3f} | {m['pixel_distance']:.3f} |" for label, steps, passes, m in found]


def card(steps):
    measured = json.loads((WORK / f"distil-check-student-{steps}.json").read_text())
    others = []
    for path in sorted(WORK.glob("distil-check-*.json")):
        state = json.loads(path.read_text())
        guided = path.stem.startswith("distil-check-undistilled")
        label = "emoji-64, guidance 4" if guided else f"this model in {state['steps']} steps"
        others.append((label, state["steps"], state["steps"] * (2 if guided else 1), state["groups"]["all"]))
    curve = list(csv.DictReader((WORK / f"distil-{steps}.csv").open()))
    last, rate = curve[-1], lambda row: float(row["lr"])
    everything = measured["groups"]["all"]
    paths, short = int(last["paths"]), int(last["paths"]) - int(last["whole_paths"])
    text = [
        f"# emoji-64-turbo, emoji-64 in {SAMPLING_STEPS} steps",
        "",
        f"The denoiser of `emoji-64` distilled for few DDIM steps without the guidance pass: {SAMPLING_STEPS} passes of the denoiser an image instead of",
        f"{2 * 20}. It was trained for {steps} steps and does as well in {SAMPLING_STEPS} (last table of the groups below). It learnt to map a noise to the image that emoji-64 makes",
        "of it, failures included; how near it comes is measured below. This folder holds the denoiser and the settings; text encoder, tokenizer, autoencoder, scorer and judge are those of `../emoji-64` (the key `base`",
        "of `noisefind.json`).",
        "",
        f"Recommended: DDIM, {SAMPLING_STEPS} steps, guidance 1 (no guidance pass). Noise: 4 x 16 x 16 = 1024 numbers. With diffusers:",
        "",
        "```python",
        "unet = UNet2DConditionModel.from_pretrained(\"models/emoji-64-turbo/unet\", torch_dtype=torch.float32)",
        "pipeline = StableDiffusionPipeline.from_pretrained(\"models/emoji-64\", unet=unet, torch_dtype=torch.float32)",
        f"pipeline(\"a dog on the moon\", num_inference_steps={SAMPLING_STEPS}, guidance_scale=1.0)",
        "```",
        "",
        "## Training",
        "",
        f"`pretrain/distil.py`: {paths:,} paths of emoji-64 ({trajectories.STEPS} guided steps; {short:,} of them are only the first third; half of the captions from its training",
        "distribution, half with colours, places and counts drawn evenly, without the held-out pairs), then "
        f"{int(last['samples']):,} pairs of latents in {float(last['seconds']) / 60:.0f} processor minutes",
        "of one core. Curve: `pretrain/curves/distil.csv`." + (" The run was ended before its learning rate had fallen." if rate(last) > 0.5 * max(map(rate, curve)) else ""),
        "",
        "## Measurements",
        "",
        f"Same prompts and noises for both models, this one in {steps} steps, verdicts of the judge (`pretrain/distil_check.py`). \"Same verdict\" is the share of noises on which both",
        "succeed or both fail; the correlation is over the noises of each prompt. Pixel distance is the mean absolute difference of pixels in 0..1; two",
        f"pictures of one prompt from different noises of emoji-64 are {everything['pixel_distance_other_noise']:.3f} apart.",
        "",
        *group_rows(measured),
        "",
        f"Mean score by the scorer: emoji-64 {everything['score_base']:.3f}, this model {everything['score_student']:.3f}; correlation over the noises of each prompt "
        f"{everything['score_correlation']:.2f}.",
        "",
        "On the same list, against emoji-64 in 20 steps:",
        "",
        *comparison_rows(others),
        "",
        "| prompt | group | emoji-64 | this model |", "| --- | --- | --- | --- |",
        *[f"| {r['prompt']} | {r['group']} | {r['base']:.2f} | {r['student']:.2f} |" for r in measured["prompts"]],
        "",
        "## Licence",
        "",
        "As emoji-64: `LICENSE`.",
        "",
        "## Hashes", "", "sha256, also in `SHA256SUMS`:", "", "```text", *hashes(TURBO), "```", "",
    ]
    (TURBO / "README.md").write_text("\n".join(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only-card", action="store_true")
    a = parser.parse_args()
    if not a.only_card:
        export(a.steps)
    card(a.steps)
    shutil.copyfile(WORK / f"distil-{a.steps}.csv", HERE / "curves" / "distil.csv")


if __name__ == "__main__":
    main()
