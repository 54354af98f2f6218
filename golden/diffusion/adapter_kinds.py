"""Makes adapters of every kind, and the weights that PEFT, diffusers and LyCORIS make of them: `adapter_kinds/`.

Run: python golden/diffusion/adapter_kinds.py   (after make.py; versions in golden/requirements.txt, and lycoris-lora 4.1.3)

The golden file holds every fifth number of the changed weights of a few modules of `sd1`, named `SETUP/PART.MODULE.weight`.
"""

import copy
import json
import pathlib
import tempfile

import peft
import safetensors.torch
import torch
from lycoris.functional import lokr as lokr_functions
from lycoris.modules import full, locon, loha, lokr

import make
import tiny

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "adapter_kinds"
ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
KEY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
CONV = "mid_block.resnets.1.conv2"
NORM = "mid_block.resnets.0.norm1"
TEXT = "encoder.layers.0.self_attn.q_proj"
GENERATOR = torch.Generator().manual_seed(5)


def random(*shape, scale=1.0):
    return torch.randn(*shape, generator=GENERATOR) * scale


def parts():
    with tempfile.TemporaryDirectory() as folder:
        pipeline = tiny.build("sd1", folder)
    pipeline.unet.float()
    pipeline.text_encoder.float()
    return pipeline


def save(name, tensors, metadata=None, config=None):
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True, parents=True)
    safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata=metadata)
    if config:
        (path.parent / "adapter_config.json").write_text(json.dumps(config))
    return path


def kohya(module):
    return "lora_unet_" + module.replace(".", "_")


# LyCORIS ------------------------------------------------------------------------------------------------------------


def lycoris_merged(module, cls, tensors, weight):
    """The weight of a module as the class of LyCORIS merges it."""
    get = lambda name: tensors.get(f"{kohya(module.name)}.{name}")
    made = cls.make_module_from_state_dict("name", module.layer, *[get(name) for name in cls.weight_list])
    if cls is loha.LohaModule:
        # Its merging applies alpha twice; its forward pass, with which it was trained, once.
        return module.layer.weight + weight * made.get_weight(module.layer.weight.shape), None
    return made.get_merged_weight(weight, module.layer.weight.shape)


class Layer:
    def __init__(self, root, name):
        self.name, self.layer = name, copy.deepcopy(root.get_submodule(name))
        self.layer.requires_grad_(False)


