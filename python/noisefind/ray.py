"""Evaluations on many GPUs and machines with Ray: one actor a GPU holds pipeline and reward.

The driver alone owns the run and its folder; workers get noises and give back rewards and PNG files. A chunk of noises
is evaluated at least once: where its worker dies it is tried again, a finite number of times, and then its rewards are
missing with the reason. The policy does not depend on who evaluated what, or in which order.

    noisefind tune PROMPT --model "exec:python -m noisefind.ray FOLDER_OR_HUB_ID [workers=2 gpus=1 chunk=4] [NAME=VALUE ...]"

serves a pipeline on a cluster to the command line.
"""

from __future__ import annotations

import functools
import os
import queue
import secrets
import socket
import sys
import threading
import time
import warnings
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from ._backend import Description, Evaluated, chunks
from ._external import Request, arguments, serve
from ._extras import needed
from ._media import as_png, of_png
from ._rewards import Score, Scorer, scorer_of
from .policy import Key

DEFAULT_ATTEMPTS = 4


@dataclass(frozen=True)
class Device:
    """Where a worker computes.

    Attributes:
        host: Name of the machine.
        device: Name of the GPU, or `cpu`.
        dtype: In which numbers the pipeline computes.
    """

    host: str
    device: str
    dtype: str


@dataclass(frozen=True)
class _Answer:
    scores: list[Score]
    media: list[list[bytes]]
    device: Device


class _Worker:
    """The actor: a pipeline and a reward, made where they are used."""

    def __init__(
        self,
        pipeline_factory: Callable[[], Any],
        reward_factory: Callable[[], Any] | None,
        prompt: str,
        call: Mapping[str, Any],
    ):
        from .diffusers import PipelineGenerator

        pipe = pipeline_factory()
        self._generator = PipelineGenerator(pipe, prompt, **call)
        self._scorer = scorer_of(reward_factory()) if reward_factory is not None else None

    def describe(self) -> tuple[tuple[int, ...], Description, Device, bool]:
        """Shape of the noise, what a run records, where it computes, and whether clips are generated."""
        from ._tune import describe

        described = describe(self._generator, self._scorer.name if self._scorer else "none")
        return self._generator.noise_shape, described, self._device(), self._generator.generates_clips

    def evaluate(self, prompt: str, noise: np.ndarray, keys: Sequence[Key], call: Mapping[str, Any]) -> _Answer:
        """Rewards and images of one chunk."""
        images = self._generator.generate(prompt, noise, keys, call)
        scores: list[Score] = [(None, None)] * len(images)
        if self._scorer is not None:
            scores = self._scorer(images, prompt)
        return _Answer(scores, [as_png(image) for image in images], self._device())

    def _device(self) -> Device:
        pipe = self._generator.pipe
        device = str(pipe.device)
        if device.startswith("cuda"):
            import torch

            device = torch.cuda.get_device_name(pipe.device)
        return Device(socket.gethostname(), device, str(pipe.dtype).removeprefix("torch."))


@dataclass
class _Task:
    prompt: str
    noise: np.ndarray
    keys: list[Key]
    call: Mapping[str, Any]
    attempts_left: int
    future: Future[list[Evaluated]]


