"""The one call for users of diffusers: from a pipeline and a reward to a policy."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from ._backend import Backend, Description, Evaluated, chunks
from ._media import as_array
from ._rewards import Scorer, scorer_of
from .policy import Key, NoisePolicy
from .run import Arm, Run

if TYPE_CHECKING:
    from .diffusers import PipelineGenerator

DEFAULT_BATCH_SIZE = 16
# What these names open without a folder, and the shape of the noise of the only models that it fits.
BUILT_IN_SCORERS, BUILT_IN_NOISE = ("clip-score", "scene-judge"), (4, 16, 16)
# Settings of a call that have the name of one of noisefind's flags are recorded under it.
RECORDED = ("num_inference_steps", "guidance_scale", "eta", "negative_prompt", "height", "width", "num_frames", "clip_skip")


@dataclass(frozen=True)
class Tuned:
    """A run that is over, or that a callback stopped.

    Attributes:
        policy: The best policy that was sampled from.
        out: The run folder, with the report, the images and the policy file.
        evaluations: Images that were generated and scored while tuning.
        stop_reason: Why tuning stopped; `stopped` where the callback said so.
        comparison: Base against tuned on fresh seeds, as in `comparison.json`; None where stopped or without samples.
    """

    policy: NoisePolicy
    out: str
    evaluations: int
    stop_reason: str
    comparison: Mapping[str, Any] | None


class PipelineBackend:
    """One pipeline in this process.

    Attributes:
        before_scoring: Called between generating and scoring a chunk: whoever saves answers behind our back waits here, so
            that every reward is saved before the next is computed.
    """

    def __init__(self, pipe: Any, prompt: str, scorer: Scorer, chunk_size: int, call: Mapping[str, Any]):
        from .diffusers import PipelineGenerator

        self.generator = PipelineGenerator(pipe, prompt, **call)
        self.noise_shape = self.generator.noise_shape
        self.scorer = scorer
        self.width = 1
        self.chunk_size = chunk_size
        self.before_scoring: Callable[[], None] = lambda: None

    def describe(self) -> Description:
        """What a run records."""
        return describe(self.generator, self.scorer.name)

    def evaluate(
        self, prompt: str, noise: np.ndarray, keys: Sequence[Key], call: Mapping[str, Any]
    ) -> Iterator[list[Evaluated]]:
        """Evaluates chunk after chunk."""
        for at in chunks(keys, self.chunk_size):
            images = self.generator.generate(prompt, noise[at], [keys[one] for one in at], call)
            self.before_scoring()
            scores = self.scorer(images, prompt)
            yield [Evaluated(keys[one], *score, image) for one, score, image in zip(at, scores, images)]


def describe(generator: PipelineGenerator, reward: str) -> Description:
    """What a run records of a pipeline."""
    pipe = generator.pipe
    name = getattr(pipe, "name_or_path", "") or pipe.config.get("_name_or_path", "")
    model = f"python:{type(pipe).__name__}" + (f":{name}" if name else "")
    recorded = {name: value for name in RECORDED if (value := generator.setting(name)) is not None}
    return Description(model, reward, str(pipe.device), str(pipe.dtype).removeprefix("torch."), recorded)


def tune(
    pipe: Any,
    prompt: str,
    *,
    reward: Any = None,
    evaluations: int = 160,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    min_evaluations: int | None = None,
    variety: float | None = None,
    generation_batch: int = 8,
    samples: int = 32,
    judge: Any = None,
    held_out: Mapping[str, Any] | Sequence[str] = (),
    callback: Callable[[Mapping[str, Any]], object] | None = None,
    progress: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    backend: Backend | None = None,
    options: Mapping[str, Any] | None = None,
    **call: Any,
) -> Tuned:
    """Learns a policy over the initial noise of a diffusers pipeline for one prompt.

    Args:
        pipe: Any pipeline of diffusers; None with a `backend`.
        prompt: What should be shown.
        reward: What is maximised: see `scorer_of`; None with a `backend`, which has its own.
        evaluations: Images to generate and score at most.
        seed: Random seed; the same seed gives the same policy.
        out: The run folder; None: a new one under `runs/`.
        batch_size: Evaluations a step; None: 16, or as many as the backend does at the same time if that is more.
        min_evaluations: Evaluations before which a run does not stop because its samples succeed; None: 48.
        variety: From 0 to 1, how much images of the policy vary: 0 is one component, 0.5 is 8, 1 is 64, each further one
            around another noise that succeeds; None: 0.5.
        generation_batch: Images that the pipeline generates together.
        samples: Fresh images of the comparison, for base and tuned each; 0 for none.
        judge: A scorer of the comparison whose rewards are 1 and 0, never optimised.
        held_out: Scorers by name that are recorded and never optimised; they end the run where they fall.
        callback: Called after every step with its figures as in `metrics.jsonl`; False from it stops the run.
        progress: Whether to show a bar.
        resume: Goes on with the run in `out`, whose settings hold.
        overwrite: Replaces a run in `out`.
        backend: Where evaluations run, such as a `noisefind.ray.Pool`; None: here.
        options: More settings by the names of the flags of `noisefind tune`, as for `Run`: `success_reward`, `max_seconds`
            and so on.
        call: Arguments of the pipeline's call: `num_inference_steps=28`; `output_type="pt"` gives the reward tensors.

    Raises:
        noisefind.Error: Where a setting is out of range, the folder is taken, or too many rewards in a row are missing.
        ValueError: Where the pipeline does not ask for its noise in the way of diffusers, or a scorer knows other images.
    """
    if backend is not None and (pipe is not None or reward is not None):
        raise ValueError("a backend has its own pipeline and reward; give None for both")
    judged = scorer_of(judge) if judge is not None else None
    names = held_out.items() if isinstance(held_out, Mapping) else ((name, name) for name in held_out)
    held = {name: scorer_of(one) for name, one in names}
    if backend is None:
        backend = PipelineBackend(pipe, prompt, scorer_of(reward), generation_batch, call)
        call = {}
    for name in (reward, judge, *held):
        if isinstance(name, str) and name in BUILT_IN_SCORERS and tuple(backend.noise_shape) != BUILT_IN_NOISE:
            raise ValueError(
                f"{name} without a folder is the scorer of the built-in models, which knows nothing but their images; "
                f"this pipeline is another model: give {name}:FOLDER, or another reward"
            )
    if resume:
        if out is None:
            raise ValueError("resume needs out, the folder of the run to go on with")
        run = Run.resume(out)
        if run.config["prompt"] != prompt:
            raise ValueError(f"the run in {out} is for the prompt {run.config['prompt']!r}, not {prompt!r}")
    else:
        described = backend.describe()
        run = Run(
            backend.noise_shape,
            seed=seed,
            out=out,
            prompt=prompt,
            overwrite=overwrite,
            variety=variety,
            environment={"device": described.device, "dtype": described.dtype},
            evaluations=evaluations,
            batch_size=min(batch_size or max(DEFAULT_BATCH_SIZE, backend.width), evaluations),
            model=described.model,
            reward=described.reward,
            **({"min_evaluations": min_evaluations} if min_evaluations is not None else {}),
            **({"samples": samples} if samples else {}),
            **({"judge": judged.name} if judged else {}),
            **({"holdout": list(held)} if held else {}),
            **described.options,
            **(options or {}),
        )
    return _Tuning(run, backend, prompt, call, judged, held, callback, progress, samples > 0).finish()


class _Tuning:
    """A run with everything that evaluates it."""

    def __init__(
        self,
        run: Run,
        backend: Backend,
        prompt: str,
        call: Mapping[str, Any],
        judge: Scorer | None,
        held_out: Mapping[str, Scorer],
        callback: Callable[[Mapping[str, Any]], object] | None,
        progress: bool,
        compares: bool,
    ):
        self.run = run
        self.backend = backend
        self.prompt = prompt
        self.call = call
        self.judge = judge
        self.held_out = held_out
        self.callback = callback
        self.progress = progress
        self.compares = compares

    def finish(self) -> Tuned:
        """Tunes to the end, then compares."""
        compared = self.run.comparison
        compares = self.compares and compared is None
        total = self.run.config["evaluations"] + (2 * self.run.config["samples"] if compares else 0)
        with _bar(total, self.run.evaluations, self.progress) as bar, _Saving() as saving:
            if isinstance(self.backend, PipelineBackend):
                self.backend.before_scoring = saving.wait
            going_on = self._steps(bar, saving)
            if not going_on:
                return Tuned(self.run.policy, self.run.out, self.run.evaluations, "stopped", None)
            # It may have stopped before its budget was spent.
            bar.total = self.run.evaluations + (2 * self.run.config["samples"] if compares else 0)
            bar.refresh()
            self.run.save_policy()
            reason = self.run.stop_reason or ""
            compared = self._compare(bar, saving) if compares else compared
        return Tuned(NoisePolicy.load(self.run.out), self.run.out, self.run.evaluations, reason, compared)

    def _steps(self, bar: Any, saving: _Saving) -> bool:
        """Steps until the run is over; False where the callback stopped it."""
        while not self.run.done:
            batch = self.run.ask()
            for done in self.backend.evaluate(self.prompt, batch.noise, batch.keys, self.call):
                saving.save(
                    self.run.tell,
                    [one.key for one in done],
                    [one.reward for one in done],
                    reasons=[one.reason for one in done],
                    held_out={name: self._scores(scorer, done) for name, scorer in self.held_out.items()},
                    images=[_array(one.image) for one in done],
                )
                bar.update(len(done))
            line = saving.wait()
            if line is None:
                raise RuntimeError("the backend left out noises of the step")
            bar.set_postfix(reward=line["reward_mean"], best=line["best_reward"])
            if self.callback is not None and self.callback(line) is False:
                return False
        return True

    def _compare(self, bar: Any, saving: _Saving) -> Mapping[str, Any]:
        arms: tuple[Arm, Arm] = ("base", "tuned")
        for arm in arms:
            batch = self.run.ask_comparison(arm)
            for done in self.backend.evaluate(self.prompt, batch.noise, batch.keys, self.call):
                self._tell_comparison(arm, done, saving)
                bar.update(len(done))
        saving.wait()
        return self.run.compare()

    def _tell_comparison(self, arm: Arm, done: Sequence[Evaluated], saving: _Saving) -> None:
        absent = next((one for one in done if one.image is None), None)
        if absent is not None:
            raise RuntimeError(f"an image of the comparison could not be generated: {absent.reason}")
        saving.save(
            self.run.tell_comparison,
            arm,
            [one.key for one in done],
            [one.reward for one in done],
            [as_array(one.image) for one in done],
            reasons=[one.reason for one in done],
            judgements=self._scores(self.judge, done) if self.judge else None,
            held_out={name: self._scores(scorer, done) for name, scorer in self.held_out.items()},
        )

    def _scores(self, scorer: Scorer, done: Sequence[Evaluated]) -> list[float | None]:
        """What a scorer says of samples; nothing of those that could not be generated."""
        there = [one for one in done if one.image is not None]
        scores = scorer([one.image for one in there], self.prompt) if there else []
        known = {one.key: reward for one, (reward, _) in zip(there, scores)}
        return [known.get(one.key) for one in done]


class _Saving:
    """A thread that journals answers and writes their images while the pipeline generates the next ones."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "noisefind-saving")
        self._last: Future[Any] | None = None

    def __enter__(self) -> _Saving:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def save(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Calls `function` after what is being saved; raises what that raised."""
        self.wait()
        self._last = self._thread.submit(function, *arguments, **named)

    def wait(self) -> Any:
        """What the last function returned or raised; None where there was none since the last time."""
        last, self._last = self._last, None
        return None if last is None else last.result()


def _array(image: Any) -> np.ndarray | None:
    return None if image is None else as_array(image)


@contextlib.contextmanager
def _bar(total: int, done: int, shown: bool) -> Iterator[Any]:
    """A bar over evaluations; where tqdm is not installed, one that shows nothing."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield _NoBar()
        return
    with tqdm(total=total, initial=done, unit="image", disable=not shown) as bar:
        yield bar


class _NoBar:
    def update(self, count: int) -> None:
        """Does nothing."""

    def set_postfix(self, **figures: object) -> None:
        """Does nothing."""

    def refresh(self) -> None:
        """Does nothing."""
