"""The other side of `bench-models compare`: PyTorch and diffusers as their users run them.

    python bench/models/peer.py make FOLDER          # once: denoiser and decoder of Stable Diffusion 1.5's size, random weights
    python bench/models/peer.py serve THREADS MODEL SD15 VIDEO     # what bench-models starts

It reads requests, one JSON object a line, and answers each: {"prepare": CASE, "variant": V} opens and warms up, {"measure": V}
gives the seconds of one call, {"forget": true} drops the models. Same clock as there: the thread's own processor time with
one thread, the time on the wall with several. Names of cases are those of `src/ours.rs`.
"""

import json
import pathlib
import sys
import time

import diffusers
import torch
import transformers

PROMPT = "a green dog"
BATCH = 16
TIMESTEP = 621
REPETITION_SECONDS = 0.2
answers, sys.stdout = sys.stdout, sys.stderr


def make(folder):
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "golden" / "diffusion"))
    import full_size

    torch.manual_seed(5)
    unet = diffusers.UNet2DConditionModel.from_config(full_size.UNETS["sd15"])
    for part, name in [(unet, "unet"), (full_size.random_vae("sd15"), "vae")]:
        part.half().save_pretrained(pathlib.Path(folder) / name)


def unet_call(folder, batch, dtype, compiled):
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet", dtype=dtype)
    unet = unet.eval().to(memory_format=torch.channels_last)
    config = unet.config
    sample = torch.randn(batch, config.in_channels, config.sample_size, config.sample_size, dtype=dtype)
    sample = sample.to(memory_format=torch.channels_last)
    text = torch.randn(batch, 24 if config.cross_attention_dim < 768 else 77, config.cross_attention_dim, dtype=dtype)
    if compiled:
        unet = torch.compile(unet)
    return lambda: unet(sample, TIMESTEP, encoder_hidden_states=text, return_dict=False)[0]


def video_unet_call(folder, frames, dtype):
    unet = diffusers.UNet3DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype).eval()
    config = unet.config
    side = min(config.sample_size, 16)
    sample = torch.randn(2, config.in_channels, frames, side, side, dtype=dtype)
    text = torch.randn(2, 24 if config.cross_attention_dim < 768 else 77, config.cross_attention_dim, dtype=dtype)
    return lambda: unet(sample, TIMESTEP, encoder_hidden_states=text, return_dict=False)[0]


def vae_call(folder, dtype):
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae", dtype=dtype)
    vae = vae.eval().to(memory_format=torch.channels_last)
    latents = torch.randn(1, vae.config.latent_channels, 64, 64, dtype=dtype).to(memory_format=torch.channels_last)
    return lambda: vae.decode(latents, return_dict=False)[0]


def end_to_end_call(folder, images, dtype):
    folder = pathlib.Path(folder)
    recommended = json.loads((folder / "noisefind.json").read_text())
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, dtype=dtype)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    scorer = transformers.CLIPModel.from_pretrained(folder / recommended["default_scorer"], dtype=dtype).eval()
    processor = transformers.CLIPProcessor.from_pretrained(folder / recommended["default_scorer"])
    arguments = {name: recommended[name] for name in ["num_inference_steps", "guidance_scale"]}

    def call():
        rewards = []
        for first in range(0, images, BATCH):
            count = min(BATCH, images - first)
            generator = [torch.Generator().manual_seed(seed) for seed in range(first, first + count)]
            images = pipeline([PROMPT] * count, generator=generator, **arguments).images
            inputs = processor(text=[PROMPT], images=images, return_tensors="pt", padding=True).to(dtype)
            outputs = scorer(**inputs)
            rewards.extend(torch.cosine_similarity(outputs.image_embeds, outputs.text_embeds).tolist())
        return torch.tensor(rewards)

    return call


def prepare(case, variant, model, sd15, video):
    kind, *sizes = case.split(" ")
    sizes = {key: int(value) for key, value in (size.split("=") for size in sizes)}
    mode, dtype = variant.split(" ")
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    if kind == "default-unet":
        return unet_call(model, sizes["batch"], dtype, mode == "compiled")
    if kind == "sd15-unet":
        return unet_call(sd15, sizes["batch"], dtype, mode == "compiled")
    if kind == "video-unet":
        return video_unet_call(video, sizes["frames"], dtype)
    if kind == "sd15-vae":
        return vae_call(sd15, dtype)
    if kind == "end-to-end":
        return end_to_end_call(model, sizes["images"], dtype)
    raise ValueError(f"unknown case {case}")


def seconds_of(call, calls, clock):
    start = clock()
    for _ in range(calls):
        output = call()
    elapsed = (clock() - start) / calls
    assert output.isfinite().all(), "the output holds a number that is not finite"
    return elapsed


@torch.inference_mode()
def serve(threads, model, sd15, video):
    clock = time.thread_time if threads == 1 else time.perf_counter
    torch.set_num_threads(threads)
    answer = lambda **fields: print(json.dumps(fields), file=answers, flush=True)
    answer(version=f"PyTorch {torch.__version__}, diffusers {diffusers.__version__}")
    timed = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            call = prepare(request["prepare"], request["variant"], model, sd15, video)
            seconds_of(call, 1, clock)
            once = seconds_of(call, 1, clock)
            timed[request["variant"]] = call, max(1, int(REPETITION_SECONDS / max(once, 1e-9)) + 1)
            answer(ready=True)
        elif "measure" in request:
            answer(seconds=seconds_of(*timed[request["measure"]], clock))
        else:
            timed.clear()
            answer(ready=True)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        serve(int(sys.argv[2]), *sys.argv[3:])