class Pool:
    """Workers on a Ray cluster; the `backend` of `noisefind.tune`, and of several at the same time.

    Attributes:
        noise_shape: Shape of one noise, `[C, (F,) h, w]`.
        width: Number of workers.
        chunk_size: Noises of a chunk.
        devices: Where each worker computed last.
    """

    def __init__(
        self,
        pipeline_factory: Callable[[], Any],
        reward_factory: Callable[[], Any] | None,
        *,
        num_workers: int = 1,
        num_gpus: float = 1,
        chunk_size: int = 1,
        attempts: int = DEFAULT_ATTEMPTS,
        chunk_seconds: float | None = None,
        address: str | None = None,
        resources: Mapping[str, Any] | None = None,
        **call: Any,
    ):
        """Starts the workers and waits until every one is ready.

        Args:
            pipeline_factory: Makes the pipeline on its device; called on each worker, so it has to be importable there
                or picklable.
            reward_factory: Makes the reward (see `noisefind.tune`); None for images alone.
            num_workers: Actors.
            num_gpus: GPUs of each.
            chunk_size: Noises that are always evaluated together.
            attempts: How often a chunk is tried; then each of its noises once alone.
            chunk_seconds: A worker that takes longer for a chunk is ended; None for no limit.
            address: Of the cluster, as for `ray.init`; None: the one of the environment, or one on this machine.
            resources: More options of the actors, as for `Actor.options`.
            call: Arguments of the pipeline's call.

        Where the cluster has no room for all of them, a warning says so, and this waits for it.

        Raises:
            RuntimeError: Where a worker cannot be made.
        """
        ray = _connected(address)
        options = {"num_gpus": num_gpus, "max_restarts": -1, "max_task_retries": 0, **(resources or {})}
        _warn_of_too_little(ray.available_resources(), num_workers, options)
        self._ray = ray
        self._attempts = max(attempts, 1)
        self._chunk_seconds = chunk_seconds
        self.width = num_workers
        self.chunk_size = chunk_size
        self.devices: dict[int, Device] = {}
        self._warned = False
        self._closed = False
        self._left = num_workers
        self._lock = threading.Lock()
        self._tasks: queue.Queue[_Task | None] = queue.Queue()
        kind = ray.remote(_Worker).options(**options)
        self._actors = [kind.remote(pipeline_factory, reward_factory, "", dict(call)) for _ in range(num_workers)]
        try:
            described = ray.get([actor.describe.remote() for actor in self._actors])
        except ray.exceptions.RayError as error:
            raise RuntimeError(f"a worker could not be made: {_reason(error)}") from error
        self.noise_shape, self._description, _, self.generates_clips = described[0]
        for at, (_, _, device, _) in enumerate(described):
            self._record(at, device)
        # One thread a worker: it hands over a chunk, waits for the answer, and has nothing else to do.
        self._feeders = [
            threading.Thread(target=self._feed, args=(at,), name=f"noisefind-worker-{at}", daemon=True)
            for at in range(num_workers)
        ]
        for feeder in self._feeders:
            feeder.start()

    def describe(self) -> Description:
        """What a run records: of the devices, every kind once."""
        with self._lock:
            known = set(self.devices.values())
        devices = " + ".join(sorted({device.device for device in known}))
        dtypes = " + ".join(sorted({device.dtype for device in known}))
        described = self._description
        device = f"{self.width} x {devices} (Ray)"
        return Description(described.model, described.reward, device, dtypes, described.options)

    def evaluate(
        self, prompt: str, noise: np.ndarray, keys: Sequence[Key], call: Mapping[str, Any]
    ) -> Iterator[list[Evaluated]]:
        """Evaluates chunks wherever a worker is free; gives them as they are done."""
        futures = []
        for at in chunks(keys, self.chunk_size):
            future: Future[list[Evaluated]] = Future()
            futures.append(future)
            some = [keys[one] for one in at]
            self._tasks.put(_Task(prompt, noise[at], some, call, self._attempts, future))
        for done in as_completed(futures):
            yield done.result()

    def close(self) -> None:
        """Ends the workers; the cluster stays."""
        self._closed = True
        for _ in self._feeders:
            self._tasks.put(None)
        for actor in self._actors:
            self._ray.kill(actor)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _feed(self, number: int) -> None:
        """Gives one worker a chunk at a time."""
        while (task := self._next()) is not None:
            try:
                answer = self._ray.get(self._evaluate(number, task), timeout=self._chunk_seconds)
            except Exception as error:  # noqa: BLE001: whatever a worker raises is the reason of a missing reward
                self._failed(number, task, error)
                if self._closed or not self._is_back(number):
                    return
                continue
            self._record(number, answer.device)
            evaluated = [
                Evaluated(key, reward, reason, _image(media))
                for key, (reward, reason), media in zip(task.keys, answer.scores, answer.media)
            ]
            task.future.set_result(evaluated)

    def _evaluate(self, number: int, task: _Task) -> Any:
        return self._actors[number].evaluate.remote(task.prompt, task.noise, task.keys, task.call)

    def _failed(self, number: int, task: _Task, error: Exception) -> None:
        if isinstance(error, self._ray.exceptions.GetTimeoutError):
            self._ray.kill(self._actors[number], no_restart=False)
        task.attempts_left -= 1
        if task.attempts_left > 0:
            self._tasks.put(task)
        elif len(task.keys) > 1:
            threading.Thread(target=self._one_by_one, args=(task,), daemon=True).start()
        else:
            reason = f"tried {self._attempts} times, then given up: {_reason(error)}"
            task.future.set_result([Evaluated(key, None, reason, None) for key in task.keys])

    def _one_by_one(self, task: _Task) -> None:
        """One noise that ends its worker must not take the others of its chunk with it."""
        singles = []
        for at, key in enumerate(task.keys):
            future: Future[list[Evaluated]] = Future()
            singles.append(future)
            self._tasks.put(_Task(task.prompt, task.noise[at : at + 1], [key], task.call, 1, future))
        task.future.set_result([one for future in singles for one in future.result()])

    def _is_back(self, number: int) -> bool:
        """Waits until a worker that failed answers again; no chunk is in its hands meanwhile."""
        pause = 0.1
        while not self._closed:
            try:
                _, _, device, _ = self._ray.get(self._actors[number].describe.remote())
            except self._ray.exceptions.RayError as error:
                # A call that was sent to the old process fails with it; only an actor that cannot be made stays away.
                if "creation task" in str(error):
                    self._gone(number, error)
                    return False
                time.sleep(pause)
                pause = min(2 * pause, 5.0)
            else:
                self._record(number, device)
                return True
        return False

    def _gone(self, number: int, error: Exception) -> None:
        """A worker that cannot be made again; with the last one, nobody is left to evaluate."""
        reason = _reason(error)
        warnings.warn(f"worker {number} is gone: {reason}", RuntimeWarning, stacklevel=2)
        with self._lock:
            self._left -= 1
            nobody = self._left == 0
        while nobody and (task := self._next()) is not None:
            task.future.set_exception(RuntimeError(f"no worker is left: {reason}"))

    def _next(self) -> _Task | None:
        """The next chunk; None when the pool is closed."""
        task = self._tasks.get()
        return None if self._closed else task

    def _record(self, number: int, device: Device) -> None:
        with self._lock:
            self.devices[number] = device
            kinds = {(one.device, one.dtype) for one in self.devices.values()}
            mixed = len(kinds) > 1 and not self._warned
            self._warned |= mixed
        if mixed:
            named = ", ".join(f"{device} in {dtype}" for device, dtype in sorted(kinds))
            warnings.warn(
                f"the workers compute on different devices or in different numbers ({named}), "
                "so rewards depend on who evaluated what",
                RuntimeWarning,
                stacklevel=2,
            )


