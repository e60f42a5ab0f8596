"""What effects and serving add to times: one beside another, the change of threads, the driver's own work.

Measured by the profiler on two models of middling size, and taken to be the same for all.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from vramlab.config.plain import plain_memory, plain_models
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.effects import Target
from vramlab.live.backend import OnnxBackend
from vramlab.live.cores import Cores, keep_to
from vramlab.live.errors import SessionError
from vramlab.live.onnx_sessions import Session
from vramlab.live.runtime import LiveRuntime
from vramlab.live.tasks import LiveSession
from vramlab.live.values import Feeds
from vramlab.runs.samples import BY_A_WORKER, ON_THE_LOOP, QUEUED, Sample

PAUSES_S = (0.0, 0.003, 0.01, 0.03)
"""How long a model has not run before a measured run; beyond the last, nothing more changes."""

_GPU_AND_CPU = (("infer", Target.GPU), ("load", Target.GPU), ("infer", Target.CPU))
_ALWAYS_MS = 1e9
_LEAST_ROUNDS = 3  # of all pairs of kinds


class Hop:
    """A worker thread that does what it is handed, timed from the event loop to the end of the work."""

    def __init__(self, cores: frozenset[int] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.cores = cores
        self._jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    async def __call__(self, job: Callable[[], Any]) -> tuple[Any, float]:
        """Value and duration of `job` in seconds."""
        future: asyncio.Future[Any] = self._loop.create_future()
        begin = time.perf_counter()
        self._jobs.put((job, future))
        value, end = await future
        return value, end - begin

    def _work(self) -> None:
        keep_to(self.cores)
        while (work := self._jobs.get()) is not None:
            job, future = work
            try:
                outcome = job(), time.perf_counter()
            except BaseException as error:
                self._loop.call_soon_threadsafe(future.set_exception, error)
            else:
                self._loop.call_soon_threadsafe(future.set_result, outcome)

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join()


class _Timed:
    """A session that knows how long its last run took."""

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self.taken_bytes, self.identity, self.axis = session.taken_bytes, session.identity, session.axis
        self.took_s = 0.0

    def run(self, inputs: Any) -> Any:
        begin = time.perf_counter()
        outputs = self._session.run(inputs)
        self.took_s = time.perf_counter() - begin
        return outputs

    def run_and_shrink(self, inputs: Any) -> Any:
        return self._session.run_and_shrink(inputs)

    def close(self) -> None:
        self._session.close()


class Hops:
    """A worker thread for the device's runs and one for all else, each on its cores."""

    def __init__(self, cores: Cores) -> None:
        self._device, self._host = Hop(cores.device), Hop(cores.host)

    def of(self, what: str, target: Target) -> Hop:
        """The thread of an effect."""
        return self._device if what == "infer" and target is Target.GPU else self._host

    def close(self) -> None:
        """End the threads."""
        self._device.close()
        self._host.close()


async def timed_run(hop: Hop, session: Session, inputs: Any, pause_s: float) -> tuple[float, float]:
    """Seconds of a run after a pause, with a change of threads and without it."""
    timed = _Timed(session)
    if pause_s:
        await asyncio.sleep(pause_s)
    _, seconds = await hop(lambda: timed.run(inputs))
    return seconds, timed.took_s


def middling(config: VramConfig, inventory: Inventory, names: Iterable[str]) -> list[str]:
    """Two models of middling size, of those that fit several times; none if there are no two."""
    ordered = sorted(names, key=lambda name: inventory[name].footprint_bytes)
    # A session stays loaded while the same model is loaded anew beside it, twice over in the worst case.
    fitting = [n for n in ordered if 4 * inventory[n].footprint_bytes <= config.budget_bytes]
    middle = (len(fitting) - 1) // 2
    return fitting[middle : middle + 2] if len(fitting) > 1 else []


