"""From a pipeline and a reward to a policy, and policies as `latents=`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

import fake_pipeline
import noisefind
from fake_pipeline import FakePipeline, green
from noisefind._tune import PipelineBackend

PROMPT = "a green square"
SETTINGS = {"evaluations": 48, "samples": 4, "seed": 7, "progress": False}
MODEL = Path(__file__).parent.parent.parent / "models" / "emoji-64"


def tune(out, reward=green, **more):
    return noisefind.tune(FakePipeline(), PROMPT, out=out, **{"reward": reward} | SETTINGS | more)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return tune(tmp_path_factory.mktemp("tuned") / "run")


def policy_of(out):
    return (Path(out) / "policy.safetensors").read_bytes()


def test_tuning_raises_the_reward_and_leaves_a_run_folder(tuned):
    assert tuned.evaluations == 48 and tuned.stop_reason == "evaluations-used"
    assert tuned.comparison["tuned"]["reward_mean"] > tuned.comparison["base"]["reward_mean"]
    assert np.array_equal(tuned.policy.mean, noisefind.NoisePolicy.load(tuned.out).mean)
    names = {path.name for path in Path(tuned.out).iterdir()}
    assert {"config.toml", "environment.json", "metrics.jsonl", "report.html", "grid.png", "comparison.json"} <= names
    provenance = tuned.policy.provenance or noisefind.NoisePolicy.load(tuned.out).provenance
    assert provenance["model"] == "python:FakePipeline:fake" and provenance["reward"] == "green"
    assert provenance["num_inference_steps"] == 3, "the pipeline's own default is recorded"


def test_a_scorer_of_the_built_in_models_is_refused_beside_another_model(tmp_path):
    with pytest.raises(ValueError, match="clip-score:FOLDER"):
        tune(tmp_path / "run", reward="clip-score")
    with pytest.raises(ValueError, match="scene-judge without a folder"):
        tune(tmp_path / "run", judge="scene-judge")
    assert not (tmp_path / "run").exists()


def test_batches_of_generation_change_nothing(tuned, tmp_path):
    tune(tmp_path / "run", generation_batch=3)
    assert policy_of(tmp_path / "run") == policy_of(tuned.out)


def test_a_callback_stops_and_resume_ends_with_the_same_bytes(tuned, tmp_path):
    stopped = tune(tmp_path / "run", callback=lambda line: line["step"] < 2)
    assert (stopped.stop_reason, stopped.evaluations, stopped.comparison) == ("stopped", 32, None)
    resumed = tune(tmp_path / "run", resume=True)
    assert policy_of(tmp_path / "run") == policy_of(tuned.out)
    assert resumed.comparison["tuned"] == tuned.comparison["tuned"]
    again = tune(tmp_path / "run", resume=True, reward=lambda images, prompt: pytest.fail("it is finished"))
    assert again.comparison == resumed.comparison


def test_a_reward_that_fails_can_be_resumed_from(tuned, tmp_path):
    calls = []

    def failing(images, prompt):
        calls.append(len(images))
        if len(calls) == 4:
            raise ConnectionError("no answer")
        return green(images, prompt)

    with pytest.raises(ConnectionError):
        tune(tmp_path / "run", reward=failing)
    assert len((tmp_path / "run" / "rewards.jsonl").read_text().splitlines()) == 24
    tune(tmp_path / "run", resume=True)
    tensors = [data[8 + int.from_bytes(data[:8], "little") :] for data in map(policy_of, (tmp_path / "run", tuned.out))]
    assert tensors[0] == tensors[1]


def test_every_reward_is_saved_before_the_next_is_computed(tmp_path):
    saved = []

    def counting(images, prompt):
        saved.append(len((tmp_path / "run" / "rewards.jsonl").read_text().splitlines()))
        return green(images, prompt)

    tune(tmp_path / "run", reward=counting, generation_batch=4, samples=0)
    assert saved == list(range(0, 48, 4))


def test_a_disk_that_fails_while_the_next_images_are_generated_ends_the_run(tmp_path):
    calls = []

    def breaking(images, prompt):
        calls.append(len(images))
        if len(calls) == 2:
            shutil.rmtree(tmp_path / "run" / "samples")
            (tmp_path / "run" / "samples").write_text("no folder")
        return green(images, prompt)

    with pytest.raises(noisefind.Error, match="samples"):
        tune(tmp_path / "run", reward=breaking, generation_batch=4)
    assert len(calls) == 2


class WideBackend(PipelineBackend):
    """One that says that it evaluates 40 noises at the same time."""

    def __init__(self):
        super().__init__(FakePipeline(), PROMPT, noisefind.scorer_of(green), 8, {})
        self.width = 40
        self.steps = []

    def evaluate(self, prompt, noise, keys, call):
        self.steps.append(len(keys))
        return super().evaluate(prompt, noise, keys, call)


@pytest.mark.parametrize(
    "settings, steps",
    [
        ({"evaluations": 100, "min_evaluations": 100}, [40, 40, 20]),
        ({"evaluations": 30}, [30]),
        ({"evaluations": 100, "min_evaluations": 100, "batch_size": 50}, [50, 50]),
    ],
)
def test_a_step_asks_for_what_a_backend_does_at_the_same_time(tmp_path, settings, steps):
    backend = WideBackend()
    given = SETTINGS | {"samples": 0} | settings
    noisefind.tune(None, PROMPT, backend=backend, out=tmp_path / "run", **given)
    assert backend.steps == steps


def test_variety_and_the_least_evaluations_reach_the_run(tmp_path):
    tuned = tune(tmp_path / "run", variety=0.25, min_evaluations=32, samples=0)
    config = noisefind.Run.resume(tuned.out).config
    assert (config["method"]["components"], config["min_evaluations"]) == (3, 32)


def test_another_prompt_is_not_resumed(tuned):
    with pytest.raises(ValueError, match="'a green square', not 'a dog'"):
        noisefind.tune(FakePipeline(), "a dog", reward=green, out=tuned.out, resume=True)


def test_tensors_reach_the_reward_without_a_detour(tuned, tmp_path):
    def of_tensors(images, prompt):
        assert isinstance(images, torch.Tensor) and images.shape[1:] == (3, 8, 8)
        # As 8-bit images have it.
        images = (images * 255).round().double() / 255
        return 1.5 * images[:, 1].mean((1, 2)) - 0.5 * images.mean((2, 3)).sum(1)

    tensors = tune(tmp_path / "run", reward=of_tensors, output_type="pt")
    assert tensors.comparison["tuned"]["reward_mean"] == pytest.approx(tuned.comparison["tuned"]["reward_mean"], abs=1e-9)


class Metric:
    """As in torchmetrics: one number for all that it is shown."""

    device = torch.device("cpu")

    def __init__(self):
        self.seen = 0

    def __call__(self, images, texts):
        assert images.dtype == torch.uint8 and images.shape[0] == len(texts) == 1
        self.seen += 1
        return images[:, 1].float().mean()

    def update(self, images, texts): ...
    def compute(self): ...
    def reset(self): ...


class Model:
    """As ImageReward's models."""

    def score(self, prompt, images):
        (image,) = images
        return float(np.asarray(image)[..., 1].mean())