def _image(files: list[bytes]) -> Any:
    frames = of_png(files)
    return frames if len(frames) > 1 else frames[0]


def _reason(error: BaseException) -> str:
    """The line of an error that says why; Ray adds the trace of the worker or a description of the actor."""
    cause = getattr(error, "cause", None)
    text = f"{type(cause).__name__}: {cause}" if cause is not None else f"{type(error).__name__}: {error}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Of an actor that could not be made, the trace is all there is, and its last line is the error.
    return lines[-1] if "creation task" in lines[0] else lines[0]


def _warn_of_too_little(free: Mapping[str, float], workers: int, options: Mapping[str, Any]) -> None:
    """Ray starts an actor that finds no room when there is some, and says nothing meanwhile."""
    # An actor whose GPUs are told keeps one CPU too, unless something else is told.
    wanted = {"GPU": options["num_gpus"], "CPU": options.get("num_cpus", 1)}
    for kind, each in wanted.items():
        if workers * each > free.get(kind, 0):
            warnings.warn(
                f"the cluster has {free.get(kind, 0):g} {kind} free, and {workers} workers need {workers * each:g}: the pool waits "
                "until there are as many; to start at once, give fewer num_workers, or less of it to each "
                "(num_gpus, resources={'num_cpus': ...})",
                RuntimeWarning,
                stacklevel=3,
            )


def _connected(address: str | None) -> Any:
    """Ray, connected. A cluster that is started here asks for a token that only this user has."""
    own = address is None and not os.environ.get("RAY_ADDRESS")
    has_own_token = False
    if "ray" not in sys.modules:
        # Ray reads these once, while it is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        has_token = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
        if own and not has_token and not (Path.home() / ".ray" / "auth_token").exists():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            has_own_token = True
    ray = needed("ray", "ray")
    if not ray.is_initialized():
        if own and os.environ.get("RAY_AUTH_MODE") != "token":
            warnings.warn(
                "ray was imported before the pool was made, so its cluster asks for no token; set RAY_AUTH_MODE=token "
                "(and RAY_AUTH_TOKEN, or run `ray get-auth-token --generate` once) before the program starts",
                RuntimeWarning,
                stacklevel=3,
            )
        options = {"log_to_driver": False, "include_dashboard": False if own else None}
        try:
            ray.init(address=address, **options)
        except ConnectionError:
            # Ray found the cluster of another program on this machine, which has another token.
            if not has_own_token:
                raise
            ray.init(address="local", **options)
    return ray


def main(texts: Sequence[str] = sys.argv[1:]) -> None:
    """Serves the pipeline in the folder `texts[0]`, on a cluster, to noisefind."""
    from .diffusers import load

    if not texts or texts[0].startswith("-"):
        raise SystemExit(__doc__)
    call = arguments(texts[1:])
    own = {name: call.pop(given) for given, name in OWN_ARGUMENTS.items() if given in call}

    def start() -> tuple[Sequence[int], Any, bool]:
        pool = Pool(functools.partial(load, texts[0]), None, **own, **call)

        def generate(request: Request) -> list[list[bytes]]:
            evaluated: dict[Key, Evaluated] = {}
            for done in pool.evaluate(request.prompt, request.noise, request.keys, request.options):
                evaluated.update((one.key, one) for one in done)
            absent = next((one for one in evaluated.values() if one.image is None), None)
            if absent is not None:
                raise RuntimeError(f"noise {absent.key} could not be generated: {absent.reason}")
            return [as_png(evaluated[key].image) for key in request.keys]

        return pool.noise_shape, generate, pool.generates_clips

    serve(start)


OWN_ARGUMENTS = {"workers": "num_workers", "gpus": "num_gpus", "chunk": "chunk_size", "address": "address"}
"""Arguments of the command that are the pool's and not the pipeline's."""

if __name__ == "__main__":
    main()
