"""Writes the model card `models/emoji-64/README.md` from the measurements in the work folder; nothing in it is typed by hand."""

import csv
import json

import torch
from safetensors import safe_open

from . import export
from .common import HERE, MODEL, WORK
from .evaluate import EASY, HARD, UNSEEN


def parameters(path):
    with safe_open(path, "pt") as f:
        return sum(f.get_tensor(k).numel() for k in f.keys())


def last_row(name):
    path = WORK / f"{name}.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    return rows[-1] if rows else None


def load(name, folder=WORK):
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else None


def size_table():
    rows = []
    for name, part in (("text encoder", "text_encoder/model"), ("denoiser", "unet/diffusion_pytorch_model"), ("autoencoder", "vae/diffusion_pytorch_model"),
                       ("scorer", "scorer/model"), ("judge", "judge/model")):
        path = MODEL / f"{part}.safetensors"
        if path.exists():
            rows.append(f"| {name} | {parameters(path) / 1e6:.2f} M | {path.stat().st_size / 1e6:.1f} MB |")
    return rows


def budget():
    rows = []
    for name, label in (("vae", "autoencoder"), ("diffusion", "denoiser with text encoder"), ("scorer", "scorer"), ("judge", "judge")):
        last = last_row(name)
        if last:
            rows.append(f"| {label} | {int(last['samples']):,} | {float(last['seconds']) / 60:.0f} |")
    return rows


def rates(evaluation, guidance):
    lines = []
    for group in EASY + HARD + UNSEEN:
        found = [r for r in evaluation["prompts"].values() if r["group"] == group and r["guidance"] == guidance]
        if not found:
            continue
        mean = sum(r["success"] * r["samples"] for r in found) / sum(r["samples"] for r in found)
        inside = sum(0.05 <= r["success"] <= 0.6 for r in found)
        best = sum(r["best_succeeds"] for r in found) / len(found)
        count = max(r["samples"] for r in found)
        lines.append(f"| {group} | {len(found)} | {sum(r['samples'] for r in found)} | {mean:.2f} | {inside} | {best:.2f} (of {count}) |")
    return lines


def hard(evaluation, guidance):
    """One sentence about the prompts that are neither easy nor out of reach: those on which noise optimisation is worth trying."""
    asked = [r for r in evaluation["prompts"].values() if r["group"] in HARD and r["guidance"] == guidance]
    found = [r for r in asked if 0.05 <= r["success"] <= 0.6]
    best, mean = sum(r["best_succeeds"] for r in found), sum(r["success"] for r in found) / max(len(found), 1)
    every, never = sum(r["best_succeeds"] for r in asked), sum(r["success"] == 0 for r in asked)
    return (f"Hard prompts are those of the five hard groups that succeed on 0.05 to 0.6 of the pictures: {len(found)} of {len(asked)}, {mean:.2f} on average. "
            f"The best of 64 by the scorer succeeds on {best} of them ({best / max(len(found), 1):.2f}), and on {every} of all {len(asked)}; "
            f"on {never} no picture of 64 does. The lists of counts and places are longer because fewer of them are hard.")


