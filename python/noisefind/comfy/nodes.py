"""ComfyUI's nodes: in the V3 schema where ComfyUI has it, and as V1 classes for older versions.

A folder of `custom_nodes` that imports this module offers them; `python/comfyui` of the repository is one.
"""

from __future__ import annotations

import os
from typing import Any

from ..policy import NoisePolicy
from .noise import FRESH, BaseNoise, FileNoise, PolicyNoise

CATEGORY = "noisefind"
POLICY = "NOISEFIND_POLICY"
LARGEST_SEED = 2**64 - 1
LARGEST_NUMBER = 2**32 - 1
FILE_NODE = "NoisefindNoiseFile"


def load_policy(path: str) -> NoisePolicy:
    """The policy in a file or a run folder; a name without folders is looked for in ComfyUI's input folder first."""
    return NoisePolicy.load(_input_file(path))


def file_noise(file: str, index: int, seed: int) -> FileNoise:
    """Noise from a file that was uploaded to ComfyUI's folder of temporary files."""
    if not file:
        return FileNoise("", index, seed)
    from folder_paths import get_temp_directory

    folder = os.path.realpath(get_temp_directory())
    path = os.path.realpath(os.path.join(folder, file))
    # Workflows come from strangers too.
    if os.path.dirname(path) != folder:
        raise ValueError(f"{file!r} is not the name of a file in ComfyUI's folder of temporary files")
    return FileNoise(path, index, seed)


def _input_file(path: str) -> str:
    if os.path.dirname(path):
        return path
    from folder_paths import get_input_directory

    in_input = os.path.join(get_input_directory(), path)
    return in_input if os.path.exists(in_input) else path


def _integer(default: int, largest: int, tooltip: str) -> tuple[str, dict[str, Any]]:
    return ("INT", {"default": default, "min": 0, "max": largest, "tooltip": tooltip})


class LoadPolicyV1:
    """*Load Noise Policy* for versions of ComfyUI without the V3 schema."""

    CATEGORY, FUNCTION, RETURN_TYPES, RETURN_NAMES = CATEGORY, "execute", (POLICY,), ("policy",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"path": ("STRING", {"default": "policy.safetensors", "tooltip": TOOLTIPS["path"]})}}

    @classmethod
    def IS_CHANGED(cls, path: str) -> float:
        return os.path.getmtime(_input_file(path))

    def execute(self, path: str) -> tuple[NoisePolicy]:
        return (load_policy(path),)


class PolicyNoiseV1:
    """*Policy Noise* for versions of ComfyUI without the V3 schema."""

    CATEGORY, FUNCTION, RETURN_TYPES = CATEGORY, "execute", ("NOISE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"policy": (POLICY,), "noise_seed": _integer(0, LARGEST_SEED, TOOLTIPS["seed"])}}

    def execute(self, policy: NoisePolicy, noise_seed: int) -> tuple[PolicyNoise]:
        return (PolicyNoise(policy, noise_seed),)


class BaseNoiseV1:
    """*Base Noise by key* for versions of ComfyUI without the V3 schema."""

    CATEGORY, FUNCTION, RETURN_TYPES = CATEGORY, "execute", ("NOISE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "noise_seed": _integer(0, LARGEST_SEED, TOOLTIPS["seed"]),
                "iteration": _integer(FRESH, LARGEST_NUMBER, TOOLTIPS["iteration"]),
                "index": _integer(0, LARGEST_NUMBER, TOOLTIPS["index"]),
            }
        }

    def execute(self, noise_seed: int, iteration: int, index: int) -> tuple[BaseNoise]:
        return (BaseNoise(noise_seed, iteration, index),)


class NoiseFileV1:
    """*Noise from File* for versions of ComfyUI without the V3 schema."""

    CATEGORY, FUNCTION, RETURN_TYPES = CATEGORY, "execute", ("NOISE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "file": ("STRING", {"default": "", "tooltip": TOOLTIPS["file"]}),
                "index": _integer(0, LARGEST_NUMBER, TOOLTIPS["number"]),
                "noise_seed": _integer(0, LARGEST_SEED, TOOLTIPS["sampler seed"]),
            }
        }

    def execute(self, file: str, index: int, noise_seed: int) -> tuple[FileNoise]:
        return (file_noise(file, index, noise_seed),)


