"""A pool on a real cluster of several nodes: whatever dies, the policy file has the bytes of an undisturbed run."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
ray = pytest.importorskip("ray")

import fake_pipeline
import noisefind
from fake_pipeline import FakePipeline, digest, factory
from noisefind.ray import Device, Pool
from ray.cluster_utils import Cluster

PROMPT = "a green square"
SETTINGS = {"evaluations": 48, "batch_size": 16, "samples": 2, "seed": 7, "progress": False}


@pytest.fixture(scope="module")
def cluster():
    """A head without workers' resources and two nodes, which ask for a token."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def pool(reward=fake_pipeline.green, *arguments, **options):
    given = {"num_workers": 2, "num_gpus": 0, "resources": {"num_cpus": 1}, "chunk_size": 4} | options
    return Pool(FakePipeline, factory(reward, *arguments), **given)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    tuned = noisefind.tune(FakePipeline(), PROMPT, reward=fake_pipeline.green, out=out, generation_batch=4, **SETTINGS)
    return tuned, policy_of(out)


def policy_of(out):
    return (Path(out) / "policy.safetensors").read_bytes()


def test_a_pool_makes_the_policy_of_one_process(cluster, undisturbed, tmp_path):
    with pool() as workers:
        tuned = noisefind.tune(None, PROMPT, backend=workers, out=tmp_path / "run", **SETTINGS)
    assert policy_of(tmp_path / "run") == undisturbed[1]
    assert tuned.comparison["tuned"] == undisturbed[0].comparison["tuned"]
    assert "2 x cpu (Ray)" in (tmp_path / "run" / "environment.json").read_text()


def test_a_worker_killed_in_a_batch(cluster, undisturbed, tmp_path):
    marker = tmp_path / "die"
    with pool(fake_pipeline.dies_once, str(marker)) as workers:
        marker.touch()
        noisefind.tune(None, PROMPT, backend=workers, out=tmp_path / "run", **SETTINGS)
    assert not marker.exists()
    assert policy_of(tmp_path / "run") == undisturbed[1]


def test_a_worker_that_always_dies_on_one_noise(cluster, tmp_path):
    standard = noisefind.NoisePolicy.standard(fake_pipeline.SHAPE)
    generator = noisefind.diffusers.PipelineGenerator(FakePipeline())
    key = (SETTINGS["seed"], 0, 5)
    poison = digest(generator.generate(PROMPT, standard.noise([key]), [key])[0])
    expected = noisefind.tune(
        FakePipeline(),
        PROMPT,
        reward=fake_pipeline.named_green(fake_pipeline.missing_on, poison),
        out=tmp_path / "one",
        **SETTINGS,
    )
    with pool(fake_pipeline.dies_on, poison, attempts=2) as workers:
        tuned = noisefind.tune(None, PROMPT, backend=workers, out=tmp_path / "run", **SETTINGS)
    assert policy_of(tmp_path / "run") == policy_of(expected.out)
    missing = [(told, reason) for told, reason in journal(tmp_path / "run") if isinstance(reason, str)]
    ((told, reason),) = missing
    assert told == key and "given up" in reason
    assert tuned.evaluations == SETTINGS["evaluations"]


def test_a_node_that_goes_and_one_that_comes(cluster, undisturbed, tmp_path):
    node = cluster.add_node(num_cpus=1)
    steps = []

    def callback(line):
        steps.append(line["step"])
        if len(steps) == 1:
            cluster.remove_node(node, allow_graceful=False)
        if len(steps) == 2:
            cluster.add_node(num_cpus=1)

    with pool(num_workers=3) as workers:
        noisefind.tune(None, PROMPT, backend=workers, out=tmp_path / "run", callback=callback, **SETTINGS)
    assert steps == [1, 2, 3]
    assert policy_of(tmp_path / "run") == undisturbed[1]


DRIVER = """
import sys, noisefind
from fake_pipeline import FakePipeline, factory, green
from noisefind.ray import Pool
workers = Pool(FakePipeline, factory(green), num_workers=2, num_gpus=0, resources={"num_cpus": 1}, chunk_size=4,
               address=sys.argv[1], seconds=0.1)
noisefind.tune(None, sys.argv[3], backend=workers, out=sys.argv[2], evaluations=48, batch_size=16, samples=2, seed=7)
"""


def test_the_driver_is_killed_and_goes_on(cluster, undisturbed, tmp_path):
    out = tmp_path / "run"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, cluster.address, str(out), PROMPT], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(journal(out)) >= 20, 120)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    known = len(journal(out))
    assert 20 <= known < 48
    with pool() as workers:
        noisefind.tune(None, PROMPT, backend=workers, out=out, resume=True, **SETTINGS)
    assert policy_of(out) == undisturbed[1]
    assert len({key for key, _ in journal(out)}) == 48 == len(journal(out))


def test_many_prompts_over_one_pool(cluster, tmp_path):
    prompts = ["a green square", "a square that fails", "a greener square"]
    with pool(fake_pipeline.fails_on, prompts[1], attempts=1, chunk_size=1) as workers:
        settings = {name: value for name, value in SETTINGS.items() if name != "progress"}
        results = noisefind.tune_prompts(prompts, workers, out=tmp_path, **settings)
        again = noisefind.tune_prompts(prompts[:1], workers, out=tmp_path, **settings)
    assert [result.prompt for result in results] == prompts
    assert [result.error is None for result in results] == [True, False, True]
    assert "rewards" in str(results[1].error)
    assert again[0].tuned.comparison == results[0].tuned.comparison


