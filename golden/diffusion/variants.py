"""Whole runs of the tiny pipelines under other schedulers, options and parts, as diffusers does them.

Run: python golden/diffusion/variants.py   (after make.py and adapters.py; versions in golden/requirements.txt)
"""

import pathlib
import tempfile

import diffusers
import numpy
import safetensors.torch
import torch
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm

import adapters
import make
import tiny

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "variants"
SEED = 1
SCHEDULER_STEP = 1
STABLE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
TRAILING = dict(STABLE, timestep_spacing="trailing")


def philox(counter, key):
    """One block of Philox4x32-10 (Salmon et al., SC 2011)."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (p1 >> 32) ^ b ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ d ^ k1, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def step_noise(index, step, count):
    """The normals that sample `index` adds at `step`, in the stream that this project defines."""
    values = []
    for block in range((count + 3) // 4):
        words = philox((block, index, 0, (step << 8) | SCHEDULER_STEP), (SEED, 0))
        for u, v in (words[:2], words[2:]):
            radius = (-2 * numpy.log((u + 0.5) / 2**32)) ** 0.5
            values += [radius * numpy.cos(2 * numpy.pi * v / 2**32), radius * numpy.sin(2 * numpy.pi * v / 2**32)]
    return torch.tensor(values[:count], dtype=torch.float32)


class StepNoise:
    """Stands in for the function by which a scheduler draws."""

    def __init__(self):
        self.step = 0

    def __call__(self, shape, **_):
        samples = [step_noise(index, self.step, shape[1:].numel()) for index in range(shape[0])]
        self.step += 1
        return torch.stack(samples).reshape(shape)


def pipeline_of(family):
    with tempfile.TemporaryDirectory() as folder:
        pipeline = tiny.build(family, folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def lcm_lora(pipeline):
    pipeline.load_lora_weights(adapters.FOLDER, weight_name="kohya.safetensors")
    pipeline.set_adapters(pipeline.get_active_adapters(), adapters.WEIGHT)
    pipeline.fuse_lora(components=["unet", "text_encoder"])


def nested(pipeline):
    """What diffusers expects here is the layout of transformers before version 5, with the layers under `text_model`."""
    vars(pipeline.text_encoder)["text_model"] = pipeline.text_encoder


def taesd(pipeline):
    pipeline.vae = diffusers.AutoencoderTiny.from_pretrained(HERE / "lcm" / "vae")


def any_size(pipeline):
    """Real decoders make eight pixels of a latent, so diffusers asks for multiples of eight; the tiny ones make two."""
    pipeline.check_inputs = lambda *_, **__: None


# Family, class of the scheduler with its settings, what is changed, arguments of the call.
SETUPS = {
    "sd-turbo": ("sd2", (diffusers.EulerDiscreteScheduler, TRAILING), None, dict(num_inference_steps=1, guidance_scale=0.0)),
    "sdxl-turbo": (
        "sdxl",
        (diffusers.EulerAncestralDiscreteScheduler, TRAILING),
        None,
        dict(num_inference_steps=4, guidance_scale=0.0),
    ),
    "lcm-lora": ("sd1", (diffusers.LCMScheduler, STABLE), lcm_lora, dict(num_inference_steps=4, guidance_scale=1.0)),
    "clip-skip": ("sd1", None, nested, dict(num_inference_steps=3, guidance_scale=5.0, clip_skip=1, negative_prompt="the moon")),
    "clip-skip-xl": ("sdxl", None, None, dict(num_inference_steps=3, guidance_scale=5.0, clip_skip=1)),
    "negative-xl": ("sdxl", None, None, dict(num_inference_steps=3, guidance_scale=5.0, negative_prompt="the moon")),
    "taesd": ("sd1", None, taesd, dict(num_inference_steps=3, guidance_scale=5.0)),
    "tall": ("sd1", None, None, dict(num_inference_steps=3, guidance_scale=5.0, height=24, width=8)),
    "wide-xl": ("sdxl", None, None, dict(num_inference_steps=3, guidance_scale=5.0, height=8, width=32)),
    "odd": ("sd1", None, any_size, dict(num_inference_steps=3, guidance_scale=5.0, height=18, width=22)),
    "odd-xl": ("sdxl", None, any_size, dict(num_inference_steps=3, guidance_scale=5.0, height=10, width=14)),
}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    golden = {}
    for at, (name, (family, scheduler, change, arguments)) in enumerate(SETUPS.items()):
        pipeline = pipeline_of(family)
        if scheduler:
            pipeline.scheduler = scheduler[0](**scheduler[1])
            (FOLDER / f"{name}.json").write_text(pipeline.scheduler.to_json_string())
        if change:
            change(pipeline)
        generator = torch.Generator().manual_seed(400 + at)
        noise = torch.randn(
            2, 4, arguments.get("height", 16) // 2, arguments.get("width", 16) // 2, generator=generator
        )

        def run(kind):
            draw = StepNoise()
            scheduling_euler_ancestral_discrete.randn_tensor = scheduling_lcm.randn_tensor = draw
            batched = {**arguments}
            if "negative_prompt" in batched:
                batched["negative_prompt"] = [batched["negative_prompt"]] * 2
            return pipeline([make.PROMPT] * 2, latents=noise.clone(), output_type=kind, **batched).images

        golden[f"{name}.noise"] = noise
        golden[f"{name}.latents"] = run("latent")
        golden[f"{name}.pictures"] = torch.from_numpy(numpy.asarray(run("np"))).permute(0, 3, 1, 2)
        print(name, [float(golden[f"{name}.{key}"].abs().max()) for key in ("latents", "pictures")])
    make.save(golden, "variants")


if __name__ == "__main__":
    main()
