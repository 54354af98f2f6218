"""DPOK: tunes the weights of the denoiser for one prompt, the baseline that the paper compares with.

Method: Fan et al., "DPOK: Reinforcement Learning for Fine-tuning Text-to-Image Diffusion Models", NeurIPS 2023. LoRA of
rank 4 on the attention of the UNet; every denoising step of a stochastic DDIM (eta 1) is an action; clipped policy gradient
with the KL divergence to the frozen model; one prompt.

    python bench/peers/dpok.py --noisefind target/release/noisefind --prompts bench/method/prompts.tsv \\
        --record bench/results/dpok.jsonl --state target/dpok --images 3200 --limit 1

Scorer and judge are those of the other methods, asked through `noisefind score`. One cell a line is appended to the record, in
the format of `bench-method run`; an unfinished cell, and a finished one with a larger budget, goes on from its state.
`--device cuda` draws from the same noises and leaves scoring to the CPU; `--part 1/8` to `8/8` share the prompts between
processes with a record each, which is how so small a model keeps a GPU busy. `--method` names in the record what was done
on another device or with other settings.

Published settings are those of the command that its program (google-research, dpok, commit 1d49f2c) gives for a single
prompt, and what is scaled here:

    setting                    published   here   why
    LoRA rank                  4           4
    images an update           10          16     the batch of the other methods
    passes over an update      5           5
    transitions a pass         48          16     every image at one denoising step, which is one call of the denoiser
    drawn from                 1000 newest 320    no replay: the transitions of the newest images
    reward weight, KL weight   10, 0.01    10, 0.01
    ratio clip                 1e-4        1e-4   in the min form, so that a ratio can come back
    log-probability            averaged    averaged over the dimensions; the narrow clip belongs to this scale
    gradient norm              0.1         0.1
    learning rate (AdamW)      1e-5        3e-4   the model is 100 times smaller, and 20,000 images a prompt are out of reach
    denoising steps            50          20     the model's own recommendation, as for every method
    baseline of the reward     value net   mean   one prompt has one expected reward
"""

import argparse, hashlib, json, pathlib, subprocess, tempfile, time

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="models/emoji-64")
parser.add_argument("--noisefind", required=True, help="the program, for its scorer and judge")
parser.add_argument("--prompts", required=True, help="prompt list of bench-method")
parser.add_argument("--record", required=True, help="record to append to")
parser.add_argument("--state", required=True, help="folder of unfinished cells")
parser.add_argument("--images", type=int, default=3200, help="budget: images generated and scored for learning")
parser.add_argument("--samples", type=int, default=64, help="fresh images of base and tuned each")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--limit", type=int, help="at most this many prompts of each category")
parser.add_argument("--half", choices=["development", "held-out"], help="only prompts of this half")
parser.add_argument("--part", default="1/1", help="I/N: every Nth of these prompts, from the Ith")
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--method", default="dpok", help="name in the record")
parser.add_argument("--learning-rate", type=float, default=3e-4)
parser.add_argument("--batch", type=int, default=16, help="images an update")
args = parser.parse_args()

PASSES, REWARD_WEIGHT, KL_WEIGHT, CLIP, GRADIENT_NORM = 5, 10.0, 0.01, 1e-4, 0.1
RECOMMENDED = json.loads(pathlib.Path(args.model, "noisefind.json").read_text())
STEPS, GUIDANCE = RECOMMENDED["num_inference_steps"], RECOMMENDED["guidance_scale"]


def standard(shape, generator):
    """Standard normal numbers, the same on every device."""
    return torch.randn(shape, generator=generator).to(args.device)