TOOLTIPS = {
    "path": "A policy file or a run folder of noisefind; a name alone is looked for in the input folder.",
    "seed": "Image i of the batch starts from the noise of this seed plus i.",
    "iteration": "Step of the run that sampled the noise; the largest number is that of fresh noises.",
    "index": "Number of the first noise in its step.",
    "file": "Name of a file in the folder of temporary files, with the tensor `noise`.",
    "number": "Number of the first noise in the file.",
    "sampler seed": "Seed of samplers that add more noise at every step.",
}
NAMES = {
    "NoisefindLoadPolicy": "Load Noise Policy",
    "NoisefindPolicyNoise": "Policy Noise",
    "NoisefindBaseNoise": "Base Noise by key",
    FILE_NODE: "Noise from File",
}
NODE_CLASS_MAPPINGS = dict(zip(NAMES, (LoadPolicyV1, PolicyNoiseV1, BaseNoiseV1, NoiseFileV1)))
NODE_DISPLAY_NAME_MAPPINGS = NAMES


def v3_nodes() -> list[type]:
    """The nodes in the V3 schema.

    Raises:
        ImportError: Where this is not ComfyUI, or a version without `comfy_api.latest`.
    """
    from comfy_api.latest import io

    policy = io.Custom(POLICY)

    def schema(node_id: str, inputs: list[Any], output: Any) -> Any:
        return io.Schema(
            node_id=node_id, display_name=NAMES[node_id], category=CATEGORY, inputs=inputs, outputs=[output]
        )

    def integer(name: str, default: int, largest: int, tooltip: str) -> Any:
        return io.Int.Input(name, default=default, min=0, max=largest, tooltip=TOOLTIPS[tooltip])

    def seed(tooltip: str) -> Any:
        return io.Int.Input(
            "noise_seed",
            default=0,
            min=0,
            max=LARGEST_SEED,
            control_after_generate=True,
            tooltip=TOOLTIPS[tooltip],
        )

    class LoadPolicy(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> Any:
            path = io.String.Input("path", default="policy.safetensors", tooltip=TOOLTIPS["path"])
            return schema("NoisefindLoadPolicy", [path], policy.Output(display_name="policy"))

        @classmethod
        def fingerprint_inputs(cls, path: str) -> float:
            return os.path.getmtime(_input_file(path))

        @classmethod
        def execute(cls, path: str) -> Any:
            return io.NodeOutput(load_policy(path))

    class PolicyNoiseNode(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> Any:
            return schema("NoisefindPolicyNoise", [policy.Input("policy"), seed("seed")], io.Noise.Output())

        @classmethod
        def execute(cls, policy: NoisePolicy, noise_seed: int) -> Any:
            return io.NodeOutput(PolicyNoise(policy, noise_seed))

    class BaseNoiseNode(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> Any:
            iteration = integer("iteration", FRESH, LARGEST_NUMBER, "iteration")
            index = integer("index", 0, LARGEST_NUMBER, "index")
            return schema("NoisefindBaseNoise", [seed("seed"), iteration, index], io.Noise.Output())

        @classmethod
        def execute(cls, noise_seed: int, iteration: int, index: int) -> Any:
            return io.NodeOutput(BaseNoise(noise_seed, iteration, index))

    class NoiseFileNode(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> Any:
            file = io.String.Input("file", default="", tooltip=TOOLTIPS["file"])
            index = integer("index", 0, LARGEST_NUMBER, "number")
            return schema(FILE_NODE, [file, index, seed("sampler seed")], io.Noise.Output())

        @classmethod
        def execute(cls, file: str, index: int, noise_seed: int) -> Any:
            return io.NodeOutput(file_noise(file, index, noise_seed))

    return [LoadPolicy, PolicyNoiseNode, BaseNoiseNode, NoiseFileNode]


def v3_extension() -> Any:
    """What ComfyUI's `comfy_entrypoint` returns.

    Raises:
        ImportError: As `v3_nodes`.
    """
    from comfy_api.latest import ComfyExtension

    nodes = v3_nodes()

    class NoisefindExtension(ComfyExtension):
        async def get_node_list(self) -> list[type]:
            return nodes

    return NoisefindExtension()