def lycoris_setups(pipeline):
    root = pipeline.unet
    shape = lambda name: root.get_submodule(name).weight.shape
    setups = {}
    low = {}
    # Two low-rank matrices with a window between them (Tucker), and the norms of DoRA by outputs and by inputs.
    out, inner, *window = shape(CONV)
    low |= {
        f"{kohya(CONV)}.lora_down.weight": random(3, inner, 1, 1, scale=0.3),
        f"{kohya(CONV)}.lora_mid.weight": random(3, 3, *window, scale=0.3),
        f"{kohya(CONV)}.lora_up.weight": random(out, 3, 1, 1, scale=0.3),
        f"{kohya(CONV)}.alpha": torch.tensor(2.0),
    }
    setups["tucker"] = (low, {CONV: locon.LoConModule}, 0.7)
    out, inner = shape(ATTENTION)
    dora = {
        f"{kohya(ATTENTION)}.lora_down.weight": random(3, inner, scale=0.3),
        f"{kohya(ATTENTION)}.lora_up.weight": random(out, 3, scale=0.3),
        f"{kohya(ATTENTION)}.alpha": torch.tensor(2.0),
        f"{kohya(ATTENTION)}.dora_scale": random(out, 1).abs() + 0.5,
    }
    setups["dora"] = (dora, {ATTENTION: locon.LoConModule}, 0.7)
    hadamard = {f"{kohya(ATTENTION)}.alpha": torch.tensor(2.0), f"{kohya(CONV)}.alpha": torch.tensor(1.0)}
    for which in (1, 2):
        hadamard |= {
            f"{kohya(ATTENTION)}.hada_w{which}_a": random(out, 3, scale=0.5),
            f"{kohya(ATTENTION)}.hada_w{which}_b": random(3, inner, scale=0.5),
        }
    out, inner, *window = shape(CONV)
    for which in (1, 2):
        hadamard |= {
            f"{kohya(CONV)}.hada_t{which}": random(3, 3, *window, scale=0.5),
            f"{kohya(CONV)}.hada_w{which}_a": random(3, out, scale=0.5),
            f"{kohya(CONV)}.hada_w{which}_b": random(3, inner, scale=0.5),
        }
    setups["loha"] = (hadamard, {ATTENTION: loha.LohaModule, CONV: loha.LohaModule}, -0.7)
    out, inner = shape(ATTENTION)
    whole = {
        f"{kohya(ATTENTION)}.lokr_w1": random(4, 4, scale=0.5),
        f"{kohya(ATTENTION)}.lokr_w2": random(out // 4, inner // 4, scale=0.5),
        # Two whole factors have no rank, and alpha does not count.
        f"{kohya(ATTENTION)}.alpha": torch.tensor(3.0),
    }
    out, inner, *window = shape(CONV)
    whole |= {
        f"{kohya(CONV)}.lokr_w1": random(4, 4, scale=0.5),
        f"{kohya(CONV)}.lokr_w2_a": random(out // 4, 2, scale=0.5),
        f"{kohya(CONV)}.lokr_w2_b": random(2, inner // 4 * window[0] * window[1], scale=0.5),
        f"{kohya(CONV)}.alpha": torch.tensor(1.0),
    }
    setups["lokr"] = (whole, {ATTENTION: lokr.LokrModule, CONV: lokr.LokrModule}, 0.7)
    changes = {
        f"{kohya(CONV)}.diff": random(*shape(CONV), scale=0.1),
        f"{kohya(CONV)}.diff_b": random(shape(CONV)[0], scale=0.1),
    }
    setups["diff"] = (changes, {CONV: full.FullModule}, 0.5)
    return setups


def kronecker(tensors, module, shape):
    """The change by two factors, for sizes that the class of LyCORIS cannot be made for."""
    get = lambda name: tensors.get(f"{kohya(module)}.{name}")
    window = shape[2:]
    right = get("lokr_w2_b")
    right = right if right is None else right.reshape(right.shape[0], -1, *window)
    scale = 1.0 if right is None else get("alpha").item() / right.shape[0]
    factors = get("lokr_w1"), None, None, get("lokr_w2"), get("lokr_w2_a"), right
    return lokr_functions._kron_weight(*factors, None, scale).reshape(shape)


def make_lycoris(pipeline, golden):
    for name, (tensors, classes, weight) in lycoris_setups(pipeline).items():
        save(f"{name}.safetensors", tensors)
        for module, cls in classes.items():
            layer = Layer(pipeline.unet, module)
            if cls is lokr.LokrModule:
                merged, bias = layer.layer.weight + weight * kronecker(tensors, module, layer.layer.weight.shape), None
            elif cls is full.FullModule:
                merged = layer.layer.weight + weight * tensors[f"{kohya(module)}.diff"]
                bias = layer.layer.bias + weight * tensors[f"{kohya(module)}.diff_b"]
            else:
                merged, bias = lycoris_merged(layer, cls, tensors, weight)
            golden[f"{name}/unet.{module}.weight"] = merged
            if bias is not None:
                golden[f"{name}/unet.{module}.bias"] = bias


# PEFT ---------------------------------------------------------------------------------------------------------------


def fill(model):
    for name, parameter in model.named_parameters():
        if any(kind in name for kind in ("lora_", "hada_", "lokr_")):
            offset = 1.0 if "magnitude" in name else 0.0
            parameter.data = (random(*parameter.shape, scale=0.3) + offset).half().float()


def make_peft(name, model, config, modules, golden, part, weight=1.0):
    """An adapter as PEFT saves it, a folder of its own, and the weights that PEFT merges."""
    wrapped = peft.get_peft_model(model, config)
    fill(wrapped)
    with tempfile.TemporaryDirectory() as temporary:
        wrapped.save_pretrained(temporary, safe_serialization=True)
        tensors = safetensors.torch.load_file(f"{temporary}/adapter_model.safetensors")
        read = json.loads(pathlib.Path(temporary, "adapter_config.json").read_text())
    kept = ("peft_type", "r", "lora_alpha", "alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora")
    # PEFT sorts the keys that it writes, but not those that it reads; the order of the patterns is part of the config.
    values = {key: getattr(config, key) if key.endswith("pattern") else read[key] for key in kept if key in read}
    save(f"{name}/adapter_model.safetensors", tensors, config=values)
    if weight != 1.0:
        for layer in wrapped.modules():
            if isinstance(layer, peft.tuners.tuners_utils.BaseTunerLayer):
                layer.scale_layer(weight)
    merged = wrapped.merge_and_unload()
    for module in modules:
        golden[f"{name}/{part}.{module}.weight"] = merged.get_submodule(module).weight


def make_all_peft(golden):
    targets = [ATTENTION, KEY, CONV]
    patterns = dict(
        r=4,
        lora_alpha=8,
        # The first pattern that fits counts; the names are regular expressions for the end of a name.
        rank_pattern={"to_k": 2, r"attn\d\.to_k": 3},
        alpha_pattern={"zzz": 1, "to_q": 6, r"attn1\.to_[qv]": 3, "conv2": 5},
    )
    make_peft("peft-patterns", parts().unet, peft.LoraConfig(target_modules=targets, **patterns), targets, golden, "unet", 0.7)
    rooted = peft.LoraConfig(target_modules=targets, r=4, lora_alpha=6, use_rslora=True)
    make_peft("peft-rslora", parts().unet, rooted, targets, golden, "unet", -0.5)
    dora = peft.LoraConfig(target_modules=targets, r=3, lora_alpha=3, use_dora=True)
    make_peft("peft-dora", parts().unet, dora, targets, golden, "unet", 0.7)
    make_peft("peft-loha", parts().unet, peft.LoHaConfig(target_modules=targets, r=3, alpha=2), targets, golden, "unet")
    make_peft("peft-lokr", parts().unet, peft.LoKrConfig(target_modules=targets, r=2, alpha=3), targets, golden, "unet")
    text = peft.LoraConfig(target_modules=[TEXT], r=3, lora_alpha=6)
    make_peft("peft-text", parts().text_encoder, text, [TEXT], golden, "text_encoder")


@torch.no_grad()
def make_diffusers(golden):
    """Two files at once with a positive and a negative weight, one of them without the prefix of the denoiser."""
    pipeline = parts()
    pairs = lambda module: {
        f"{module}.lora_A.weight": random(3, *pipeline.unet.get_submodule(module).weight.shape[1:], scale=0.3),
        f"{module}.lora_B.weight": random(pipeline.unet.get_submodule(module).weight.shape[0], 3, scale=0.3),
    }
    first = {f"unet.{name}": value for name, value in (pairs(ATTENTION) | pairs(KEY)).items()}
    second = {f"unet.{name}": value for name, value in pairs(ATTENTION).items()}
    save("first.safetensors", first)
    save("second.safetensors", {name.removeprefix("unet."): value for name, value in second.items()})
    pipeline.load_lora_weights(dict(first), adapter_name="first")
    pipeline.load_lora_weights(dict(second), adapter_name="second")
    pipeline.set_adapters(["first", "second"], [0.8, -0.6])
    pipeline.fuse_lora(components=["unet"], adapter_names=["first", "second"])
    pipeline.unload_lora_weights()
    for module in (ATTENTION, KEY):
        golden[f"two/unet.{module}.weight"] = pipeline.unet.get_submodule(module).weight


def main():
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    golden = {}
    with torch.no_grad():
        make_lycoris(parts(), golden)
    make_all_peft(golden)
    make_diffusers(golden)
    golden = {name: value.detach().float().flatten()[::5].clone() for name, value in golden.items()}
    make.save(golden, "adapter_kinds")
    for name, value in golden.items():
        print(name, tuple(value.shape), float(value.std()))


if __name__ == "__main__":
    main()
