"""The nodes of ComfyUI against its interface, and tuning of a workflow through a server's API."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

import comfy_stub
import noisefind
from noisefind._external import Request
from noisefind.comfy import nodes
from noisefind.comfy.noise import FRESH, BaseNoise, FileNoise, PolicyNoise, shape_in
from noisefind.comfy.server import ComfyError, ComfyServer
from noisefind.comfy.workflow import Workflow, WorkflowGenerator

SHAPE = (3, 8, 8)
FOLDER = Path(__file__).parent.parent / "comfyui"


def policy():
    generator = np.random.default_rng(0)
    mean = generator.normal(size=(2, *SHAPE)).astype(np.float32)
    return noisefind.NoisePolicy(mean, np.full((2, *SHAPE), 0.5, np.float32), several=True)


def latent(count, shape=SHAPE, **more):
    return {"samples": torch.zeros(count, *shape), **more}


def test_policy_noise_is_that_of_the_command_line():
    noise = PolicyNoise(policy(), 7).generate_noise(latent(4))
    assert noise.dtype == torch.float32
    assert np.array_equal(noise.numpy(), policy().sample(4, seed=7))


def test_policy_noise_honours_batch_index():
    whole = PolicyNoise(policy(), 7).generate_noise(latent(6))
    parts = PolicyNoise(policy(), 7).generate_noise(latent(2, batch_index=[5, 3]))
    assert torch.equal(parts, whole[[5, 3]])


def test_seeds_go_round():
    last = PolicyNoise(policy(), 2**64 - 1).generate_noise(latent(2))
    assert np.array_equal(last[1].numpy(), policy().sample(1, seed=0)[0])


def test_a_frame_alone_is_no_axis_and_dtype_is_the_latents():
    flat = PolicyNoise(policy(), 7).generate_noise(latent(2))
    samples = torch.zeros(2, 3, 1, 8, 8, dtype=torch.float16)
    framed = PolicyNoise(policy(), 7).generate_noise({"samples": samples})
    assert framed.shape == samples.shape and framed.dtype == torch.float16
    assert torch.equal(framed.squeeze(2), flat.half())


def test_a_mismatch_names_both_shapes():
    with pytest.raises(ValueError, match=r"\[3, 8, 8\].*\[4, 16, 8\]"):
        PolicyNoise(policy(), 7).generate_noise(latent(1, (4, 16, 8)))


def test_base_noise_is_that_of_its_key():
    noise = BaseNoise(7, 2, 3).generate_noise(latent(2))
    assert np.array_equal(noise.numpy(), noisefind.NoisePolicy.standard(SHAPE).noise([(7, 2, 3), (7, 2, 4)]))


def test_a_file_that_is_absent_tells_the_shape_and_one_that_is_too_short_its_length(tmp_path):
    with pytest.raises(ValueError) as told:
        FileNoise("", 0, 0).generate_noise(latent(1))
    assert shape_in(f"node 3: {told.value}") == [3, 8, 8]
    assert shape_in("CUDA out of memory") is None


def test_files_outside_the_temporary_folder_are_refused(tmp_path):
    with comfy_stub.running(tmp_path), pytest.raises(ValueError, match="not the name of a file"):
        nodes.file_noise("../secret.safetensors", 0, 0)


def test_v1_and_v3_describe_the_same_nodes():
    with comfy_stub.v3_schema():
        extension = nodes.v3_extension()
        schemas = {kind.define_schema().node_id: (kind, kind.define_schema()) for kind in asyncio.run(extension.get_node_list())}
        assert list(schemas) == list(nodes.NODE_CLASS_MAPPINGS)
        for name, (kind, schema) in schemas.items():
            v1 = nodes.NODE_CLASS_MAPPINGS[name]
            required = v1.INPUT_TYPES()["required"]
            assert [(one.name, one.kind) for one in schema.inputs] == [(key, value[0]) for key, value in required.items()]
            assert tuple(one.kind for one in schema.outputs) == v1.RETURN_TYPES
            assert schema.category == v1.CATEGORY
            assert schema.display_name == nodes.NODE_DISPLAY_NAME_MAPPINGS[name]
        (noise,) = schemas["NoisefindPolicyNoise"][0].execute(policy(), 7)
        assert noise.seed == 7
        (noise,) = schemas["NoisefindBaseNoise"][0].execute(7, FRESH, 0)
        assert np.array_equal(
            noise.generate_noise(latent(1)).numpy(), noisefind.NoisePolicy.standard(SHAPE).sample(1, seed=7)
        )


def loaded_folder():
    spec = importlib.util.spec_from_file_location("comfyui_noisefind", FOLDER / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_folder_offers_one_schema_at_a_time():
    assert set(loaded_folder().NODE_CLASS_MAPPINGS) == set(nodes.NAMES)
    with comfy_stub.v3_schema():
        module = loaded_folder()
        assert not hasattr(module, "NODE_CLASS_MAPPINGS")
        assert len(asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())) == len(nodes.NAMES)


def test_the_registry_finds_what_it_needs():
    described = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert described["project"]["version"] == noisefind.__version__
    assert {"PublisherId", "DisplayName"} <= set(described["tool"]["comfy"])


def test_images_are_generated_from_the_noises_in_order(tmp_path):
    noise = np.random.default_rng(1).normal(size=(3, *SHAPE)).astype(np.float32)
    keys = [(7, 0, at) for at in range(3)]
    with comfy_stub.running(tmp_path) as server:
        generator = WorkflowGenerator(Workflow(comfy_stub.WORKFLOW), ComfyServer(server.url))
        assert generator.noise_shape == [3, 8, 8] and not generator.generates_clips
        drawn = generator.generate(Request("a dog", noise, keys, {}, tmp_path))
        for values, (png,) in zip(noise, drawn):
            expected = np.round(255 / (1 + np.exp(-values.astype(np.float64)))).transpose(1, 2, 0)
            # A number that lies between two levels may be rounded either way in single precision.
            assert np.abs(comfy_stub.image(png) - expected).max() <= 1
        assert server.prompts[-1]["4"]["inputs"]["filename_prefix"] == "of a dog"
        assert len({workflow["2"]["inputs"]["noise_seed"] for workflow in server.prompts[1:]}) == 3


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"1": {"class_type": "EmptyLatent", "inputs": {"channels": 3, "height": 8, "width": 8, "batch_size": 2}}}, "batch"),
        ({"1": {"class_type": "Unknown", "inputs": {}}}, "Unknown does not exist"),
    ],
)
def test_what_the_server_refuses_is_told(tmp_path, change, reason):
    with comfy_stub.running(tmp_path) as server, pytest.raises(ComfyError, match=reason):
        generator = WorkflowGenerator(Workflow(comfy_stub.WORKFLOW | change), ComfyServer(server.url))
        generator.generate(Request("a dog", np.zeros((1, *SHAPE), np.float32), [(7, 0, 0)], {}, tmp_path))


def test_a_workflow_without_noise_node_is_refused_with_the_way_out():
    nodes_without = {"1": {"class_type": "KSampler", "inputs": {"seed": 1}}}
    with pytest.raises(ValueError, match="SamplerCustomAdvanced"):
        Workflow(nodes_without)
    with pytest.raises(ValueError, match=r"Export \(API\)"):
        Workflow({"nodes": [], "links": []})


def test_the_command_line_tunes_a_workflow(tmp_path):
    file = tmp_path / "workflow_api.json"
    file.write_text(json.dumps(comfy_stub.WORKFLOW))
    with comfy_stub.running(tmp_path / "comfy") as server:
        model = f"exec:{sys.executable} -m noisefind.comfy {file} server={server.url}"
        command = ["tune", "green", "--model", model, "--reward", "jpeg-size", "--evaluations", "32", "--samples", "4"]
        done = subprocess.run(
            [Path(sys.executable).parent / "noisefind", *command, "--out", tmp_path / "run", "--json"],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["evaluations"] == 32
    assert noisefind.NoisePolicy.load(tmp_path / "run").shape == SHAPE
