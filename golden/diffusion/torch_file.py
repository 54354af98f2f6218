"""Small files as `torch.save` writes them, good and bad, for the reader that never executes anything: `torch_file/`.

Usage: python golden/diffusion/torch_file.py   (after make.py; needs torch and safetensors)
"""

import argparse
import collections
import os
import pathlib
import sys
import types

import numpy
import safetensors.torch
import torch

FOLDER = pathlib.Path(__file__).with_name("torch_file")
FOLDER.mkdir(exist_ok=True)


class Command:
    """Unpickling this would run a command."""

    def __reduce__(self):
        return os.system, ("echo executed",)


def weights():
    base = torch.arange(24, dtype=torch.float32) / 4 - 2
    state = collections.OrderedDict()
    state["f32"] = base.reshape(2, 3, 4)
    state["view"] = base[5:11].reshape(2, 3)
    state["f16"] = base[:6].half()
    state["bf16"] = base[:6].bfloat16()
    state["f64"] = base[:4].double()
    state["parameter"] = torch.nn.Parameter(base[:4].clone())
    state["scalar"] = torch.tensor(4.5)
    state["ids"] = torch.arange(5)
    # One shared storage for two names, and nothing but a number beside them.
    state["shared"] = state["f32"]
    state["_metadata_of_others"] = 3
    state._metadata = collections.OrderedDict(version=1)
    return state


torch.save(weights(), FOLDER / "plain.pth")
torch.save({"epoch": 7, "loss": 0.25, "state_dict": weights()}, FOLDER / "state-dict.pt")
torch.save({"model": weights(), "name": "x" * 300}, FOLDER / "model.pt")
torch.save(torch.tensor([[1.0, 2.0]]), FOLDER / "bare.pt")
torch.save(weights(), FOLDER / "protocol-4.pt", pickle_protocol=4)
torch.save({"transposed": torch.arange(6.0).reshape(2, 3).t()}, FOLDER / "transposed.pt")
torch.save({"weight": torch.zeros(1), "extra": Command()}, FOLDER / "command.pt")
torch.save(weights(), FOLDER / "legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"epoch": 7}, FOLDER / "empty.pt")


def lightning():
    """What PyTorch Lightning keeps beside the weights: a class as a key, numbers of NumPy, sets, hyperparameters."""
    names = "pytorch_lightning.callbacks.model_checkpoint"
    parents = [names.rsplit(".", depth)[0] for depth in (2, 1)]
    sys.modules |= {name: types.ModuleType(name) for name in [*parents, names]}
    callback = type("ModelCheckpoint", (), {"__module__": names})
    sys.modules[names].ModelCheckpoint = callback
    momentum = {0: {"step": 3, "exp_avg": torch.ones(2)}}
    return {
        "epoch": 2,
        "global_step": 875000,
        "pytorch-lightning_version": "1.4.2",
        "global_tensor": torch.zeros(3),
        "state_dict": weights(),
        "callbacks": {callback: {"best_model_score": numpy.float64(0.5), "monitor": None, "history": numpy.arange(3)}},
        "optimizer_states": [{"state": momentum, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]}],
        "hyper_parameters": argparse.Namespace(base=["a.yaml"], devices={0, 1}, parts=frozenset({2}), raw=b"abc"),
        "counts": collections.defaultdict(int, a=1 << 70),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
    }


torch.save(lightning(), FOLDER / "lightning.ckpt")
# A part of a tiny pipeline, as folders hold it that are older than safetensors.
text_encoder = FOLDER.parent / "sd1" / "text_encoder" / "model.safetensors"
torch.save(safetensors.torch.load_file(text_encoder), FOLDER / "text_encoder.bin")
