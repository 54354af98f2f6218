"""A workflow in ComfyUI's API format, with its noise replaced and its images read back."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from typing import Any, Mapping, Sequence

import numpy as np

from .._external import Key, Request
from .._media import as_png
from .nodes import FILE_NODE
from .noise import shape_in
from .server import ComfyError, ComfyServer, failure

PROMPT = "{prompt}"
"""Stands in a text of the workflow for the prompt that is tuned."""


class Workflow:
    """A workflow whose one noise node is replaced by ours.

    Attributes:
        has_prompt: Whether a text holds `{prompt}`; otherwise the workflow generates what it says itself.
    """

    def __init__(self, nodes: Mapping[str, Any]):
        """Understands the nodes by their numbers, each with `class_type` and `inputs`.

        Raises:
            ValueError: Where this is no workflow in the API's format, or it has not one source of noise.
        """
        if not nodes or not all(isinstance(node, Mapping) and "class_type" in node for node in nodes.values()):
            raise ValueError("found no nodes with class_type; save the workflow with Workflow > Export (API)")
        self._nodes = nodes
        sources = {
            tuple(node["inputs"]["noise"])[0]
            for node in nodes.values()
            if isinstance(node.get("inputs", {}).get("noise"), Sequence) and node["inputs"]["noise"]
        }
        if len(sources) != 1:
            raise ValueError(
                f"found {len(sources)} nodes that give noise to a sampler, expected 1; "
                "sample with SamplerCustomAdvanced and one RandomNoise (KSampler samples its noise itself)"
            )
        (self._source,) = sources
        self.has_prompt = any(PROMPT in value for node in nodes.values() for value in _texts(node))

    def with_noise(self, prompt: str, file: str, index: int, seed: int) -> dict[str, Any]:
        """The workflow with noise number `index` of an uploaded file."""
        nodes = copy.deepcopy(dict(self._nodes))
        for node in nodes.values():
            for name, value in node.get("inputs", {}).items():
                if isinstance(value, str):
                    node["inputs"][name] = value.replace(PROMPT, prompt)
        inputs = {"file": file, "index": index, "noise_seed": seed}
        nodes[self._source] = {"class_type": FILE_NODE, "inputs": inputs}
        return nodes


class WorkflowGenerator:
    """Draws from noises with a workflow on a server.

    Attributes:
        noise_shape: Shape of one noise, `[C, (F,) h, w]`.
    """

    def __init__(self, workflow: Workflow, server: ComfyServer):
        """Asks the server for the shape of the noise, by a run that ends where noise is needed.

        Raises:
            ComfyError: Where the server refuses the workflow or it fails before.
        """
        self.workflow = workflow
        self.server = server
        history = server.wait(server.queue(workflow.with_noise("", "", 0, 0)))
        reason = failure(history)
        shape = shape_in(reason or "")
        if shape is None:
            raise ComfyError(f"the workflow did not ask for noise: {reason or 'it ended before its sampler'}")
        self.noise_shape = shape

    @property
    def generates_clips(self) -> bool:
        """Whether a noise has frames."""
        return len(self.noise_shape) == 4

    def generate(self, request: Request) -> list[list[bytes]]:
        """The frames of one image or clip a noise as PNG files: all runs are queued, then read back in order.

        Raises:
            ComfyError: Where a run fails or saves no image.
        """
        data = _noise_file(request.noise)
        # The name stands for the content, because ComfyUI keeps the results of nodes with equal inputs.
        name = self.server.upload(f"noisefind-{hashlib.sha256(data).hexdigest()[:24]}.safetensors", data)
        runs = [
            self.server.queue(self.workflow.with_noise(request.prompt, name, at, _seed_of(key)))
            for at, key in enumerate(request.keys)
        ]
        return [self._images(self.server.wait(run)) for run in runs]

    def _images(self, history: Mapping[str, Any]) -> list[bytes]:
        reason = failure(history)
        if reason is not None:
            raise ComfyError(reason)
        files = [file for node in history["outputs"].values() for file in node.get("images", [])]
        # Previews are temporary; a workflow that only previews is fine too.
        saved = [file for file in files if file.get("type") == "output"] or files
        frames = [png for file in saved for png in self._frames(file)]
        if not frames or (len(frames) > 1 and not self.generates_clips):
            raise ComfyError(
                f"the workflow saved {len(frames)} images of one noise, expected 1; "
                "set batch_size to 1 and keep one node that saves images"
            )
        return frames

    def _frames(self, file: Mapping[str, str]) -> list[bytes]:
        from PIL import Image, ImageSequence, UnidentifiedImageError

        try:
            image = Image.open(io.BytesIO(self.server.view(file)))
        except UnidentifiedImageError:
            raise ComfyError(f"{file.get('filename')} is no image; save frames as images or as animated WEBP") from None
        return as_png([frame.convert("RGB") for frame in ImageSequence.Iterator(image)])


def _texts(node: Mapping[str, Any]) -> list[str]:
    return [value for value in node.get("inputs", {}).values() if isinstance(value, str)]


def _seed_of(key: Key) -> int:
    seed, iteration, index = key
    return ((seed * 1000003 + iteration) * 1000003 + index) % 2**63


def _noise_file(noise: np.ndarray) -> bytes:
    data = np.ascontiguousarray(noise, "<f4").tobytes()
    entry = {"noise": {"dtype": "F32", "shape": list(noise.shape), "data_offsets": [0, len(data)]}}
    header = json.dumps(entry).encode()
    return len(header).to_bytes(8, "little") + header + data
