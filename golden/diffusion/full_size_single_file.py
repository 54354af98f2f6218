"""A random checkpoint of the published size as one file with the names of the original program, and one call of its denoiser
in diffusers.

Run: python golden/diffusion/full_size_single_file.py sd-1.5|sdxl FOLDER   (7 GB of disk and 13 GB of memory for sdxl; nothing
of it is kept in the repository). Then: cargo run --release -p noisefind-diffusion --example agree -- FOLDER/NAME.safetensors
FOLDER/NAME.recorded.safetensors
"""

import json
import pathlib
import struct
import sys
import tempfile
import time

import diffusers
import numpy
import safetensors.torch
import torch

import full_size

HERE = pathlib.Path(__file__).parent
TIMESTEP = 621
SIZES = {"sd-1.5": "sd15", "sdxl": "sdxl"}
NUMBERS = numpy.random.default_rng(1).standard_normal(1 << 22, dtype=numpy.float32)


def names(name):
    """Names and shapes, of which each line holds what it has in common with the one before as a number."""
    before = ""
    for line in (HERE / f"single_file/{name}.txt").read_text().splitlines():
        common, rest = line.split(" ", 1)
        before = before[: int(common)] + rest
        tensor, shape = before.rsplit(" ", 1)
        yield tensor, [int(side) for side in shape.split(",") if side]


def values(tensor, shape, at):
    """Numbers that neither grow nor vanish from layer to layer."""
    count = int(numpy.prod(shape))
    if len(shape) < 2 and tensor.endswith("weight"):
        return numpy.ones(count, numpy.float16)
    scale = 0.02 if len(shape) < 2 or "embedding" in tensor else numpy.prod(shape[1:]) ** -0.5
    start = at * 7919 % (len(NUMBERS) // 2)
    return (numpy.resize(NUMBERS[start:], count) * scale).astype(numpy.float16)


def write(name, path):
    tensors, header, end = list(names(name)), {}, 0
    for tensor, shape in tensors:
        start, end = end, end + 2 * int(numpy.prod(shape))
        header[tensor] = dict(dtype="F16", shape=shape, data_offsets=[start, end])
    header = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for at, (tensor, shape) in enumerate(tensors):
            file.write(values(tensor, shape, at).tobytes())


@torch.no_grad()
def record(name, path, recorded):
    config = full_size.UNETS[SIZES[name]]
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "unet").mkdir()
        with torch.device("meta"):
            diffusers.UNet2DConditionModel.from_config(config).save_config(pathlib.Path(folder) / "unet")
        start = time.time()
        unet = diffusers.UNet2DConditionModel.from_single_file(path, config=folder, subfolder="unet", torch_dtype=torch.float32)
    print(f"diffusers loads the denoiser in {time.time() - start:.1f} s")
    generator = torch.Generator().manual_seed(3)
    random = lambda *shape: torch.randn(*shape, generator=generator)
    tensors = dict(unet_input=random(1, 4, 16, 16), unet_text=random(1, 77, config["cross_attention_dim"]))
    added = None
    if name == "sdxl":
        tensors["unet_pooled"] = random(1, 1280)
        added = dict(text_embeds=tensors["unet_pooled"], time_ids=torch.tensor([[128.0, 128.0, 0.0, 0.0, 128.0, 128.0]]))
    output = unet(tensors["unet_input"], TIMESTEP, tensors["unet_text"], added_cond_kwargs=added).sample
    safetensors.torch.save_file(tensors | {"unet_output": output}, recorded)
    print("output", float(output.std()), float(output.abs().max()))


def main():
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    write(name, path)
    record(name, path, folder / f"{name}.recorded.safetensors")


if __name__ == "__main__":
    main()