class Denoiser:
    """The pipeline, with every denoising step as a Gaussian whose mean depends on the weights."""

    def __init__(self, prompt):
        self.pipe = StableDiffusionPipeline.from_pretrained(args.model, safety_checker=None, feature_extractor=None,
                                                            torch_dtype=torch.float32).to(args.device)
        self.scheduler = DDIMScheduler.from_config(self.pipe.scheduler.config)
        self.scheduler.set_timesteps(STEPS)
        self.unet = self.pipe.unet.requires_grad_(False)
        self.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian",
                                         target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
        with torch.no_grad():
            text, empty = self.pipe.encode_prompt(prompt, args.device, 1, True, "")
        self.embeddings = torch.cat([empty, text])

    def mean(self, latents, step):
        """Mean of the next latents under the present weights; `step` counts from 0."""
        time_step = self.scheduler.timesteps[step]
        embeddings = self.embeddings.repeat_interleave(len(latents), 0)
        empty, text = self.unet(torch.cat([latents] * 2), time_step, embeddings).sample.chunk(2)
        guided = empty + GUIDANCE * (text - empty)
        return self.scheduler.step(guided, time_step, latents, eta=1.0, variance_noise=torch.zeros_like(latents)).prev_sample

    def deviation(self, step):
        """Standard deviation of the next latents."""
        time_step = int(self.scheduler.timesteps[step])
        before = time_step - self.scheduler.config.num_train_timesteps // STEPS
        return float(self.scheduler._get_variance(time_step, before)) ** 0.5

    @torch.no_grad()
    def draw(self, noises, generator):
        """The latents from noises to the end, `STEPS + 1` of them, and the mean that each but the first was drawn around."""
        path, means = [noises], []
        for step in range(STEPS):
            means.append(self.mean(path[-1], step))
            path.append(means[-1] + self.deviation(step) * standard(noises.shape, generator))
        return path, means

    @torch.no_grad()
    def images(self, latents):
        decoded = self.pipe.vae.decode(latents / self.pipe.vae.config.scaling_factor).sample
        return self.pipe.image_processor.postprocess(decoded, output_type="pil")


