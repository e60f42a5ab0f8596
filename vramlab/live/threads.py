"""What the live driver has of the world: threads, timers, a clock, and an event loop.

The driver does nothing with them but through :class:`World`, so that tests can put a scheduler of their own
in their place, under which everything happens in one thread, in an order that follows from a seed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from vramlab.live.cores import keep_to
from vramlab.live.interrupts import GUARD, MAIN_THREAD, undisturbed

_LOG = logging.getLogger(__name__)
_JOIN_S = 2.0  # all threads together: one that hangs in a load is left behind

Work = Callable[..., bool]
"""Does one job; returns whether the thread that did it is one too many now."""


class Jobs(Protocol):
    """A queue of jobs that worker threads take from."""

    def put(self, job: tuple[Any, ...], /) -> None:
        """Add a job: the arguments of the work."""


class World(Protocol):
    """What the driver has of the world."""

    loop_thread: int
    """Identifies the thread of the event loop, as :func:`threading.get_ident` does."""

    def now_s(self) -> float:
        """A clock that never goes back, seconds."""

    def jobs(self) -> Jobs:
        """A queue of jobs, for which there is no worker yet."""

    def add_worker(self, jobs: Any, work: Work, cores: frozenset[int] | None) -> None:
        """Add a thread that does the jobs of a queue, one after the other, on some cores."""

    def soon(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Call it on the event loop; from any thread."""

    def later(self, seconds: float, callback: Callable[..., Any], *arguments: Any) -> None:
        """Call it on the event loop after so long; from any thread."""

    def future(self) -> Any:
        """A future of the event loop that runs in this thread."""

    def resolve(self, future: Any, value: Any, error: Exception | None) -> None:
        """Give a future its value, on whichever event loop it is awaited."""

    def say(self, log: Callable[..., None], *arguments: Any, **more: Any) -> None:
        """Call a logger, from a thread of its own: handlers are anybody's code, and may block or call us."""

    def close(self) -> None:
        """End the threads; blocks."""


class Threads:
    """The world as it is. Made in the thread of the running event loop, which gives the timers.

    A worker is woken by a queue of its own kind: an executor's futures would cost a hit some twenty
    microseconds more.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.loop_thread = threading.get_ident()
        self._enter = _guarded if self.loop_thread == MAIN_THREAD else _called
        self.now_s = time.perf_counter
        self._workers: dict[threading.Thread, SimpleQueue[Any]] = {}
        self._sayings: SimpleQueue[Any] = SimpleQueue()
        self._sayer = threading.Thread(target=self._say_all, name="vramlab-log", daemon=True)
        self._sayer.start()
        GUARD.opened()

    def jobs(self) -> SimpleQueue[Any]:
        """A queue that threads wait at."""
        return SimpleQueue()

    def add_worker(self, jobs: SimpleQueue[Any], work: Work, cores: frozenset[int] | None) -> None:
        """Start a thread."""
        thread = threading.Thread(
            target=self._work, args=(jobs, work, cores), name=f"vramlab-{len(self._workers)}", daemon=True
        )
        self._workers[thread] = jobs
        thread.start()

    def _work(self, jobs: SimpleQueue[Any], work: Work, cores: frozenset[int] | None) -> None:
        keep_to(cores)
        surplus = False
        while not surplus and (job := jobs.get()) is not None:
            try:
                surplus = work(*job)
            except BaseException as error:  # whatever it is, the next job needs this thread
                self.say(_LOG.error, "a worker thread goes on after an error", exc_info=error)
            del job  # or inputs and outputs would stay until the next one comes
        self._workers.pop(threading.current_thread(), None)

    def soon(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Call it on the loop, with signals put off."""
        if threading.get_ident() == self.loop_thread:
            self._loop.call_soon(self._enter, callback, *arguments)
        else:
            self._on_loop(self._loop, self._enter, callback, *arguments)

    def later(self, seconds: float, callback: Callable[..., Any], *arguments: Any) -> None:
        """A timer of the loop."""
        if threading.get_ident() == self.loop_thread:
            self._loop.call_later(seconds, self._enter, callback, *arguments)
        else:
            self._on_loop(self._loop, self._loop.call_later, seconds, self._enter, callback, *arguments)

    def future(self) -> asyncio.Future[Any]:
        """Of the loop that runs here."""
        return asyncio.get_running_loop().create_future()

    def resolve(self, future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
        """On its own loop, from any thread."""
        loop = future.get_loop()
        if loop is self._loop and threading.get_ident() == self.loop_thread:
            _resolve(future, value, error)
        elif not future.done():  # else it was cancelled, and its loop may have ended since
            self._on_loop(loop, _resolve, future, value, error)

    def _on_loop(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[..., Any], *arguments: Any
    ) -> None:
        try:
            loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError as error:  # it is closed: nobody awaits anything there any more
            self.say(_LOG.warning, "the event loop has ended before the runtime was closed (%s)", error)

    def say(self, log: Callable[..., None], *arguments: Any, **more: Any) -> None:
        """Leave it to the thread that logs."""
        self._sayings.put((log, arguments, more))

    def _say_all(self) -> None:
        while (saying := self._sayings.get()) is not None:
            log, arguments, more = saying
            try:
                log(*arguments, **more)
            except Exception as error:  # a handler of anybody's: there is no other place to say it
                print(f"vramlab: a log handler raised {error!r}", file=sys.stderr)

    def close(self) -> None:
        """End the threads, but for those that hang."""
        workers = dict(self._workers)
        for jobs in workers.values():
            jobs.put(None)
        self._sayings.put(None)
        until_s = time.monotonic() + _JOIN_S
        for thread in (*workers, self._sayer):
            thread.join(max(0.0, until_s - time.monotonic()))
        GUARD.closed()


def _called(callback: Callable[..., Any], *arguments: Any) -> None:
    callback(*arguments)


def _guarded(callback: Callable[..., Any], *arguments: Any) -> None:
    with undisturbed():
        callback(*arguments)


def _resolve(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():  # cancelled
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
