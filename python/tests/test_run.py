"""Ask and tell over a run folder; needs numpy alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import noisefind
import numpy as np
import pytest

SHAPE = (2, 4, 4)
SETTINGS = {"seed": 7, "prompt": "a square", "evaluations": 48, "batch_size": 16}


def reward(noise):
    """A direction in which noises are better, with something that is not linear."""
    return float(noise[0].mean() - noise[1].mean() + 0.1 * np.sin(3 * noise).sum())


def evaluate(run, order=lambda keys: keys):
    while not run.done:
        batch = run.ask()
        known = dict(zip(batch.keys, map(reward, batch.noise)))
        for key in order(batch.keys):
            run.tell([key], [known[key]])
    run.save_policy()
    return (Path(run.out) / "policy.safetensors").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return evaluate(noisefind.Run(SHAPE, out=tmp_path_factory.mktemp("expected") / "run", **SETTINGS))


def test_the_policy_does_not_depend_on_the_order(expected, tmp_path):
    assert evaluate(noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS), lambda keys: keys[::-1]) == expected


def test_whole_batches_and_arrays_may_be_told(expected, tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    lines = []
    while not run.done:
        batch = run.ask()
        assert batch.noise.shape == (16, *SHAPE) and batch.noise.dtype == np.float32
        assert np.array_equal(batch.noise, run.noise(batch.keys))
        lines.append(run.tell(batch.keys, np.array([reward(noise) for noise in batch.noise])))
    run.save_policy()
    assert (tmp_path / "run" / "policy.safetensors").read_bytes() == expected
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert (run.stop_reason, run.evaluations) == ("evaluations-used", 48)
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in metrics] == lines
    with pytest.raises(noisefind.Error, match="over"):
        run.ask()


def test_the_run_learns(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    evaluate(run)
    base, tuned = (
        np.mean([reward(noise) for noise in policy.sample(64, seed=1)])
        for policy in (noisefind.NoisePolicy.standard(SHAPE), run.policy)
    )
    spread = np.std([reward(noise) for noise in noisefind.NoisePolicy.standard(SHAPE).sample(256, seed=2)])
    # 64 noises an arm tell half a spread from none at more than two standard errors.
    assert tuned > base + 0.5 * spread


def test_the_first_answer_counts(expected, tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    while not run.done:
        batch = run.ask()
        rewards = [reward(noise) for noise in batch.noise]
        run.tell(batch.keys[:5], rewards[:5])
        run.tell(batch.keys[:5], [1000.0] * 5)
        assert run.ask().keys == batch.keys[5:]
        # Within one message too.
        run.tell([*batch.keys[5:], batch.keys[-1]], [*rewards[5:], 1000.0])
    run.save_policy()
    assert (tmp_path / "run" / "policy.safetensors").read_bytes() == expected


def test_a_stopped_run_asks_for_what_is_missing_and_ends_with_the_same_bytes(expected, tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    for known in (3, 16, 5):
        batch = run.ask()
        run.tell(batch.keys[:known], [reward(noise) for noise in batch.noise[:known]])
        left = batch.keys[known:]
        del run
        run = noisefind.Run.resume(tmp_path / "run")
        assert run.ask().keys[: len(left)] == left[: len(run.ask())]
    assert evaluate(run) == expected


KILLED = """
import os, signal, sys, noisefind
sys.path.insert(0, sys.argv[2])
from test_run import SETTINGS, SHAPE, reward
run = noisefind.Run(SHAPE, out=sys.argv[1], **SETTINGS)
for told in range(int(sys.argv[3])):
    batch = run.ask()
    run.tell(batch.keys[:1], [reward(batch.noise[0])])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("told", [0, 9, 16, 40])
def test_a_killed_run_goes_on(expected, tmp_path, told):
    arguments = [str(tmp_path / "run"), os.path.dirname(__file__), str(told)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments])
    assert killed.returncode == -signal.SIGKILL
    run = noisefind.Run.resume(tmp_path / "run")
    assert len(run.ask()) == 16 - told % 16
    assert evaluate(run) == expected