def scored(images, prompt, scorer):
    """Rewards by `noisefind score`, None where missing."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{number}.png" for number in range(len(images))]
        for image, file in zip(images, files):
            image.save(file)
        command = [args.noisefind, "score", *files, "--prompt", prompt, "--model", args.model, "--reward", scorer]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return [json.loads(line)["reward"] for line in lines]


def update(denoiser, optimizer, path, means, rewards, generator):
    """`PASSES` clipped steps over the batch, each at one denoising step; `means` are those of the weights that drew it."""
    count = len(rewards)
    advantages = REWARD_WEIGHT * (rewards - rewards.mean())
    moves = [step for step in range(STEPS) if denoiser.deviation(step) > 1e-4]
    for step in (moves[at] for at in torch.randperm(len(moves), generator=generator)[:PASSES]):
        latents, drawn, old, deviation = path[step], path[step + 1], means[step], denoiser.deviation(step)
        denoiser.unet.disable_adapters()
        with torch.no_grad():
            frozen = denoiser.mean(latents, step)
        denoiser.unet.enable_adapters()
        mean = denoiser.mean(latents, step)
        log = lambda centre: -((drawn - centre) ** 2).mean(dim=(1, 2, 3)) / (2 * deviation**2)
        # Averaged over the dimensions, as DPOK and DDPO do; the narrow clip belongs to this scale.
        ratio = (log(mean) - log(old)).exp()
        surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages)
        divergence = ((mean - frozen) ** 2).mean(dim=(1, 2, 3)) / (2 * deviation**2)
        loss = (-surrogate + KL_WEIGHT * divergence).sum() / count
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in denoiser.unet.parameters() if p.requires_grad], GRADIENT_NORM)
        optimizer.step()


def arm(rewards, judgements):
    """One arm as `bench-method` records it; what only it can tell is null."""
    given, judged = [r for r in rewards if r is not None], [j for j in judgements if j is not None]
    quantile = lambda q: float(torch.tensor(given).quantile(q)) if given else None
    return {"reward_mean": sum(given) / len(given) if given else None, "reward_ci95": None, "reward_p5": quantile(0.05),
            "reward_p50": quantile(0.5), "reward_p95": quantile(0.95), "rewards_missing": len(rewards) - len(given),
            "success_rate": sum(judged) / len(judged) if judged else None, "success_ci95": None, "diversity": None}


def look(denoiser, prompt):
    """Fresh images of the present weights, always from the same noises: their rewards and judgements."""
    generator, rewards, judgements = torch.Generator().manual_seed(10**9 + args.seed), [], []
    for start in range(0, args.samples, args.batch):
        count = min(args.batch, args.samples - start)
        path, _ = denoiser.draw(standard((count, *shape(denoiser)), generator), generator)
        images = denoiser.images(path[-1])
        rewards += scored(images, prompt, "clip-score")
        judgements += scored(images, prompt, "scene-judge")
    return rewards, judgements


def shape(denoiser):
    config = denoiser.unet.config
    return config.in_channels, config.sample_size, config.sample_size


def sha256(prompt):
    return hashlib.sha256(prompt.encode()).hexdigest()


def half(prompt):
    return "held-out" if int(sha256(prompt)[-1], 16) % 2 else "development"


def tune(category, prompt, model_sha256):
    # Without the budget in its name, so that a larger one goes on from a smaller one; other settings have another method.
    state_file = pathlib.Path(args.state, f"{args.method}-{sha256(prompt)[:16]}-{args.seed}.pt")
    torch.manual_seed(args.seed)
    denoiser = Denoiser(prompt)
    optimizer = torch.optim.AdamW([p for p in denoiser.unet.parameters() if p.requires_grad], args.learning_rate)
    generator = torch.Generator().manual_seed(args.seed)
    if state_file.exists():
        state = torch.load(state_file, map_location="cpu")
        set_peft_model_state_dict(denoiser.unet, state["lora"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        base, curve, seconds = state["base"], state["curve"], state["seconds"]
    else:
        base, curve, seconds = look(denoiser, prompt), [], 0.0
    if args.batch * len(curve) > args.images:
        raise SystemExit(f"{state_file} has seen {args.batch * len(curve)} images, more than --images {args.images}; remove it to begin again")
    while args.batch * len(curve) < args.images:
        started = time.monotonic()
        path, means = denoiser.draw(standard((args.batch, *shape(denoiser)), generator), generator)
        rewards = scored(denoiser.images(path[-1]), prompt, "clip-score")
        kept = [at for at, reward in enumerate(rewards) if reward is not None]
        if len(kept) >= 2:
            path, means = [latents[kept] for latents in path], [mean[kept] for mean in means]
            update(denoiser, optimizer, path, means, torch.tensor([rewards[at] for at in kept], device=args.device), generator)
        seconds += time.monotonic() - started
        mean = sum(rewards[at] for at in kept) / len(kept) if kept else None
        curve.append({"evaluations": args.batch * (len(curve) + 1), "reward_mean": mean, "kl_nats": None,
                      "step_norm": None, "explained_share": None})
        saved = {"lora": get_peft_model_state_dict(denoiser.unet), "optimizer": optimizer.state_dict(), "base": base,
                 "generator": generator.get_state(), "curve": curve, "seconds": seconds}
        torch.save(saved, state_file.with_suffix(".tmp"))
        state_file.with_suffix(".tmp").replace(state_file)
    rewards, judgements = look(denoiser, prompt)
    spread = torch.tensor(base[0]).std().item()
    key = {"prompt": prompt, "seed": args.seed, "samples": args.samples, "model_sha256": model_sha256}
    rest = {"category": category, "half": half(prompt), "kl_nats": None,
            "noise_norm_ratio": None, "watched": {}, "gain_sigmas_ci95": None, "diversity_ratio": None}
    base_arm, tuned_arm = arm(*base), arm(rewards, judgements)
    gain = (tuned_arm["reward_mean"] - base_arm["reward_mean"]) / spread
    return [
        {**key, **rest, "method": f"{args.method}-base", "budget": 0, "evaluations": 0, "learning_seconds": 0.0,
         "stop_reason": "nothing-to-learn", "curve": [], "arm": base_arm, "rewards": base[0], "gain_sigmas": 0.0},
        {**key, **rest, "method": args.method, "budget": args.images, "evaluations": args.batch * len(curve),
         "learning_seconds": seconds, "stop_reason": "evaluations-used", "curve": curve, "arm": tuned_arm,
         "rewards": rewards, "gain_sigmas": gain},
    ]


def main():
    pathlib.Path(args.state).mkdir(parents=True, exist_ok=True)
    record = pathlib.Path(args.record)
    record.parent.mkdir(parents=True, exist_ok=True)
    lines = record.read_text().splitlines() if record.exists() else []
    done = {(cell["prompt"], cell["seed"], cell["budget"]) for cell in map(json.loads, lines) if cell["method"] == args.method}
    # The default model has the same hash inside the program and as a folder.
    report = subprocess.run([args.noisefind, "inspect", args.model, "--json"], check=True, capture_output=True, text=True)
    model_sha256 = json.loads(report.stdout)["sha256"]
    first, parts = map(int, args.part.split("/"))
    for category, prompt in chosen()[first - 1::parts]:
        if (prompt, args.seed, args.images) in done:
            continue
        for cell in tune(category, prompt, model_sha256):
            with record.open("a") as file:
                file.write(json.dumps(cell) + "\n")
        print(prompt, "gain", round(cell["gain_sigmas"], 2), "success", cell["arm"]["success_rate"], flush=True)


def chosen():
    """Category and prompt of every cell, of all parts."""
    counts, chosen = {}, []
    for line in pathlib.Path(args.prompts).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        category, prompt = line.split("\t")[:2]
        if args.half and half(prompt) != args.half:
            continue
        counts[category] = counts.get(category, 0) + 1
        if not args.limit or counts[category] <= args.limit:
            chosen.append((category, prompt))
    return chosen


main()
