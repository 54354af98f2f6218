"""Makes schedulers.json: what diffusers' schedulers do on a toy denoiser, for every parameter and every change of class.

Run: python golden/diffusion/schedulers.py   (versions in golden/requirements.txt)

Every class that is implemented is loaded from complete configs, then with each key deleted and with each key null; from the
config of every other class, by `from_config` of its scheduler and directly, as where `model_index.json` names another
class; and with the settings and numbers of steps of SETUPS. A case names its run, or none where diffusers raises or draws
numbers that are none. Equal runs are stored once.
"""

import inspect
import json
import math
import pathlib
import warnings

import diffusers
import torch

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
diffusers.logging.set_verbosity_error()

START = [0.5, -1.25, 2.0, -0.3, 0.8]
STEPS = 6
# More steps than this are stored thinned.
MOST_STORED = 12
NAMES = (
    "DDIM DDPM PNDM EulerDiscrete EulerAncestralDiscrete HeunDiscrete LMSDiscrete DPMSolverMultistep DPMSolverSinglestep "
    "KDPM2Discrete KDPM2AncestralDiscrete DEISMultistep UniPCMultistep LCM TCD EDMEuler EDMDPMSolverMultistep "
    "FlowMatchEulerDiscrete"
)
CLASSES = {f"{name}Scheduler": getattr(diffusers, f"{name}Scheduler") for name in NAMES.split()}
STABLE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
THRESHOLD = dict(thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5)
FLOW = dict(use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction")
BETAS = dict(num_train_timesteps=20, trained_betas=[0.001 + 0.002 * at for at in range(20)])

# Complete configs: every other parameter has its default.
COMPLETE = {
    "DDIM": [
        dict(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        dict(THRESHOLD, prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True),
        dict(BETAS, prediction_type="sample", clip_sample_range=0.7),
    ],
    "DDPM": [
        dict(variance_type="fixed_large", clip_sample_range=1.5, steps_offset=1),
        dict(THRESHOLD, prediction_type="v_prediction", timestep_spacing="linspace", rescale_betas_zero_snr=True),
    ],
    "PNDM": [
        dict(skip_prk_steps=True, steps_offset=1),
        dict(set_alpha_to_one=True, prediction_type="v_prediction", timestep_spacing="linspace"),
    ],
    "EulerDiscrete": [
        dict(timestep_spacing="leading", steps_offset=1, interpolation_type="log_linear"),
        dict(
            use_karras_sigmas=True,
            sigma_min=0.05,
            sigma_max=12.0,
            final_sigmas_type="sigma_min",
            prediction_type="v_prediction",
            timestep_type="continuous",
        ),
        dict(use_exponential_sigmas=True, timestep_spacing="trailing", rescale_betas_zero_snr=True),
        dict(BETAS, use_beta_sigmas=True, prediction_type="sample"),
    ],
    "EulerAncestralDiscrete": [
        dict(timestep_spacing="leading", steps_offset=1),
        dict(timestep_spacing="trailing", prediction_type="v_prediction", rescale_betas_zero_snr=True),
    ],
    "HeunDiscrete": [
        dict(timestep_spacing="leading", steps_offset=1, clip_sample=True, clip_sample_range=1.2),
        dict(use_karras_sigmas=True, prediction_type="v_prediction", timestep_spacing="trailing"),
        dict(use_exponential_sigmas=True, prediction_type="sample"),
    ],
    "LMSDiscrete": [
        dict(timestep_spacing="leading", steps_offset=1),
        dict(use_karras_sigmas=True, prediction_type="v_prediction", timestep_spacing="trailing"),
        dict(use_beta_sigmas=True, prediction_type="sample"),
    ],
    "DPMSolverMultistep": [
        dict(timestep_spacing="leading", steps_offset=1, use_karras_sigmas=True),
        dict(THRESHOLD, timestep_spacing="trailing", lambda_min_clipped=-2.0, prediction_type="v_prediction"),
        dict(algorithm_type="sde-dpmsolver++", solver_order=3, rescale_betas_zero_snr=True, euler_at_final=True),
        dict(algorithm_type="dpmsolver", final_sigmas_type="sigma_min", solver_type="heun", prediction_type="sample"),
        dict(FLOW),
        dict(use_lu_lambdas=True, solver_order=3),
    ],
    "DPMSolverSinglestep": [
        dict(use_karras_sigmas=True, solver_order=3),
        dict(THRESHOLD, lambda_min_clipped=-2.0, prediction_type="v_prediction", solver_type="heun"),
        dict(algorithm_type="dpmsolver", final_sigmas_type="sigma_min", solver_order=3, lower_order_final=True),
        dict(algorithm_type="sde-dpmsolver++", solver_type="heun", final_sigmas_type="sigma_min", solver_order=3),
        dict(FLOW),
    ],
    "KDPM2Discrete": [
        dict(timestep_spacing="leading", steps_offset=1),
        dict(use_karras_sigmas=True, prediction_type="v_prediction"),
    ],
    "KDPM2AncestralDiscrete": [
        dict(timestep_spacing="leading", steps_offset=1),
        dict(use_exponential_sigmas=True, prediction_type="v_prediction", timestep_spacing="trailing"),
    ],
    "DEISMultistep": [
        dict(timestep_spacing="leading", steps_offset=1, solver_order=3),
        dict(THRESHOLD, timestep_spacing="trailing", prediction_type="v_prediction", use_karras_sigmas=True),
        dict(FLOW, lower_order_final=False),
    ],
    "UniPCMultistep": [
        dict(timestep_spacing="leading", steps_offset=1, solver_order=3),
        dict(THRESHOLD, timestep_spacing="trailing", prediction_type="v_prediction", use_karras_sigmas=True),
        dict(predict_x0=False, solver_type="bh1", final_sigmas_type="sigma_min", disable_corrector=[0, 2]),
        dict(FLOW, sigma_min=0.1, sigma_max=20.0),
        dict(use_exponential_sigmas=True, sigma_min=0.1, sigma_max=10.0, rescale_betas_zero_snr=True),
    ],
    "LCM": [
        dict(steps_offset=1, rescale_betas_zero_snr=True, prediction_type="v_prediction"),
        dict(clip_sample=True, clip_sample_range=0.9, original_inference_steps=25, timestep_scaling=2.0),
    ],
    "TCD": [dict(original_inference_steps=25), dict(rescale_betas_zero_snr=True, prediction_type="v_prediction")],
    "EDMEuler": [
        dict(sigma_max=50.0, rho=5.0),
        dict(sigma_schedule="exponential", final_sigmas_type="sigma_min", prediction_type="v_prediction"),
    ],
    "EDMDPMSolverMultistep": [
        dict(sigma_max=50.0, rho=5.0, solver_order=3),
        dict(THRESHOLD, algorithm_type="sde-dpmsolver++", solver_type="heun", prediction_type="v_prediction"),
        dict(sigma_schedule="exponential", final_sigmas_type="sigma_min", lower_order_final=False),
    ],
    "FlowMatchEulerDiscrete": [
        dict(shift=3.0),
        dict(stochastic_sampling=True, shift_terminal=0.1),
        dict(use_karras_sigmas=True, invert_sigmas=True),
    ],
}

# What published folders hold.
PUBLISHED = {
    "PNDMScheduler": dict(STABLE, skip_prk_steps=True, num_train_timesteps=1000),
    "DDIMScheduler": dict(STABLE, clip_sample=False, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1),
    "EulerDiscreteScheduler": dict(
        STABLE,
        clip_sample=False,
        interpolation_type="linear",
        sample_max_value=1.0,
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
        timestep_spacing="leading",
        use_karras_sigmas=False,
        trained_betas=None,
    ),
    "EulerAncestralDiscreteScheduler": dict(STABLE, timestep_spacing="trailing", interpolation_type="linear"),
    "DPMSolverMultistepScheduler": dict(
        STABLE, solver_order=2, algorithm_type="dpmsolver++", lambda_min_clipped=-math.inf, variance_type=None
    ),
    "UniPCMultistepScheduler": dict(STABLE, solver_type="bh2", disable_corrector=[], steps_offset=1),
    "DEISMultistepScheduler": dict(STABLE, algorithm_type="deis", solver_type="logrho"),
    "LCMScheduler": dict(STABLE, original_inference_steps=50, steps_offset=1, skip_prk_steps=True),
    "EDMEulerScheduler": dict(sigma_min=0.002, sigma_max=80.0),
    "FlowMatchEulerDiscreteScheduler": dict(shift=3.0, num_train_timesteps=1000),
}

# Name of the class without "Scheduler", number of steps, settings.
SETUPS = [
    ("DDIM", 50, dict(STABLE, clip_sample=False, set_alpha_to_one=False, steps_offset=1), 0.0),
    ("DDIM", 10, dict(STABLE, clip_sample=False, steps_offset=1), 0.5),
    ("DDIM", 10, dict(STABLE, clip_sample=False, steps_offset=1), 1.0),
    ("DDIM", 9, dict(beta_schedule="squaredcos_cap_v2"), 0.0),
    ("DDIM", 10, dict(STABLE, **{**THRESHOLD, "sample_max_value": 0.5}), 0.0),
    ("DDPM", 50, dict(STABLE), 0.0),
    ("DDPM", 8, dict(beta_schedule="sigmoid", variance_type="fixed_small_log"), 0.0),
    ("DDPM", 8, dict(beta_schedule="laplace"), 0.0),
    ("PNDM", 1, dict(STABLE, skip_prk_steps=True, steps_offset=1), 0.0),
    ("PNDM", 50, dict(STABLE, skip_prk_steps=True, steps_offset=1), 0.0),
    ("PNDM", 3, dict(STABLE), 0.0),
    ("PNDM", 4, dict(STABLE), 0.0),
    ("PNDM", 20, dict(STABLE, prediction_type="v_prediction"), 0.0),
    ("EulerDiscrete", 1, dict(STABLE, timestep_spacing="trailing"), 0.0),
    ("EulerDiscrete", 50, dict(STABLE, use_karras_sigmas=True), 0.0),
    ("EulerAncestralDiscrete", 4, dict(STABLE, timestep_spacing="trailing"), 0.0),
    ("HeunDiscrete", 1, dict(STABLE), 0.0),
    ("HeunDiscrete", 25, dict(STABLE, use_karras_sigmas=True), 0.0),
    ("HeunDiscrete", 9, dict(beta_schedule="exp"), 0.0),
    ("LMSDiscrete", 1, dict(STABLE), 0.0),
    ("LMSDiscrete", 30, dict(STABLE), 0.0),
    ("DPMSolverMultistep", 1, dict(STABLE), 0.0),
    ("DPMSolverMultistep", 20, dict(STABLE, solver_order=3), 0.0),
    ("DPMSolverMultistep", 25, dict(STABLE, use_karras_sigmas=True, algorithm_type="sde-dpmsolver++"), 0.0),
    ("DPMSolverMultistep", 20, dict(STABLE, algorithm_type="sde-dpmsolver", final_sigmas_type="sigma_min"), 0.0),
    ("DPMSolverMultistep", 20, dict(STABLE, use_exponential_sigmas=True), 0.0),
    ("DPMSolverMultistep", 20, dict(STABLE, use_beta_sigmas=True), 0.0),
    ("DPMSolverMultistep", 12, dict(STABLE, solver_order=1), 0.0),
    ("DPMSolverSinglestep", 1, dict(STABLE), 0.0),
    ("DPMSolverSinglestep", 21, dict(STABLE, solver_order=3), 0.0),
    ("DPMSolverSinglestep", 20, dict(STABLE, use_karras_sigmas=True), 0.0),
    ("KDPM2Discrete", 1, dict(STABLE), 0.0),
    ("KDPM2Discrete", 25, dict(STABLE, use_karras_sigmas=True), 0.0),
    ("KDPM2AncestralDiscrete", 20, dict(STABLE), 0.0),
    ("DEISMultistep", 1, dict(STABLE), 0.0),
    ("DEISMultistep", 20, dict(STABLE, solver_order=3), 0.0),
    ("UniPCMultistep", 1, dict(STABLE), 0.0),
    ("UniPCMultistep", 20, dict(STABLE, solver_order=3), 0.0),
    ("UniPCMultistep", 30, dict(STABLE, use_karras_sigmas=True), 0.0),
    ("LCM", 1, dict(STABLE), 0.0),
    ("LCM", 7, dict(STABLE), 0.0),
    ("TCD", 4, dict(STABLE), 0.3),
    ("EDMEuler", 18, dict(), 0.0),
    ("EDMDPMSolverMultistep", 18, dict(), 0.0),
    ("FlowMatchEulerDiscrete", 28, dict(shift=3.0), 0.0),
]
# Numbers of steps at which trailing times are rounded in NumPy's own way.
TRAILING_STEPS = [16, 48, 96, 112]


def denoise(x, timestep):
    return 0.3 * x + 0.1 * torch.sin(x) + 0.0001 * float(timestep)


def noise_of(step):
    return torch.randn(1, 1, 1, len(START), generator=torch.Generator().manual_seed(step))


def rounded(values):
    return [float(f"{value:.8g}") for value in values]


def run(scheduler, steps, eta):
    """The times and samples of a whole run."""
    scheduler.set_timesteps(steps)
    sigma = float(getattr(scheduler, "init_noise_sigma", 1.0))
    x = torch.tensor(START).reshape(1, 1, 1, -1) * sigma
    parameters = inspect.signature(scheduler.step).parameters
    path = []
    for at, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        arguments = {"eta": eta} if "eta" in parameters else {}
        if "generator" in parameters:
            arguments["generator"] = torch.Generator().manual_seed(at)
        x = scheduler.step(denoise(scaled, timestep), timestep, x, **arguments).prev_sample
        path.append(x.flatten().tolist())
    if not all(math.isfinite(value) for sample in path for value in sample):
        raise ArithmeticError("numbers that are none")
    count = len(path)
    kept = range(count) if count <= MOST_STORED else sorted({0, 1, 2, count // 2, count - 2, count - 1})
    return {
        "init_noise_sigma": rounded([sigma])[0],
        "timesteps": rounded([float(t) for t in scheduler.timesteps]),
        "samples": {str(at): rounded(path[at]) for at in kept},
    }


class Recorder:
    def __init__(self):
        self.runs, self.configs, self.cases = {}, {}, []

    def add(self, kind, config, make, steps=STEPS, eta=0.0, **more):
        try:
            found = place(self.runs, run(make(), steps, eta))
        except Exception:
            found = None
        case = {"kind": kind, "config": place(self.configs, config), "run": found, **more}
        if steps != STEPS or eta != 0.0:
            case |= {"steps": steps, "eta": eta}
        self.cases.append(case)


def place(known, value):
    """The place of a value among those that are known already, or after them."""
    return known.setdefault(json.dumps(value), len(known))


def from_file(name, config):
    return lambda: CLASSES[name].from_config(json.loads(json.dumps(config)))


def complete_configs(name):
    short = name.removesuffix("Scheduler")
    signature = inspect.signature(CLASSES[name].__init__).parameters
    defaults = {key: parameter.default for key, parameter in signature.items() if key != "self"}
    stable = {key: value for key, value in STABLE.items() if key in defaults}
    return [{"_class_name": name, **defaults, **stable, **own} for own in COMPLETE[short]]


def main():
    record = Recorder()
    for name in CLASSES:
        for config in complete_configs(name):
            record.add("complete", config, from_file(name, config))
            for key in config:
                if key == "_class_name":
                    continue
                without = {other: value for other, value in config.items() if other != key}
                null = {**config, key: None}
                record.add("absent", config, from_file(name, without), key=key)
                record.add("null", config, from_file(name, null), key=key)
    for short, steps, settings, eta in SETUPS:
        config = {"_class_name": f"{short}Scheduler", **settings}
        record.add("setup", config, from_file(f"{short}Scheduler", config), steps, eta)
    for name in CLASSES:
        if "timestep_spacing" in inspect.signature(CLASSES[name].__init__).parameters and name not in (
            "LCMScheduler",
            "TCDScheduler",
        ):
            for steps in TRAILING_STEPS:
                config = {"_class_name": name, **STABLE, "timestep_spacing": "trailing"}
                if name == "PNDMScheduler":
                    config["skip_prk_steps"] = True
                record.add("setup", config, from_file(name, config), steps)
    files = {name: complete_configs(name)[:1] for name in CLASSES}
    for name, config in PUBLISHED.items():
        files[name].append({"_class_name": name, **config})
    for name, configs in files.items():
        for config in configs:
            for other in CLASSES:
                change = lambda: CLASSES[other].from_config(from_file(name, config)().config)
                record.add("from_config", config, change, to=other)
    for name, config in PUBLISHED.items():
        config = {"_class_name": name, **config}
        for other in CLASSES:
            record.add("other_index", config, from_file(other, config), to=other)
    runs = [json.loads(text) for text in record.runs]
    noise = [rounded(noise_of(at).flatten().tolist()) for at in range(max(len(found["timesteps"]) for found in runs))]
    lists = {"runs": record.runs, "configs": record.configs, "cases": map(json.dumps, record.cases)}
    parts = [f'"start": {json.dumps(START)}', f'"noise": {json.dumps(noise)}']
    parts += [f'"{key}": [\n' + ",\n".join(entries) + "\n]" for key, entries in lists.items()]
    path = pathlib.Path(__file__).with_name("schedulers.json")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(path, path.stat().st_size, len(runs), "runs", len(record.cases), "cases")


if __name__ == "__main__":
    main()