def test_missing_rewards_keep_their_reasons(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    batch = run.ask()
    rewards = [reward(noise) for noise in batch.noise]
    line = run.tell(batch.keys, [None, float("nan"), *rewards[2:]], reasons=["too dark", None, *[None] * 14])
    assert line["missing"] == 2
    assert "too dark" in line["missing_reasons"] and len(line["missing_reasons"]) == 2


def test_a_run_without_rewards_ends_and_says_so(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS | {"evaluations": 160})
    while not run.done:
        batch = run.ask()
        run.tell(batch.keys, [None] * len(batch))
    assert run.stop_reason == "rewards-missing"
    with pytest.raises(noisefind.Error, match="too few rewards"):
        run.save_policy()


def test_held_out_scorers_are_told_by_name(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", holdout=["taste"], **SETTINGS)
    batch = run.ask()
    with pytest.raises(ValueError, match="taste"):
        run.tell(batch.keys, [1.0] * 16)
    rewards = [reward(noise) for noise in batch.noise]
    line = run.tell(batch.keys, rewards, held_out={"taste": rewards})
    assert [one["scorer"] for one in line["held_out"]] == ["taste"]


def test_images_are_saved_and_those_of_the_best_beside_them(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    batch = run.ask()
    rewards = [reward(noise) for noise in batch.noise]
    line = run.tell(batch.keys, rewards, images=[np.full((1, 8, 8, 3), at, np.uint8) for at in range(16)])
    assert len(list((tmp_path / "run" / "samples").glob("0001-*.png"))) == 16
    best = {f"best-0001-{at:02}.png" for at in sorted(range(16), key=lambda at: -rewards[at])[:4]}
    assert best == {path.name for path in (tmp_path / "run" / "images").glob("best-*.png")}
    assert line["diversity"] > 0


def test_an_image_of_another_shape_is_refused_and_nothing_is_told(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    batch = run.ask()
    with pytest.raises(ValueError, match=r"expected \[F, H, W, 3\]"):
        run.tell(batch.keys, np.arange(16.0), images=[np.zeros((1, 8, 8, 4), np.uint8)] * 16)
    assert run.ask().keys == batch.keys


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"evaluatons": 5}, "evaluatons"),
        ({"evaluations": 1}, "evaluations"),
        ({"model": "emoji-64"}, "noisefind tune"),
        ({"variety": 1.5}, "variety is 1.5, expected a number from 0 to 1"),
        ({"variety": 0.5, "method": {"name": "paper"}}, "variety belongs to find, and the method is paper"),
    ],
)
def test_wrong_options_are_refused_by_name(tmp_path, options, reason):
    with pytest.raises(noisefind.Error, match=reason):
        noisefind.Run(SHAPE, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variety, components", [(None, 8), (0.0, 1), (0.25, 3), (1.0, 64)])
def test_variety_is_the_number_of_components(tmp_path, variety, components):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", variety=variety, method={"name": "find", "radius": 0.9}, **SETTINGS)
    method = run.config["method"]
    assert (method["components"], method["radius"]) == (components, 0.9)
    del run
    assert noisefind.Run.resume(tmp_path / "run").config["method"] == method


def succeeds(noise):
    """Half of the base succeeds, and what succeeds cannot be mistaken."""
    return float(noise[0].mean() > 0) + 0.01 * float(noise[0].mean())


@pytest.mark.parametrize("least", [None, 144])
def test_a_run_stops_when_its_samples_succeed(tmp_path, least):
    options = {} if least is None else {"min_evaluations": least}
    run = noisefind.Run(SHAPE, out=tmp_path / "run", success_reward=0.5, **SETTINGS | {"evaluations": 160} | options)
    while not run.done:
        batch = run.ask()
        run.tell(batch.keys, [succeeds(noise) for noise in batch.noise])
    assert run.stop_reason == "policy-succeeds"
    assert run.evaluations == 144 if least else 48 <= run.evaluations < 144


def test_wrong_keys_and_counts_are_refused(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    with pytest.raises(noisefind.Error, match=r"\(7, 1, 0\) is not one of the 16 keys of this step"):
        run.tell([(7, 1, 0)], [1.0])
    with pytest.raises(ValueError, match="1 keys were told 2 rewards, 1 reasons and 1 images"):
        run.tell(run.ask().keys[:1], [1.0, 2.0])
    with pytest.raises(ValueError, match="a reward is 'high', expected a number or None"):
        run.tell(run.ask().keys[:1], ["high"])
    with pytest.raises(TypeError, match="rewards is float, expected one number or None a key"):
        run.tell(run.ask().keys[:1], 1.0)
    with pytest.raises(TypeError):
        run.tell(["first"], [1.0])
    with pytest.raises(TypeError, match="to=uint8"):
        run.tell(run.ask().keys[:1], [1.0], images=[np.zeros((1, 8, 8, 3))])
    assert len(run.ask()) == 16


def test_a_folder_is_written_by_one_run(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    with pytest.raises(noisefind.Error, match="another process"):
        noisefind.Run.resume(tmp_path / "run")
    evaluate(run)
    del run
    with pytest.raises(noisefind.Error, match="already holds a run"):
        noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS)
    assert noisefind.Run(SHAPE, out=tmp_path / "run", overwrite=True, **SETTINGS).evaluations == 0


def test_the_command_line_reads_the_run_and_leaves_going_on_to_python(tmp_path):
    evaluate(noisefind.Run(SHAPE, out=tmp_path / "run", **SETTINGS))

    def command(*arguments):
        return subprocess.run([sys.executable, "-m", "noisefind", *arguments], capture_output=True, text=True)

    inspected = command("inspect", str(tmp_path / "run"), "--json")
    assert inspected.returncode == 0, inspected.stderr
    resumed = command("tune", "--resume", str(tmp_path / "run"))
    assert resumed.returncode != 0 and "resume=True" in resumed.stderr


def test_a_comparison_leaves_what_the_command_line_leaves(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", samples=4, judge="judge", **SETTINGS)
    evaluate(run)
    assert run.comparison is None

    def tell(arm, count):
        batch = run.ask_comparison(arm)
        images = [np.full((1, 16, 16, 3), 40 * at + 10, np.uint8) for at in range(4)]
        rewards = [reward(noise) for noise in batch.noise]
        judgements = [1.0, 0.0, None, 1.0]
        columns = (column[:count] for column in (batch.keys, rewards, images))
        run.tell_comparison(arm, *columns, judgements=judgements[:count])

    tell("base", 4)
    tell("tuned", 3)
    with pytest.raises(noisefind.Error, match="of the tuned arm was not told yet"):
        run.compare()
    seeds = [key[0] for key in run.ask_comparison("tuned").keys]
    assert len(seeds) == 1 and not run.ask_comparison("base").keys
    del run
    run = noisefind.Run.resume(tmp_path / "run")
    batch = run.ask_comparison("tuned")
    assert [key[0] for key in batch.keys] == seeds
    run.tell_comparison("tuned", batch.keys, [reward(batch.noise[0])], [np.zeros((1, 16, 16, 3), np.uint8)], judgements=[1.0])
    comparison = run.compare()
    assert comparison == run.comparison
    assert comparison["samples"] == 4 and comparison["base"]["success_rate"] == pytest.approx(2 / 3)
    names = {"comparison.json", "grid.png", "curve.png", "report.html", "policy.safetensors", "images", "tensorboard"}
    assert names <= {entry.name for entry in (tmp_path / "run").iterdir()}


def test_the_comparison_belongs_to_a_run_that_is_over(tmp_path):
    run = noisefind.Run(SHAPE, out=tmp_path / "run", samples=4, **SETTINGS)
    batch = run.ask_comparison("base")
    image = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(noisefind.Error, match="not over"):
        run.tell_comparison("base", batch.keys[:1], [1.0], [image])
    with pytest.raises(ValueError, match="expected \"base\" or \"tuned\""):
        run.ask_comparison("other")
    evaluate(run)
    with pytest.raises(noisefind.Error, match="without an image"):
        run.tell_comparison("base", batch.keys[:1], [1.0], [None])


def test_native_scorers_score_arrays():
    scorer = noisefind.scorer_of("jpeg-size")
    flat, noisy = np.full((1, 32, 32, 3), 90, np.uint8), np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), np.uint8)
    (plain, _), (detail, _), (black, reason) = scorer([flat, noisy, np.zeros_like(flat)], "a square")
    assert detail > plain and black is None and "black" in reason
    with pytest.raises(noisefind.Error, match="did you mean jpeg-size"):
        noisefind.scorer_of("jpeg-siz")
