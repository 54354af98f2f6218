"""What diffusers draws from seed 42 under stochastic schedulers, with one generator an image and with one for the batch.

Run: python golden/diffusion/seeds.py   (after make.py; versions in golden/requirements.txt)
"""

import pathlib

import diffusers
import torch

import make
import variants

HERE = pathlib.Path(__file__).parent
SEED = 42
IMAGES = 3
STABLE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

# Family, class of the scheduler with its settings, arguments of the call.
SETUPS = {
    "turbo-xl": (
        "sdxl",
        (diffusers.EulerAncestralDiscreteScheduler, dict(STABLE, timestep_spacing="trailing")),
        dict(num_inference_steps=4, guidance_scale=0.0),
    ),
    "ddim": (
        "sd1",
        (diffusers.DDIMScheduler, dict(STABLE, clip_sample=False, steps_offset=1)),
        dict(num_inference_steps=4, guidance_scale=5.0, eta=1.0),
    ),
    "lcm": ("sd1", (diffusers.LCMScheduler, STABLE), dict(num_inference_steps=4, guidance_scale=1.0)),
    "sde": (
        "sd1",
        (diffusers.DPMSolverMultistepScheduler, dict(STABLE, algorithm_type="sde-dpmsolver++")),
        dict(num_inference_steps=5, guidance_scale=5.0),
    ),
    "ddpm": (
        "sd1",
        (diffusers.DDPMScheduler, dict(STABLE, clip_sample=False, steps_offset=1)),
        dict(num_inference_steps=4, guidance_scale=5.0),
    ),
}


def generator(seed):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    golden = {}
    for name, (family, (scheduler, settings), arguments) in SETUPS.items():
        pipeline = variants.pipeline_of(family)
        pipeline.scheduler = scheduler(**settings)
        (HERE / "variants" / f"seeds-{name}.json").write_text(pipeline.scheduler.to_json_string())
        generators = {"each": [generator(SEED + at) for at in range(IMAGES)], "batch": generator(SEED)}
        for mode, given in generators.items():
            latents = pipeline(
                make.PROMPT, num_images_per_prompt=IMAGES, generator=given, output_type="latent", **arguments
            ).images
            golden[f"{name}.{mode}"] = latents
            print(name, mode, float(latents.abs().max()))
    make.save(golden, "seeds")


if __name__ == "__main__":
    main()
