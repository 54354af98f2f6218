"""Serves a diffusers pipeline: Flux, SD3, Wan, LTX and whatever else draws its initial noise with `randn_tensor`.

Usage: noisefind tune PROMPT --model "exec:python3 diffusers_generator.py FOLDER_OR_HUB_ID [NAME=VALUE ...]"
NAME=VALUE are arguments of the pipeline's call (height=768 guidance_scale=3.5), values in JSON or plain text; they win over
noisefind's own, of which those that the pipeline does not take are left out. The pipeline scales and packs the noise itself, as it would its own.
"""
import inspect, json, os, sys

answers, sys.stdout = sys.stdout, sys.stderr
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

class ShapeIsKnown(Exception):
    """Ends the first call as soon as the pipeline has asked for its noise."""

def value(text):
    try:
        return json.loads(text)
    except ValueError:
        return text

def randn_tensor(shape, *arguments, dtype=None, device=None, **named):
    if not pending:
        return own_randn_tensor(shape, *arguments, dtype=dtype, device=device, **named)
    noise = pending.pop()
    if noise is None:
        raise ShapeIsKnown(list(shape[1:]))
    if noise.shape != tuple(shape):
        raise ValueError(f"the pipeline wants noise of {list(shape)}, found {list(noise.shape)}")
    return noise.to(device=device, dtype=dtype)

def draw(request):
    noise, folder = load_file(request["noise"])["noise"], os.path.dirname(request["noise"])
    options = {name: option for name, option in request["options"].items() if option is not None and name in accepted}
    seed_of = lambda seed, iteration, index: ((seed * 1000003 + iteration) * 1000003 + index) % 2**63
    generator = [torch.Generator().manual_seed(seed_of(*key)) for key in request["keys"]]
    pending.append(noise)
    drawn = pipeline(prompt=[request["prompt"]] * len(noise), generator=generator, output_type="pil", **options | fixed)
    clips = drawn.frames if "frames" in drawn else [[picture] for picture in drawn.images]
    media = [[os.path.join(folder, f"{at}-{frame}.png") for frame in range(len(clip))] for at, clip in enumerate(clips)]
    for path, frame in zip(sum(media, []), (frame for clip in clips for frame in clip)):
        frame.save(path)
    return {"id": request["id"], "media": media if "num_frames" in accepted else [paths[0] for paths in media]}

fixed = {name: value(text) for name, _, text in (argument.partition("=") for argument in sys.argv[2:])}
device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
pipeline = DiffusionPipeline.from_pretrained(sys.argv[1], torch_dtype=dtype).to(device)
pipeline.set_progress_bar_config(disable=True)
accepted, pending = inspect.signature(pipeline.__call__).parameters, [None]
pipeline_module = sys.modules[type(pipeline).__module__]
own_randn_tensor, pipeline_module.randn_tensor = pipeline_module.randn_tensor, randn_tensor
next(sys.stdin)
try:
    pipeline(prompt=["a dog"], **fixed)
    sys.exit("the pipeline never asked for noise")
except ShapeIsKnown as shape:
    print(json.dumps({"ready": True, "noise_shape": shape.args[0]}), file=answers, flush=True)
for line in sys.stdin:
    print(json.dumps(draw(json.loads(line))), file=answers, flush=True)
