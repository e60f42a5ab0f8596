"""A thread that does the newest of what was asked for, and ends what it is doing for an older one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from vramlab.simulation.watching import watching

Task = TypeVar("Task")


class _Ended(BaseException):
    """The replay under way is for a setting that nobody looks at any more.

    No Exception: a policy of the user's must not be able to catch it.
    """


class Latest(Generic[Task]):
    """Carries out tasks in which a trace is replayed; only the newest counts.

    Parameters
    ----------
    carry_out : callable
        Does one task, on the thread. It must not raise.
    progress : callable
        Told from the thread which share of the task's trace is done.
    """

    def __init__(self, carry_out: Callable[[Task], object], progress: Callable[[float], object]) -> None:
        self._carry_out, self._progress = carry_out, progress
        self._turn = threading.Lock()
        self._waiting: list[Task] = []  # one at most
        self._outdated = threading.Event()
        self._worker: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._worker is not None

    def ask(self, task: Task) -> None:
        """Do this next, and end what is under way."""
        with self._turn:
            self._waiting = [task]
            self._outdated.set()
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="vramlab-explorer", daemon=True)
                self._worker.start()

    def stop(self) -> None:
        """End what is under way, and begin nothing."""
        with self._turn:
            self._waiting = []
            self._outdated.set()

    def wait(self) -> None:
        """Return when nothing is under way any more."""
        worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            worker.join()

    def _work(self) -> None:
        for task in self._tasks():
            try:
                with watching(self._look):
                    self._carry_out(task)
            except _Ended:
                continue

    def _tasks(self) -> Iterator[Task]:
        while True:
            with self._turn:
                if not self._waiting:
                    self._worker = None
                    return
                task = self._waiting.pop()
                self._outdated.clear()
            yield task

    def _look(self, share: float) -> None:
        if self._outdated.is_set():
            raise _Ended
        self._progress(share)
