"""What ComfyUI's server calls of its nodes, small enough to run without a model.

A workflow is executed as the server does it: from the nodes that save, backwards along the links, by `FUNCTION` of
the V1 classes. The sampler calls `generate_noise` as SamplerCustomAdvanced does.
"""

import contextlib
import email.parser
import email.policy
import http.server
import io
import json
import sys
import threading
import types
import urllib.parse
from pathlib import Path

import numpy as np
import torch
from noisefind.comfy import nodes as own
from PIL import Image


class EmptyLatent:
    FUNCTION = "execute"

    def execute(self, channels, height, width, batch_size=1):
        return ({"samples": torch.zeros(batch_size, channels, height, width)},)


class RandomNoise:
    FUNCTION = "execute"

    def execute(self, noise_seed):
        raise AssertionError("the noise node was to be replaced")


class Sampler:
    FUNCTION = "execute"

    def execute(self, noise, latent_image):
        return ({"samples": noise.generate_noise(latent_image)},)


class SaveImage:
    FUNCTION = "execute"

    def execute(self, latent, filename_prefix, folder):
        saved = []
        for at, sample in enumerate(latent["samples"]):
            pixels = (torch.sigmoid(sample[:3]) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            name = f"{filename_prefix}-{at}-{len(list(folder.iterdir()))}.png"
            Image.fromarray(pixels).save(folder / name)
            saved.append({"filename": name, "subfolder": "", "type": "output"})
        return {"images": saved}


CLASSES = {
    "EmptyLatent": EmptyLatent,
    "RandomNoise": RandomNoise,
    "Sampler": Sampler,
    "SaveImage": SaveImage,
    **own.NODE_CLASS_MAPPINGS,
}

WORKFLOW = {
    "1": {"class_type": "EmptyLatent", "inputs": {"channels": 3, "height": 8, "width": 8}},
    "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
    "3": {"class_type": "Sampler", "inputs": {"noise": ["2", 0], "latent_image": ["1", 0]}},
    "4": {"class_type": "SaveImage", "inputs": {"latent": ["3", 0], "filename_prefix": "of {prompt}"}},
}
"""A model that shows each channel of its noise as one colour, as the command line's model `fake` does."""


class Server(http.server.ThreadingHTTPServer):
    """A server with the routes that tuning uses; `prompts` are the workflows that it ran."""

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Routes)
        self.output, self.temporary = folder / "output", folder / "temp"
        self.output.mkdir(parents=True)
        self.temporary.mkdir()
        self.history, self.prompts = {}, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def run(self, workflow):
        self.prompts.append(workflow)
        name = f"run-{len(self.prompts)}"
        outputs, results = {}, {}

        def result(number):
            if number not in results:
                node = workflow[number]
                inputs = {
                    key: result(value[0])[value[1]] if isinstance(value, list) else value
                    for key, value in node["inputs"].items()
                }
                if node["class_type"] == "SaveImage":
                    outputs[number] = SaveImage().execute(**inputs, folder=self.output)
                    return None
                kind = CLASSES[node["class_type"]]
                results[number] = getattr(kind(), kind.FUNCTION)(**inputs)
            return results[number]

        current = None
        try:
            for number, node in workflow.items():
                current = number
                if node["class_type"] == "SaveImage":
                    result(number)
            status = {"status_str": "success", "completed": True, "messages": []}
        except Exception as error:
            details = {"node_id": current, "node_type": workflow[current]["class_type"], "exception_message": str(error)}
            status = {"status_str": "error", "completed": False, "messages": [["execution_error", details]]}
        self.history[name] = {"outputs": outputs, "status": status}
        return name


class Routes(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path.startswith("/history/"):
            name = path.rpartition("/")[2]
            known = self.server.history
            self.answer({name: known[name]} if name in known else {})
        elif path == "/view":
            named = dict(urllib.parse.parse_qsl(query))
            self.answer((self.server.output / named["filename"]).read_bytes())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/prompt":
            workflow = json.loads(body)["prompt"]
            unknown = [node["class_type"] for node in workflow.values() if node["class_type"] not in CLASSES]
            if unknown:
                self.answer({"error": {"message": f"Cannot execute because node {unknown[0]} does not exist."}}, 400)
            else:
                self.answer({"prompt_id": self.server.run(workflow)})
        elif self.path == "/upload/image":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
            parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
            assert parts["type"].get_content().strip() == "temp"
            name = parts["image"].get_filename()
            (self.server.temporary / name).write_bytes(parts["image"].get_payload(decode=True))
            self.answer({"name": name, "subfolder": "", "type": "temp"})

    def answer(self, content, status=200):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running(folder: Path):
    """A server in `folder`, with ComfyUI's module `folder_paths` in device."""
    server = Server(folder)
    paths = types.ModuleType("folder_paths")
    paths.get_temp_directory = lambda: str(server.temporary)
    paths.get_input_directory = lambda: str(folder)
    sys.modules["folder_paths"] = paths
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        del sys.modules["folder_paths"]


@contextlib.contextmanager
def v3_schema():
    """ComfyUI's module `comfy_api.latest`, of which only what a schema says can be read."""

    class Socket:
        def __init__(self, kind, name=None, **details):
            self.kind, self.name, self.details = kind, name, details

    def kind(name):
        parts = {part: classmethod(lambda cls, *args, **more: Socket(name, *args, **more)) for part in ("Input", "Output")}
        return type(name, (), parts)

    latest = types.ModuleType("comfy_api.latest")
    latest.io = types.SimpleNamespace(
        Custom=kind,
        String=kind("STRING"),
        Int=kind("INT"),
        Noise=kind("NOISE"),
        Schema=lambda **details: types.SimpleNamespace(**details),
        ComfyNode=type("ComfyNode", (), {}),
        NodeOutput=lambda *values: values,
    )
    latest.ComfyExtension = type("ComfyExtension", (), {})
    package = types.ModuleType("comfy_api")
    sys.modules.update({"comfy_api": package, "comfy_api.latest": latest})
    try:
        yield
    finally:
        del sys.modules["comfy_api"], sys.modules["comfy_api.latest"]


def image(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))