def test_a_pool_that_cannot_be_made_says_why(cluster):
    with pytest.raises(RuntimeError, match="a worker could not be made.*no such model"):
        Pool(broken_factory, None, num_gpus=0)


def broken_factory():
    raise OSError("no such model")


def test_a_cluster_without_room_for_the_pool_is_warned_of():
    with pytest.warns(RuntimeWarning, match="has 2 GPU free, and 3 workers need 3: the pool waits"):
        noisefind.ray._warn_of_too_little({"CPU": 8.0, "GPU": 2.0}, 3, {"num_gpus": 1})
    with pytest.warns(RuntimeWarning, match="has 2 CPU free, and 3 workers need 3"):
        noisefind.ray._warn_of_too_little({"CPU": 2.0}, 3, {"num_gpus": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noisefind.ray._warn_of_too_little({"CPU": 2.0}, 3, {"num_gpus": 0, "num_cpus": 0.5})
        noisefind.ray._warn_of_too_little({"CPU": 3.0, "GPU": 3.0}, 3, {"num_gpus": 1})


def test_a_cluster_of_another_program_on_this_machine_is_left_alone(monkeypatch, tmp_path):
    addresses = []

    def init(address, **_):
        addresses.append(address)
        if address is None:
            raise ConnectionError("another token")

    monkeypatch.setattr(noisefind.ray, "needed", lambda *_: SimpleNamespace(init=init, is_initialized=lambda: False))
    monkeypatch.delitem(sys.modules, "ray")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with monkeypatch.context() as without_token:
        without_token.setenv("RAY_AUTH_TOKEN", "")
        without_token.delenv("RAY_AUTH_TOKEN")
        noisefind.ray._connected(None)
    assert addresses == [None, "local"]
    # Whoever has a token means a cluster that knows it.
    with pytest.raises(ConnectionError):
        noisefind.ray._connected(None)


def test_different_devices_are_recorded_and_warned_of_once(cluster):
    with pool() as workers:
        with pytest.warns(RuntimeWarning, match="cpu in float32, other in bfloat16"):
            workers._record(1, Device("elsewhere", "other", "bfloat16"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            workers._record(1, Device("elsewhere", "other", "bfloat16"))
        assert workers.describe().device == "2 x cpu + other (Ray)"
        assert workers.describe().dtype == "bfloat16 + float32"


def test_a_chunk_that_takes_too_long_is_given_up(cluster):
    noise = np.zeros((1, *fake_pipeline.SHAPE), np.float32)
    with pool(num_workers=1, attempts=1, chunk_seconds=1.0, chunk_size=1) as workers:
        ((slow,),) = workers.evaluate(PROMPT, noise, [(7, 0, 0)], {"seconds": 30.0})
        ((fast,),) = workers.evaluate(PROMPT, noise, [(7, 0, 1)], {})
    assert slow.reward is None and "GetTimeoutError" in slow.reason
    assert fast.reward is not None


def test_nobody_comes_in_without_the_token(cluster):
    code = f"import ray; ray.init(address={cluster.address!r}, log_to_driver=False)"
    refused = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RAY_AUTH_TOKEN": "1" * 64},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert refused.returncode != 0
    assert "auth" in refused.stderr.lower()


class InProcess:
    """What a pool needs of Ray, with the workers in this process; each computes in the thread that waits for it."""

    exceptions = ray.exceptions

    def available_resources(self):
        return {"CPU": 40.0, "GPU": 40.0}

    def remote(self, kind):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *given: Local(kind(*given))))

    def get(self, answers, timeout=None):
        return [answer() for answer in answers] if isinstance(answers, list) else answers()

    def kill(self, actor):
        pass


class Local:
    def __init__(self, worker):
        self._worker = worker

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *given: functools.partial(getattr(self._worker, name), *given))


def test_forty_workers_have_an_evaluation_each_in_every_step(monkeypatch, tmp_path):
    together = threading.Barrier(40)

    def green(images, prompt):
        # Whoever waits here for longer is fewer than forty.
        together.wait(timeout=60)
        return fake_pipeline.green(images, prompt)

    monkeypatch.setattr(noisefind.ray, "_connected", lambda address: InProcess())
    steps = []
    with Pool(FakePipeline, lambda: green, num_workers=40) as workers:
        settings = SETTINGS | {"evaluations": 80, "batch_size": None, "samples": 0}
        noisefind.tune(None, PROMPT, backend=workers, out=tmp_path / "run", callback=steps.append, **settings)
    assert [line["evaluations"] for line in steps] == [40, 80]
    assert [line["missing"] for line in steps] == [0, 0]


def journal(out):
    """Key and reward, or the reason why it is missing, of every sample of the steps, as they were told."""
    try:
        lines = [json.loads(line) for line in (Path(out) / "rewards.jsonl").read_text().split("\n")[:-1]]
    except FileNotFoundError:
        return []
    return [(tuple(line["key"].values()), line["rewards"][0]) for line in lines if line["phase"] == "tuning"]


def wait_until(holds, seconds):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
