"""Writes `models/emoji-64-video` in the public layout of ModelScope's model: averaged weights in fp16, configurations, hashes.

    python -m pretrain.video_export --steps 4 --guidance 3.5

The autoencoder, and the network of the judge, are the still model's (the key `base` of `noisefind.json`).
"""

import argparse
import json
import shutil

from diffusers import DDIMScheduler

from . import export, video, video_judge, video_scorer, video_tokenizer
from .clips import FRAMES
from .common import MODEL
from .diffusion import SCHEDULER
from .world import SIDE

VIDEO = MODEL.with_name("emoji-64-video")
DEFAULTS = dict(default_reward="viclip", default_scorer="video_scorer", default_clip="scorer", default_judge="judge", num_inference_steps=4,
                guidance_scale=3.5, num_frames=FRAMES, fps=6.0, native_size=SIDE, base="../emoji-64")
INDEX = dict(
    _class_name="TextToVideoSDPipeline", _diffusers_version="0.42.1", scheduler=["diffusers", "DDIMScheduler"], text_encoder=["transformers", "CLIPTextModel"],
    tokenizer=["transformers", "CLIPTokenizer"], unet=["diffusers", "UNet3DConditionModel"], vae=["diffusers", "AutoencoderKL"])


def write_weights():
    model = video.averaged().half()
    model.unet.save_pretrained(VIDEO / "unet")
    model.text_encoder.save_pretrained(VIDEO / "text_encoder")
    export.declare_float32(VIDEO / "text_encoder" / "config.json")
    video_scorer.export(VIDEO / "video_scorer")
    for path in VIDEO.rglob("*.safetensors"):
        path.chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=DEFAULTS["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=DEFAULTS["guidance_scale"])
    parser.add_argument("--only-settings", action="store_true", help="leave the weights as they are")
    a = parser.parse_args()
    VIDEO.mkdir(parents=True, exist_ok=True)
    if not a.only_settings:
        write_weights()
    video_judge.export()
    DDIMScheduler(**SCHEDULER).save_pretrained(VIDEO / "scheduler")
    shutil.copytree(video_tokenizer.FOLDER, VIDEO / "tokenizer", dirs_exist_ok=True)
    shutil.copyfile(MODEL / "LICENSE", VIDEO / "LICENSE")
    (VIDEO / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    (VIDEO / "noisefind.json").write_text(json.dumps(DEFAULTS | dict(num_inference_steps=a.steps, guidance_scale=a.guidance), indent=2) + "\n")
    print("\n".join(export.hashes(VIDEO)))
    print(f"{sum(p.stat().st_size for p in VIDEO.rglob('*.safetensors')) / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    main()
