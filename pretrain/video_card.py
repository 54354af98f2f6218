"""Writes the card `models/emoji-64-video/README.md` from the measurements in the work folder; nothing in it is typed by hand.

Base success comes from `video-candidates.jsonl`, one line a prompt as `bench-method choose` writes it.
"""

import csv
import json
import shutil

import numpy as np

from . import world
from .clips import MOTIONS, NATURAL
from .common import HERE, WORK
from .specification import parse
from .video_export import VIDEO
from .video_judge import asked_motion


def measured():
    """-> list of dict(prompt, clips, success, group, motion, natural), only of the exported model"""
    path, rows = WORK / "video-candidates.jsonl", []
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for line in [line for line in lines if line["model_sha256"] == lines[-1]["model_sha256"]]:
        asked, motion = parse(line["prompt"], world.GRAMMAR), asked_motion(line["prompt"])
        nouns = asked["nouns"]
        group = "two things" if len(nouns) == 2 else "colour" if nouns[0]["color"] else "location" if asked["place"] else "motion"
        rows.append(dict(prompt=line["prompt"], clips=line["images"], success=line["success_rate"], group=group, motion=motion,
                         natural=all(NATURAL[n["noun"]] == motion for n in nouns)))
    return rows


def rates(rows, key, values):
    lines = []
    for value in values:
        found = [r["success"] for r in rows if r[key] == value]
        if found:
            clips = sum(r["clips"] for r in rows if r[key] == value)
            label = {True: "natural motion", False: "another motion"}.get(value, value)
            lines.append(f"| {label} | {len(found)} | {clips} | {np.mean(found):.2f} | {sum(0.05 <= s <= 0.6 for s in found)} |")
    return lines


def last_row(name):
    rows = list(csv.DictReader((WORK / f"{name}.csv").open()))
    return rows[-1]


def main():
    settings = json.loads((VIDEO / "noisefind.json").read_text())
    rows, training, scorer = measured(), last_row("video"), last_row("video-scorer")
    accuracy = json.loads((WORK / "video-scorer.json").read_text())
    size = lambda part: sum(p.stat().st_size for p in (VIDEO / part).glob("*.safetensors")) / 1e6
    parts = {"denoiser": "unet", "text encoder": "text_encoder", "scorer": "video_scorer"}
    head = ["| | prompts | clips | mean base success | prompts of 5 to 60 % |", "| --- | --- | --- | --- | --- |"]
    text = [
        "# emoji-64-video, the default video model",
        "",
        f"Clips of {settings['num_frames']} frames of 64 x 64 pixels in which the things of `emoji-64` move from left to right, from right to left, up or down, or stand",
        "still. A `UNet3DConditionModel` in the layout of ModelScope's text-to-video model, with a scorer in ViCLIP's format and a judge. The autoencoder, the",
        "network of the judge and the scorer of still images are those of `../emoji-64` (the key `base` of `noisefind.json`).",
        "",
        f"Recommended: DDIM, {settings['num_inference_steps']} steps, guidance {settings['guidance_scale']:g}. Noise: 4 x {settings['num_frames']} x 16 x 16 = {4 * 256 * settings['num_frames']} numbers. With diffusers:",
        "",
        "```python",
        "vae = AutoencoderKL.from_pretrained(\"models/emoji-64/vae\", torch_dtype=torch.float32)",
        "unet = UNet3DConditionModel.from_pretrained(\"models/emoji-64-video/unet\", torch_dtype=torch.float32)",
        "pipeline = TextToVideoSDPipeline.from_pretrained(\"models/emoji-64-video\", vae=vae, unet=unet, torch_dtype=torch.float32)",
        f"pipeline(\"a red car moving from right to left\", num_frames={settings['num_frames']}, num_inference_steps={settings['num_inference_steps']}, "
        f"guidance_scale={settings['guidance_scale']:g})",
        "```",
        "",
        "| part | fp16 |", "| --- | --- |",
        *[f"| {name} | {size(part):.1f} MB |" for name, part in parts.items()],
        "",
        "![Eight clips of \"a star moving up\", a row each; in one of them the star moves up](strips.png)",
        "",
        "Eight clips of \"a star moving up\", seeds 31 to 38 of `noisefind sample`: the judge accepts the third.",
        "",
        "## Training",
        "",
        f"`pretrain/video.py`: the still model's UNet inflated, {int(training['samples']):,} clips ({int(training['clips']):,} different ones) in {float(training['seconds']) / 60:.0f} "
        "processor minutes of one shared core.",
        "Curve: `pretrain/curves/video.csv`. That is little: how a thing looks comes from the still model, and which way it moves is often",
        "decided by the noise instead of the prompt.",
        "",
        f"`pretrain/video_scorer.py`: the still scorer widened to clips, {int(scorer['clips']):,} clips in {float(scorer['seconds']) / 60:.0f} processor minutes; curve:",
        "`pretrain/curves/video-scorer.csv`. On held-out rendered clips the true caption scores above a false one:",
        "",
        "| what is false | right | pairs |", "| --- | --- | --- |",
        *[f"| {kind} | {found['right']:.3f} | {found['pairs']} |" for kind, found in accuracy.items()],
        "",
        "## Measurements",
        "",
        "Success of the base by the judge, on the prompts that were measured with these weights:",
        "",
        *head, *rates(rows, "group", ["colour", "two things", "location", "motion"]),
        "",
        *head, *rates(rows, "motion", MOTIONS),
        "",
        *head, *rates(rows, "natural", [True, False]),
        "",
        "| prompt | group | clips | base success |", "| --- | --- | --- | --- |",
        *[f"| {r['prompt']} | {r['group']} | {r['clips']} | {r['success']:.2f} |" for r in rows],
        "",
        "## Licence",
        "",
        "As the still model: `LICENSE`.",
        "",
        "## Hashes", "", "sha256, also in `SHA256SUMS`:", "", "```text", (VIDEO / "SHA256SUMS").read_text().rstrip(), "```", "",
    ]
    (VIDEO / "README.md").write_text("\n".join(text))
    for name in ("video", "video-scorer"):
        shutil.copyfile(WORK / f"{name}.csv", HERE / "curves" / f"{name}.csv")


if __name__ == "__main__":
    main()