async def serving_overheads(
    config: VramConfig, pair: Inventory, made: Mapping[str, Feeds], device: str, runs: int
) -> list[Sample]:
    """Time what serving adds to a bare run, by how long nothing has run; none where the GPU cannot be had.

    From a request's arrival, or the end of the run before it in the queue, to the end of its run in the
    journal, less the run itself: of the first model of `pair`, in turn with the other, which leaves caches as
    they are where many models are served. Zones and rights play no part, and there are none. `made` holds
    inputs of both.
    """
    name, other = pair
    plain, inventory = plain_memory(config, config.budget_bytes), plain_models(pair)
    inputs, others_inputs = made[name], made[other]
    pauses_s, samples = PAUSES_S * runs, []

    def note(label: str, pause_s: float, served_s: float, bare_s: float) -> None:
        if not isnan(served_s):  # of a run that failed
            samples.append(Sample(name, "gpu", label, 1, max(0.0, served_s - bare_s), pause_s))

    for label, inline_run_ms in ((ON_THE_LOOP, _ALWAYS_MS), (BY_A_WORKER, 0.0)):
        changes = {"inline_run_ms": inline_run_ms, "gpu_streams": 1}
        settings = plain.model_copy(update={"serving": config.serving.model_copy(update=changes)})
        with TemporaryDirectory() as folder:
            async with LiveRuntime(settings, inventory, device, Path(folder) / "journal.jsonl") as runtime:
                await runtime.submit(other, others_inputs)
                await runtime.submit(name, inputs)
                sessions, key = runtime.driver.sessions, (name, Target.GPU)
                if not {key, (other, Target.GPU)} <= sessions.keys():
                    return []
                sessions[key] = timed = _Timed(sessions[key])
                await runtime.submit(name, inputs)  # of the first it is not known yet that it is short
                bare_s = []
                for pause_s in pauses_s:
                    await runtime.submit(other, others_inputs)
                    await asyncio.sleep(pause_s)
                    await runtime.submit(name, inputs)
                    bare_s.append(timed.took_s)
                latencies_s = runtime.records().latency_s[4::2].tolist()
                for pause_s, served_s, run_s in zip(pauses_s, latencies_s, bare_s, strict=True):
                    note(label, pause_s, served_s, run_s)
                for _ in range(2 * runs if label == BY_A_WORKER else 0):
                    await asyncio.sleep(PAUSES_S[-1])
                    await asyncio.gather(runtime.submit(other, others_inputs), runtime.submit(name, inputs))
                    records = runtime.records()
                    first_s, second_s = records.finish_s[-2:].tolist()
                    if records.arrival_s[-1] < first_s:  # else it has not waited
                        note(QUEUED, 0.0, second_s - first_s, timed.took_s)
    return samples


async def neighbours(hops: Hops, backend: OnnxBackend, made: Mapping[str, Feeds], runs: int) -> list[Sample]:
    """Time the first model of `made` beside the second, in every pair of kinds; raises `SessionError`."""
    samples: list[Sample] = []
    measured, neighbour = made
    jobs = await asyncio.to_thread(_jobs_of, backend, measured, made[measured])
    others = await asyncio.to_thread(_jobs_of, backend, neighbour, made[neighbour])
    pause_s = PAUSES_S[-1]
    try:
        for _ in range(max(_LEAST_ROUNDS, (runs + 2) // 3)):
            for what, target in _GPU_AND_CPU:
                for beside in (None, *_GPU_AND_CPU):
                    background = None
                    if beside is not None:
                        cores = hops.of(*beside).cores
                        background = _Background(others.work[beside], cores)
                    await asyncio.sleep(pause_s)
                    try:
                        _, seconds = await hops.of(what, target)(jobs.work[what, target])
                    finally:
                        if background is not None:
                            await asyncio.to_thread(background.stop)
                    label = "" if beside is None else f"{beside[0]} on {beside[1].value}"
                    paused_s = pause_s if what == "infer" else 0.0
                    samples.append(Sample(measured, target.value, what, 1, seconds, paused_s, label))
                    if what == "load":
                        jobs.drop()
    finally:
        jobs.close()
        others.close()
    return samples


@dataclass
class _Jobs:
    """What one model can be made to do, over and over."""

    sessions: list[Session]
    opened: list[Session]
    work: dict[tuple[str, Target], Callable[[], object]]

    def drop(self) -> None:
        while self.opened:
            self.opened.pop().close()

    def close(self) -> None:
        self.drop()
        for session in self.sessions:
            session.close()


def _jobs_of(backend: OnnxBackend, name: str, inputs: Feeds) -> _Jobs:
    on_gpu, on_cpu = backend.open(name, Target.GPU), backend.open(name, Target.CPU)
    jobs = _Jobs([on_gpu, on_cpu], [], {})

    def load() -> None:
        jobs.drop()
        jobs.opened.append(backend.open(name, Target.GPU))

    jobs.work = {
        ("infer", Target.GPU): lambda: on_gpu.run(inputs),
        ("infer", Target.CPU): lambda: on_cpu.run(inputs),
        ("load", Target.GPU): load,
    }
    return jobs


class _Background:
    """Does the same over and over on a thread of its own."""

    def __init__(self, job: Callable[[], object], cores: frozenset[int] | None) -> None:
        self._job = job
        self._cores = cores
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        keep_to(self._cores)
        try:
            while not self._ended.is_set():
                self._job()
        except SessionError as error:
            self._error = error

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