def main():
    evaluation, judged, vae = load("evaluation.json"), load("comparison.json", HERE / "judge-check"), load("reconstruction.json")
    guidance = json.loads((MODEL / "noisefind.json").read_text())["guidance_scale"]
    text = [
        "# emoji-64",
        "",
        "A small, complete text-to-image diffusion model of 64x64 scenes: 50 nouns in ten colours, one to five of them, in ten places. It exists so that",
        "noise optimisation can be tried and measured without a download: it fails as large models fail (a brown dog for \"a green dog\", swapped colours,",
        "three for four), and some noises give the right picture. The folder has the public diffusers layout and loads with",
        "`StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, feature_extractor=None)`.",
        "",
        f"Recommended: DDIM, 20 steps, guidance {guidance:g}. Noise: 4 x 16 x 16 = 1024 numbers.",
        "",
        "![40 prompts, eight seeds each](samples.png)",
        "",
        "40 prompts of the evaluation list, seeds 0 to 7 in every row, nothing picked by hand. `pretrain/sheets.py` draws it.",
        "",
        "## Data and licence",
        "",
        "Trained only on scenes composed from `@iconify-json/fluent-emoji-flat` 1.2.6 (Fluent Emoji by Microsoft, MIT; see `LICENSE` and",
        "`pretrain/ART-LICENCE`). The grammar, the frequencies and the pairs that were never shown are the JSON files of `pretrain/world`.",
        "Captions that name a rare thing are often wrong in training, as captions in the wild are: `caption_noise` in `frequencies.json`.",
        "The weights are under the licence in `LICENSE`.",
        "",
        "## Parts",
        "",
        "| part | parameters | fp16 file |", "| --- | --- | --- |", *size_table(),
        "",
        "## Training budget actually spent",
        "",
        "One processor core, with AMX-BF16 for the first stage; scorer and judge count processor minutes, the others minutes by the clock",
        "(the core was shared most of the time). The denoiser was trained in three stages, the judge in two and the scorer in four, summed",
        "here: each went on from the one before (`pretrain/reopen.py`). Before the second stage, painting had been changed to leave eyes,",
        "wheels and leaves their colours; before the third, captions of rare colours and places had been made less reliable and pairs more",
        "frequent. The last stage of the judge was the first on scenes that the denoiser drew over (4096 of them); in that of the scorer, twins",
        "(`pretrain/twins.py`) and two layers were new, which began as identities. `pretrain.make` does all of it from the start.",
        "",
        "| part | samples | minutes |", "| --- | --- | --- |", *budget(),
        "",
        "Curves: `pretrain/curves`. More training would help: the loss was still falling.",
        "",
        "## Measurements",
        "",
    ]
    if vae:
        text += [f"- Autoencoder on held-out scenes: {vae['skewed world']['mean_psnr_db']:.1f} dB (mean over pictures), "
                 f"{vae['even colours and places']['mean_psnr_db']:.1f} dB on evenly coloured ones; mean colour error of 8x8 areas "
                 f"{vae['even colours and places']['coarse_color_error_of_255']:.1f} of 255."]
    if evaluation:
        j = evaluation["judge on held-out scenes"]
        text += [f"- Judge on 1024 held-out scenes: nouns and counts {j['nouns_and_counts']:.3f}, with colours {j['with_colors']:.3f}, place {j['place']:.3f}, "
                 f"everything at once {j['everything']:.3f}."]
        text += [f"- Scorer: the true caption above all of 8 hard negatives on {evaluation['scorer first among 8 hard negatives']:.3f} of 512 held-out scenes."]
    if judged:
        text += [f"- Judge against labels made by eye on pictures that the model drew: {judged['agreed']} of {judged['labelled']} agree ({judged['agreement']:.3f}); "
                 "sheets and labels in `pretrain/judge-check`."]
    if evaluation:
        text += ["", f"Success by the judge, guidance {guidance:g}, 20 steps, fresh noises (`pretrain/evaluate.py`):", "",
                 "| group | prompts | pictures | success | prompts within 0.05 to 0.6 | best by the scorer succeeds |", "| --- | --- | --- | --- | --- | --- |",
                 *rates(evaluation, guidance),
                 "", hard(evaluation, guidance),
                 "", "\"unseen color\" are colour-noun pairs that no training picture and no training caption of the denoiser held.", "",
                 "| prompt | group | success | best by the scorer |", "| --- | --- | --- | --- |"]
        text += [f"| {r['prompt']} | {r['group']} | {r['success']:.2f} | {'yes' if r['best_succeeds'] else 'no'} |"
                 for r in sorted(evaluation["prompts"].values(), key=lambda r: ((EASY + HARD + UNSEEN).index(r["group"]), r["prompt"])) if r["guidance"] == guidance]
    limits = HERE / "known-limits.md"
    if limits.exists():
        text += ["", "## Known limits", "", limits.read_text().strip()]
    text += ["", "## Hashes", "", "sha256, also in `SHA256SUMS`:", "", "```text", *export.hashes(), "```", ""]
    (MODEL / "README.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
