"""Policies over numpy arrays; needs numpy alone."""

import json
import subprocess
import sys
from pathlib import Path

import noisefind
import numpy as np
import pytest

SHAPE = (2, 4, 4)


def policy(components=2):
    generator = np.random.default_rng(0)
    mean = generator.normal(size=(components, *SHAPE)).astype(np.float32)
    return noisefind.NoisePolicy(mean, np.full_like(mean, 0.5), several=True)


def test_importing_imports_neither_torch_nor_diffusers():
    code = "import sys, noisefind; noisefind.NoisePolicy, noisefind.tune, noisefind.Run; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "diffusers", "ray", "PIL"} & set(loaded)


@pytest.mark.parametrize(
    "absent, extra, code",
    [
        ("torch", "diffusers", "noisefind.NoisePolicy.standard((4, 8, 8)).sample(2)"),
        ("torch", "diffusers", "noisefind.tune(print, 'a dog', reward=print)"),
        ("diffusers", "diffusers", "sys.modules['torch'] = noisefind; noisefind.diffusers.load('nowhere')"),
        ("ray", "ray", "noisefind.ray.Pool(None, None)"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(absent, extra, code):
    code = f"import sys, noisefind; sys.modules[{absent!r}] = None; {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    expected = f'this needs the package {absent}, which is not installed; pip install "noisefind[{extra}]"'
    assert last == f"ModuleNotFoundError: {expected}"


def test_noises_are_named_by_their_keys():
    noises = policy().sample(4, seed=7)
    assert noises.shape == (4, *SHAPE) and noises.dtype == np.float32
    assert np.array_equal(noises, policy().noise([(7 + at, 2**32 - 1, 0) for at in range(4)]))
    assert np.array_equal(noises[2:], policy().sample(2, seed=9))


def test_components_take_turns_and_shift_the_same_standard_noise():
    standard = noisefind.NoisePolicy.standard(SHAPE).sample(4, seed=6)
    expected = policy().mean[[0, 1, 0, 1]] + np.float32(0.5) * standard
    np.testing.assert_array_equal(policy().sample(4, seed=6), expected)


def test_arrays_belong_to_python():
    noises = policy().sample(1, seed=7)
    noises[:] = 0
    assert policy().sample(1, seed=7).any()


@pytest.mark.parametrize(
    "mean, sigma, reason",
    [
        (np.zeros(SHAPE), np.ones((2, 4, 3)), r"\[1, 2, 4, 4\] and sigma \[1, 2, 4, 3\]"),
        (np.zeros(SHAPE), np.zeros(SHAPE), "positive"),
        (np.full(SHAPE, np.nan), np.ones(SHAPE), "NaN"),
        (np.zeros((4, 4)), np.ones((4, 4)), r"expected \[C, \(F,\) h, w\]"),
        (np.zeros((0, 4, 4)), np.ones((0, 4, 4)), "has 0 numbers"),
    ],
)
def test_what_is_no_policy_is_refused_by_name(mean, sigma, reason):
    with pytest.raises(ValueError, match=reason):
        noisefind.NoisePolicy(mean, sigma)


def test_a_policy_of_ones_own_has_no_provenance_to_save(tmp_path):
    assert policy().provenance is None
    with pytest.raises(noisefind.Error, match="no provenance"):
        policy().save(tmp_path / "policy.safetensors")
    with pytest.raises(noisefind.Error, match="nowhere"):
        noisefind.NoisePolicy.load(tmp_path / "nowhere")


def test_a_saved_policy_is_read_as_it_was(tmp_path):
    run = finished_run(tmp_path / "run")
    loaded = noisefind.NoisePolicy.load(run.out)
    assert np.array_equal(loaded.mean, run.policy.mean) and loaded.shape == SHAPE
    assert loaded.kl_nats == run.policy.kl_nats
    assert (loaded.provenance["prompt"], loaded.provenance["seed"]) == ("a square", 3)
    loaded.save(tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == (tmp_path / "run" / "policy.safetensors").read_bytes()


def test_a_damaged_file_is_an_error_that_names_it(tmp_path):
    whole = (Path(finished_run(tmp_path / "run").out) / "policy.safetensors").read_bytes()
    file = tmp_path / "damaged.safetensors"
    generator = np.random.default_rng(0)
    refused = 0
    for length in [0, 7, 8, 100, len(whole) - 1, *[len(whole)] * 200]:
        data = bytearray(whole[:length])
        for at in generator.integers(len(data), size=4) if length == len(whole) else ():
            data[at] = generator.integers(256)
        file.write_bytes(data)
        try:
            assert noisefind.NoisePolicy.load(file).shape == SHAPE
        except (noisefind.Error, ValueError) as error:
            refused += 1
            assert str(error) and "panic" not in str(error)
        else:
            # Other numbers are other numbers; a file that ends too early is none.
            assert length == len(whole)
    assert refused > 5
    file.write_bytes(whole[:100])
    with pytest.raises(noisefind.Error, match="damaged.safetensors"):
        noisefind.NoisePolicy.load(file)


@pytest.mark.parametrize(
    "call, kind, reason",
    [
        (lambda: policy().sample(1, seed=-1), OverflowError, "seed"),
        (lambda: policy().sample(1, seed=2**64), OverflowError, "seed"),
        (lambda: policy().sample(-1, seed=0), OverflowError, "count"),
        (lambda: policy().sample(2**32 - 1, seed=0), MemoryError, "no memory for 4294967295 noises"),
        (lambda: policy().noise([(1, 2)]), ValueError, "tuple of length 2"),
        (lambda: policy().noise([(1, 2**32, 0)]), OverflowError, "keys"),
        (lambda: policy().noise("abc"), (TypeError, ValueError), "keys"),
        (lambda: noisefind.Run((10**6, 10**6, 10**6)), ValueError, "has 1000000000000000000 numbers, expected 1 to"),
        (lambda: noisefind.Run((2**40, 2**40, 1)), ValueError, "too many numbers"),
        (lambda: noisefind.Run((2, -4, 4)), OverflowError, "shape"),
        (lambda: noisefind.Run(SHAPE, seed=-1), ValueError, "seed is -1, expected"),
        (lambda: noisefind.Run(SHAPE, seed=2**64), ValueError, "seed is 18446744073709551616, expected"),
        (lambda: noisefind.Run(SHAPE, seed=1.5), ValueError, "seed is 1.5, expected"),
    ],
)
def test_numbers_out_of_range_are_ordinary_exceptions(call, kind, reason):
    with pytest.raises(kind, match=reason):
        call()


def finished_run(out):
    run = noisefind.Run(SHAPE, seed=3, out=out, prompt="a square", evaluations=32, batch_size=8)
    while not run.done:
        batch = run.ask()
        run.tell(batch.keys, batch.noise.mean(axis=(1, 2, 3)))
    run.save_policy()
    return run


def test_torch_noise_with_mean_0_is_torch_randn():
    torch = pytest.importorskip("torch")
    standard = noisefind.NoisePolicy.standard(SHAPE)
    noise = standard.sample(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(noise, torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(5)))
    with pytest.raises(ValueError, match="not both"):
        standard.sample(3, seed=1, generator=torch.Generator())


def test_the_command_of_the_wheel_is_the_command_line():
    command = [sys.executable, "-m", "noisefind"]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.split() == ["noisefind", noisefind.__version__]
    wrong = subprocess.run([*command, "tune", "--evaluations", "many", "a dog"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "--evaluations" in wrong.stderr
    known = subprocess.run([*command, "inspect", "emoji-64", "--json"], capture_output=True, text=True, check=True).stdout
    assert json.loads(known)
