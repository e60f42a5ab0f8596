"""One thread per stream of a device, which does all that is done there: load, run, shrink, close.

onnxruntime's memory on CUDA grows by each thread that runs a session (issue 29351), and two runs of one
session at once need two workspaces and risk an error that loses the device (issue 32342). So a session stays
with the thread that has loaded it. Threads last as long as the process: a device does, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from vramlab.live.cores import keep_to

_Value = TypeVar("_Value")


class DeviceThread:
    """A thread that does one thing after the other, for whoever waits for it."""

    def __init__(self, name: str) -> None:
        self.sessions = 0
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Callable[..., _Value], *arguments: Any, **named: Any) -> _Value:
        """Let the thread do it, and wait; what it raises is raised here."""
        if threading.current_thread() is self._thread:
            return work(*arguments, **named)
        done: SimpleQueue[tuple[_Value | None, BaseException | None]] = SimpleQueue()
        self._jobs.put((done, work, arguments, named))
        value, error = done.get()
        if error is not None:
            try:
                raise error
            finally:
                del error  # or the frame would keep the exception, and that the frame
        return value  # type: ignore[return-value]

    def _work(self) -> None:
        while True:
            done, work, arguments, named = self._jobs.get()
            try:
                done.put((work(*arguments, **named), None))
            except BaseException as error:  # the caller's affair, whatever it is
                done.put((None, error))
            del done, work, arguments, named  # or inputs would stay until the next job comes


class DeviceThreads:
    """The threads of one device's streams.

    Parameters
    ----------
    label : str
        Of the device; devices of one label in one process share their threads.
    streams : int
        How many there are.
    """

    _of_label: dict[str, list[DeviceThread]] = {}  # noqa: RUF012  # of the process, as the devices are
    _lock = threading.Lock()

    def __init__(self, label: str, streams: int = 1) -> None:
        with self._lock:
            known = self._of_label.setdefault(label, [])
            while len(known) < streams:
                known.append(DeviceThread(f"{label} {len(known)}"))
            self._threads = known[:streams]

    def keep_to(self, cores: frozenset[int] | None) -> None:
        """Let them run on these cores only."""
        for thread in self._threads:
            thread.do(keep_to, cores)

    def assign(self) -> DeviceThread:
        """The thread with the fewest sessions, for one more; :meth:`release` takes it back."""
        with self._lock:
            thread = min(self._threads, key=lambda one: one.sessions)
            thread.sessions += 1
        return thread

    def release(self, thread: DeviceThread) -> None:
        """A session of that thread is gone."""
        with self._lock:
            thread.sessions -= 1