@pytest.mark.parametrize("reward", [Metric(), Model(), lambda images, prompt: [np.asarray(i)[..., 1].mean() for i in images]])
def test_every_kind_of_reward_is_the_same_number(reward):
    images = FakePipeline()([PROMPT] * 3, torch.Generator().manual_seed(1)).images
    scores = [score for score, _ in noisefind.scorer_of(reward)(images, PROMPT)]
    assert scores == pytest.approx([np.asarray(image)[..., 1].mean() for image in images], rel=1e-6)


def none(images, prompt):
    return None


def words(images, prompt):
    return ["good"] * len(images)


def test_what_is_no_pipeline_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match="pipe is NoneType, expected a pipeline of diffusers"):
        noisefind.tune(None, PROMPT, reward=green, out=tmp_path / "run")
    with pytest.raises(TypeError, match="FakePipeline takes no argument 'num_inference_step'"):
        tune(tmp_path / "run", num_inference_step=3)
    with pytest.raises(ValueError, match="WithoutNoise does not sample with randn_tensor"):
        noisefind.tune(WithoutNoise(), PROMPT, reward=green, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class WithoutNoise:
    """A pipeline that samples in a way of its own."""

    def __call__(self, prompt):
        return None


def test_rewards_that_are_none_are_refused_with_what_was_found():
    images = FakePipeline()([PROMPT] * 2).images
    with pytest.raises(ValueError, match="gave 1 numbers for 2 images"):
        noisefind.scorer_of(lambda images, prompt: [1.0])(images, PROMPT)
    with pytest.raises(TypeError, match="expected the name of a scorer"):
        noisefind.scorer_of(3)
    with pytest.raises(TypeError, match="reward none gave NoneType, expected one number an image"):
        noisefind.scorer_of(none)(images, PROMPT)
    with pytest.raises(TypeError, match="reward words gave 'good' for an image, expected a number or None"):
        noisefind.scorer_of(words)(images, PROMPT)
    missing = noisefind.scorer_of(lambda images, prompt: [None, float("inf")])(images, PROMPT)
    assert [reward for reward, _ in missing] == [None, None] and "inf" in missing[1][1]


def test_black_pictures_have_no_reward():
    from PIL import Image

    images = [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "green")]
    scores = noisefind.scorer_of(green)(images, PROMPT)
    assert scores[0] == (None, "blocked: all pixels are black") and scores[1][0] > 0
    assert noisefind.scorer_of(green)([torch.zeros(3, 8, 8)], PROMPT)[0][0] is None


