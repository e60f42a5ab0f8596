"""Worker threads of the profiler: effects are timed as they are served, from the event loop to their end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from vramlab.engine.effects import Target
from vramlab.live.cores import Cores, keep_to
from vramlab.live.onnx_sessions import Session

PAUSES_S = (0.0, 0.003, 0.01, 0.03)
"""How long a model has not run before a measured run; beyond the last, nothing more changes."""


class Hop:
    """A worker thread that does what it is handed, timed from the event loop to the end of the work."""

    def __init__(self, cores: frozenset[int] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._cores = cores
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
        keep_to(self._cores)
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


async def timed_run(hop: Hop, session: Session, inputs: Any, pause_s: float) -> float:
    """Seconds of a run after a pause."""
    if pause_s:
        await asyncio.sleep(pause_s)
    _, seconds = await hop(lambda: session.run(inputs))
    return seconds
