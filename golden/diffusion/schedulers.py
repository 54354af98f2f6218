"""Makes schedulers.json: trajectories of diffusers' schedulers on a toy denoiser.

Run: python golden/diffusion/schedulers.py   (versions in golden/requirements.txt)
"""

import json
import pathlib

import diffusers
import torch

torch.set_num_threads(1)
STABLE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
DDIM = dict(STABLE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
START = [0.5, -1.25, 2.0]

SETUPS = {
    "ddim_sd15_10": ("DDIMScheduler", 10, DDIM, {}),
    "ddim_sd15_50": ("DDIMScheduler", 50, DDIM, {}),
    "ddim_v_20": ("DDIMScheduler", 20, dict(DDIM, prediction_type="v_prediction"), {}),
    "ddim_sample_7": ("DDIMScheduler", 7, dict(DDIM, prediction_type="sample"), {}),
    "ddim_trailing_zero_snr_10": (
        "DDIMScheduler",
        10,
        dict(DDIM, prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True),
        {},
    ),
    "ddim_clip_linspace_10": ("DDIMScheduler", 10, dict(timestep_spacing="linspace"), {}),
    "ddim_threshold_10": (
        "DDIMScheduler",
        10,
        dict(DDIM, thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5),
        {},
    ),
    "ddim_linear_8": (
        "DDIMScheduler",
        8,
        dict(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False, steps_offset=1),
        {},
    ),
    "ddim_cosine_9": ("DDIMScheduler", 9, dict(beta_schedule="squaredcos_cap_v2"), {}),
    "ddim_eta_half_10": ("DDIMScheduler", 10, DDIM, dict(eta=0.5)),
    "ddim_eta_one_10": ("DDIMScheduler", 10, DDIM, dict(eta=1.0)),
    "pndm_sd15_10": ("PNDMScheduler", 10, dict(STABLE, skip_prk_steps=True, steps_offset=1), {}),
    "pndm_v_trailing_6": (
        "PNDMScheduler",
        6,
        dict(STABLE, skip_prk_steps=True, prediction_type="v_prediction", timestep_spacing="trailing"),
        {},
    ),
    "pndm_1": ("PNDMScheduler", 1, dict(STABLE, skip_prk_steps=True, steps_offset=1), {}),
    "euler_leading_10": ("EulerDiscreteScheduler", 10, dict(STABLE, timestep_spacing="leading", steps_offset=1), {}),
    "euler_linspace_10": ("EulerDiscreteScheduler", 10, dict(STABLE, timestep_spacing="linspace"), {}),
    "euler_trailing_1": ("EulerDiscreteScheduler", 1, dict(STABLE, timestep_spacing="trailing"), {}),
    "euler_trailing_4": ("EulerDiscreteScheduler", 4, dict(STABLE, timestep_spacing="trailing"), {}),
    "euler_v_5": ("EulerDiscreteScheduler", 5, dict(STABLE, prediction_type="v_prediction"), {}),
    "euler_karras_10": ("EulerDiscreteScheduler", 10, dict(STABLE, use_karras_sigmas=True), {}),
    "euler_ancestral_trailing_4": (
        "EulerAncestralDiscreteScheduler",
        4,
        dict(STABLE, timestep_spacing="trailing"),
        {},
    ),
    "euler_ancestral_v_6": ("EulerAncestralDiscreteScheduler", 6, dict(STABLE, prediction_type="v_prediction"), {}),
    "dpmpp_2m_linspace_10": ("DPMSolverMultistepScheduler", 10, STABLE, {}),
    "dpmpp_2m_karras_10": ("DPMSolverMultistepScheduler", 10, dict(STABLE, use_karras_sigmas=True), {}),
    "dpmpp_2m_leading_20": (
        "DPMSolverMultistepScheduler",
        20,
        dict(STABLE, timestep_spacing="leading", steps_offset=1),
        {},
    ),
    "dpmpp_2m_trailing_v_6": (
        "DPMSolverMultistepScheduler",
        6,
        dict(STABLE, timestep_spacing="trailing", prediction_type="v_prediction"),
        {},
    ),
    "dpmpp_2m_1": ("DPMSolverMultistepScheduler", 1, STABLE, {}),
    "lcm_1": ("LCMScheduler", 1, STABLE, {}),
    "lcm_4": ("LCMScheduler", 4, STABLE, {}),
    "lcm_7": ("LCMScheduler", 7, STABLE, {}),
    "flow_shift3_10": ("FlowMatchEulerDiscreteScheduler", 10, dict(shift=3.0), {}),
    "flow_shift1_4": ("FlowMatchEulerDiscreteScheduler", 4, dict(shift=1.0), {}),
}


def denoise(x, timestep):
    return 0.3 * x + 0.1 * torch.sin(x) + 0.0001 * float(timestep)


def trajectory(class_name, steps, settings, step_arguments):
    scheduler = getattr(diffusers, class_name)(**settings)
    scheduler.set_timesteps(steps)
    sigma = float(getattr(scheduler, "init_noise_sigma", 1.0))
    x = torch.tensor(START).reshape(1, 1, 1, 3) * sigma
    eta = step_arguments.get("eta", 0.0)
    adds_noise = eta > 0 or class_name in ("EulerAncestralDiscreteScheduler", "LCMScheduler")
    noises, path = [], []
    for at, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        arguments = dict(step_arguments)
        if adds_noise:
            # The scheduler draws what this generator draws first.
            noises.append(torch.randn(x.shape, generator=torch.Generator().manual_seed(at)).flatten().tolist())
            arguments["generator"] = torch.Generator().manual_seed(at)
        x = scheduler.step(denoise(scaled, timestep), timestep, x, **arguments).prev_sample
        path.append(x.flatten().tolist())
    return {
        "config": {"_class_name": class_name, **settings},
        "steps": steps,
        "eta": eta,
        "init_noise_sigma": sigma,
        "timesteps": [float(t) for t in scheduler.timesteps],
        "start": START,
        "noise": noises,
        "trajectory": path,
    }


def main():
    golden = {name: trajectory(*setup) for name, setup in SETUPS.items()}
    path = pathlib.Path(__file__).with_name("schedulers.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