def test_the_policy_samples_what_the_pipeline_samples_by_itself():
    pytest.importorskip("diffusers")
    import tiny_pipelines
    from test_families import output

    for builds in tiny_pipelines.FAMILIES.values():
        for build, call in builds:
            for dtype in (torch.float32, torch.bfloat16):
                pipe = tiny_pipelines.made(build).to(dtype)
                shape = noisefind.diffusers.noise_shape(pipe, "a dog", num_inference_steps=2, **call)
                latents = noisefind.NoisePolicy.standard(shape).latents(
                    pipe, 2, generator=torch.Generator().manual_seed(11)
                )
                # Step noise of ancestral solvers would need generators of the same state; these have none.
                own, ours = (
                    output(pipe, call, 2, **given)
                    for given in ({"generator": torch.Generator().manual_seed(11)}, {"latents": latents})
                )
                assert torch.equal(own, ours), (build.__name__, dtype)


def test_the_same_noises_as_the_command_line(tmp_path):
    pytest.importorskip("diffusers")
    import tiny_pipelines

    policy = noisefind.NoisePolicy(np.full((4, 16, 16), 0.5), np.full((4, 16, 16), 0.1))
    latents = policy.latents(tiny_pipelines.made(tiny_pipelines.stable_diffusion), 2, seed=7)
    assert np.array_equal(latents.numpy(), policy.sample(2, seed=7))
    out = tmp_path / "noise.safetensors"
    arguments = ["sample", "--prompt", "a dog", "--seed", "7", "-n", "2", "--num-inference-steps", "1", "--save-noise", out]
    subprocess.run([sys.executable, "-m", "noisefind", *arguments, "--out", tmp_path], check=True, capture_output=True)
    from noisefind._external import read_noise

    written = read_noise(out)
    assert np.array_equal(written, noisefind.NoisePolicy.standard(written.shape[1:]).sample(2, seed=7))


def test_the_command_line_tunes_a_pipeline_as_a_program(tmp_path):
    pytest.importorskip("diffusers")
    arguments = f"num_inference_steps=1 height=64 width=64"
    model = f"exec:{sys.executable} -m noisefind.diffusers {MODEL} {arguments}"
    command = ["tune", "a dog", "--model", model, "--reward", "jpeg-size", "--evaluations", "4", "--batch-size", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "noisefind", *command, "--samples", "2", "--out", tmp_path / "run", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert noisefind.NoisePolicy.load(tmp_path / "run").shape == (4, 16, 16)


def test_a_pipeline_that_cannot_be_served_says_why(tmp_path):
    pytest.importorskip("diffusers")
    model = f"exec:{sys.executable} -m noisefind.diffusers {tmp_path}/none"
    command = [sys.executable, "-m", "noisefind", "tune", "a dog", "--model", model, "--reward", "jpeg-size"]
    done = subprocess.run([*command, "--out", tmp_path / "run"], capture_output=True, text=True)
    assert done.returncode == 1 and "none" in done.stderr and "Error" in done.stderr
