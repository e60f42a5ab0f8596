"""The live driver: the engine's effects on asyncio, with real sessions in worker threads.

The engine, its stories and its ledgers live on the event loop's thread and nowhere else; worker threads make,
run and drop sessions and hand their outcome back to the loop. There are as many threads as the engine may
have effects under way, so that an effect starts at once and every queue stays the engine's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from vramlab.engine.effects import Failure, Infer, Load, MemoryReading, ReadMemory, Sleep, Target, Unload
from vramlab.engine.gates import Gate
from vramlab.engine.interpreter import Interpreter, Task
from vramlab.engine.journal import Journal
from vramlab.engine.serving import Answer, Engine
from vramlab.live.errors import SessionError

_LOG = logging.getLogger(__name__)
# Unloads are short and wait for nobody; beyond so many at once they may queue for a thread.
_SPARE_THREADS = 4
_SETTLING_S = 0.002


class LiveSession(Protocol):
    """A model that is ready to run."""

    def run(self, inputs: Any) -> Any:
        """Outputs for `inputs`; called from one thread at a time or several."""

    def close(self) -> None:
        """Give everything back."""


class Backend(Protocol):
    """Where sessions come from. All methods are called from worker threads and may block."""

    def open(self, model: str, target: Target) -> LiveSession:
        """Make a session; raises :class:`~vramlab.live.errors.SessionError`."""

    def memory(self) -> MemoryReading:
        """What the device says of its memory."""


class LiveDriver(Interpreter):
    """Runs the engine on the running event loop.

    Parameters
    ----------
    engine : Engine
        Whose stories are run.
    backend : Backend
        Makes the sessions.
    journal : Journal, optional
        Where everything is written down.
    """

    def __init__(self, engine: Engine, backend: Backend, journal: Journal | None = None) -> None:
        super().__init__(engine, journal)
        serving = engine.config.serving
        threads = serving.gpu_streams + serving.cpu_workers + serving.load_channels + _SPARE_THREADS
        self._jobs: SimpleQueue[tuple[Task, Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"vramlab-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        self._loop = asyncio.get_running_loop()
        self._backend = backend
        self._start_s = time.perf_counter()
        self.under_way = 0  # effects that worker threads have or will get
        self._closing = False
        self._inputs: dict[int | str, Any] = {}
        self._futures: dict[int | str, asyncio.Future[Any]] = {}
        self.sessions: dict[tuple[str, Target], LiveSession] = {}

    def clock(self) -> float:
        """Seconds since the driver began."""
        return time.perf_counter() - self._start_s

    def submit(
        self,
        number: int,
        name: str,
        inputs: Any,
        now_s: float,
        items: int = 1,
        priority: str | None = None,
        requester: str | None = None,
        input_key: str | None = None,
    ) -> asyncio.Future[Answer]:
        """Begin a request; the future's result is its :class:`~vramlab.engine.serving.Answer`."""
        future = self._futures[number] = self._loop.create_future()
        self._inputs[number] = inputs
        self.request(number, name, now_s, items, priority, requester, input_key)
        return future

    def run_story(self, name: str) -> asyncio.Future[Any]:
        """Begin one of the engine's own stories; the future's result is its value."""
        future = self._futures[name] = self._loop.create_future()
        self.begin(name, self.clock())
        return future

    async def settle(self) -> None:
        """Let the effects that are under way end, and begin no more: what only watches is to stop."""
        while self.under_way:
            await asyncio.sleep(_SETTLING_S)
        self._closing = True

    def close(self) -> None:
        """Drop all sessions and end the threads. No task may be under way."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()

    # -- the interpreter's side --------------------------------------------------------------------------

    def perform(self, task: Task, effect: Any) -> None:
        """Hand `effect` to a worker thread, or to the loop's timers."""
        if type(effect) is Sleep:
            self._loop.call_later(effect.seconds, self._ended, task, None, None)
        elif type(effect) is ReadMemory and effect.after_s:
            self._loop.call_later(effect.after_s, self._hand_over, task, effect)
        else:
            self._hand_over(task, effect)

    def _hand_over(self, task: Task, effect: Any) -> None:
        if self._closing:
            return
        self.under_way += 1
        self._jobs.put((task, self._job(task, effect)))

    def set_timer(self, task: Task, gate: Gate, timeout_s: float) -> None:
        """Let the loop call :meth:`time_out`."""
        self._loop.call_later(timeout_s, lambda: self.time_out(task, gate, self.clock()))

    def finished(self, task: Task, value: Any) -> None:
        """Give the story's value to whoever awaits it."""
        self._inputs.pop(task.name, None)
        future = self._futures.pop(task.name, None)
        if future is not None and not future.done():
            future.set_result(value)

    def crashed(self, task: Task, error: Exception) -> None:
        """Give a bug to whoever awaits the story, else to the log."""
        self._inputs.pop(task.name, None)
        future = self._futures.pop(task.name, None)
        if future is not None and not future.done():
            future.set_exception(error)
        else:
            _LOG.error("task %s crashed", task.name, exc_info=error)

    # -- on worker threads -------------------------------------------------------------------------------

    def _job(self, task: Task, effect: Any) -> Callable[[], Any]:
        """What a worker thread has to do for `effect`."""
        if type(effect) is Infer:
            session, inputs = self.sessions[effect.model, effect.target], self._inputs[task.name]
            return lambda: session.run(inputs)
        if type(effect) is Load:
            return lambda: self._open(effect)
        if type(effect) is Unload:
            return self.sessions.pop((effect.model, Target.GPU)).close
        if type(effect) is ReadMemory:
            return self._backend.memory
        raise TypeError(f"not an effect: {effect!r}")

    def _open(self, effect: Load) -> None:
        self.sessions[effect.model, effect.target] = self._backend.open(effect.model, effect.target)

    def _work(self) -> None:
        """One worker thread. (An executor's futures would cost a hit some twenty microseconds more.)"""
        while (work := self._jobs.get()) is not None:
            task, job = work
            value, failure = None, None
            try:
                value = job()
            except SessionError as error:
                failure = (Failure(_FAILURES[error.kind]), str(error))
            except Exception as error:  # whatever a session raises is the outcome of its effect
                failure = (Failure.RAISED, f"{type(error).__name__}: {error}")
            self._loop.call_soon_threadsafe(self._ended, task, value, failure)
            del work, task, job, value  # or inputs and outputs would stay until the next job comes

    def _ended(self, task: Task, value: Any, failure: tuple[Failure, str] | None) -> None:
        self.under_way -= type(task.effect) is not Sleep
        if failure is None:
            self.resume(task, self.clock(), value)
        else:
            self.fail(task, self.clock(), *failure)


_FAILURES = {
    "out of memory": Failure.OUT_OF_MEMORY,
    "corrupt": Failure.CORRUPT,
    "failed": Failure.RAISED,
}
