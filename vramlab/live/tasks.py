"""What the live driver keeps of a request, and what it asks of those that it works with.

A task and its caller, and the protocols of sessions and of the backend that makes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from threading import get_ident
from typing import Any, Final, Protocol

from vramlab.engine.effects import Failure, Infer, Load, MemoryReading, Replaced, Story, Target
from vramlab.engine.interpreter import Task
from vramlab.engine.requests import Answer
from vramlab.live.answers import to_keep
from vramlab.live.batches import BatchAxis, run_joined
from vramlab.live.cores import Cores
from vramlab.live.errors import SessionError
from vramlab.live.interrupts import BUSY, GUARD, MAIN_THREAD, WAITING
from vramlab.live.lock import Lock

_LOG = logging.getLogger(__name__)

ENDED: Final = object()
"""What a caller is told when its request has ended."""


class Closing(Exception):
    """The runtime is closing, and takes no more requests."""


class LiveSession(Protocol):
    """A model that is ready to run.

    Attributes
    ----------
    taken_bytes : int or None
        What its load was seen to take.
    identity : object
        Of the file that it was made of; equal to another's where that was the same file.
    axis : BatchAxis or None
        What looks like a batch.
    """

    axis: BatchAxis | None
    taken_bytes: int | None
    identity: Any

    def run(self, inputs: Any) -> Any:
        """Outputs for `inputs`; called from one thread at a time or several."""

    def run_and_shrink(self, inputs: Any) -> Any:
        """As `run`; then give back what its arena does not use, also if the run has failed."""

    def close(self) -> None:
        """Give everything back."""


class Backend(Protocol):
    """Where sessions come from. All methods are called from worker threads and may block."""

    cores: Cores
    """On which cores the device's runs are done, and on which all else."""

    def open(self, model: str, target: Target, size_bytes: int | None = None) -> LiveSession:
        """Make a session, for which `size_bytes` are reserved; raises :class:`.errors.SessionError`."""

    def memory(self) -> MemoryReading:
        """What the device says of its memory."""


class OpenSessions(dict[tuple[str, Target], LiveSession]):
    """The sessions that are ready to run, by model and target."""

    def __init__(self) -> None:
        super().__init__()
        self._identities: dict[str, Any] = {}  # of the file that a model was last loaded from

    def loaded(self, effect: Load, session: LiveSession) -> Any:
        """Take in what a load has made. Returns what the engine is told of it."""
        self[effect.model, effect.target] = session
        before = self._identities.get(effect.model, session.identity)
        self._identities[effect.model] = session.identity
        return session.taken_bytes if session.identity == before else Replaced(session.taken_bytes)

    def close_all(self, say: Callable[..., None]) -> None:
        """Close and forget them; blocks."""
        for (model, _), session in self.items():
            close_session(model, session, say)
        self.clear()


def close_session(model: str, session: LiveSession, say: Callable[..., None]) -> None:
    """Close a session that the engine does not know of any more; what it raises is said to the log."""
    try:
        session.close()
    except Exception as error:
        say(_LOG.error, "closing the session of %s failed", model, exc_info=error)


Failed = tuple[Failure, str, int | None]
"""How an effect failed: the kind, in words, and how many bytes were lacking, as far as that is known."""

_FAILURES = {
    "out of memory": Failure.OUT_OF_MEMORY,
    "own limit": Failure.OWN_LIMIT,
    "nonsense size": Failure.NONSENSE_SIZE,
    "device lost": Failure.DEVICE_LOST,
    "device failed": Failure.DEVICE_FAILED,
    "corrupt": Failure.CORRUPT,
    "failed": Failure.RAISED,
}


def failure_of(error: Exception) -> Failed:
    """What the engine is told of an exception that ended an effect; its text may raise in its turn."""
    if isinstance(error, SessionError):
        return _FAILURES[error.kind], str(error), error.lacking_bytes
    try:
        return Failure.RAISED, f"{type(error).__name__}: {error}", None
    except Exception:
        return Failure.RAISED, type(error).__name__, None


Job = tuple[Any, Any, Callable[..., Any], Any]
"""A task, its effect, and what carries that out: a callable, with its argument (of a run) or all of them."""


class Caller:
    """Who has submitted a request, and may do its runs.

    A thread that blocks is told one thing at a time: to do a run, or how its request has ended. A hit is told
    all in the caller's own thread, and needs no queue; who has to wait for another thread makes one. A
    coroutine does only a run that begins at once (``task.here``); if that was not all, it awaits a future
    (:meth:`.LiveDriver.ending`), which a hit does not need either.
    """

    __slots__ = ("blocks", "error", "mailbox", "message", "value")

    value: Any
    error: Exception | None

    def __init__(self, blocks: bool) -> None:
        self.blocks = blocks
        self.message: Any = None  # an effect and its job, or ENDED: then value and error say how
        self.mailbox: SimpleQueue[Any] | None = None

    def answer(self) -> Answer:
        """How the request has ended; raises the bug that has ended it."""
        if self.error is not None:
            raise self.error
        answer: Answer = self.value
        return answer

    def tell(self, message: Any) -> None:
        """Under the driver's lock."""
        if self.mailbox is None:
            self.message = message
        else:
            self.mailbox.put(message)

    def wait(self, lock: Lock) -> Any:
        """In the caller's thread, which has found no message: blocks until there is one."""
        if self.mailbox is None:
            with lock:
                message, self.message = self.message, None
                if message is not None:  # meanwhile
                    return message
                self.mailbox = SimpleQueue()
        if get_ident() != MAIN_THREAD:
            return self.mailbox.get()
        GUARD.state = WAITING
        message = self.mailbox.get()  # what an interrupt makes us lose here, `LiveDriver._abandon` puts right
        GUARD.state = BUSY
        return message


class LiveTask(Task):
    """A story with the request's inputs, whoever awaits it, and the effect whose end is still to come.

    Attributes
    ----------
    here : Job or None
        A run that is left to whoever has submitted the request.
    """

    __slots__ = ("caller", "future", "here", "inputs", "keyed", "pending")

    def __init__(self, name: int | str, story: Story) -> None:
        self.name, self.story = name, story  # not by the base: a call more would be seen in a hit
        self.effect = self.waiting = None
        self.started_s = 0.0
        self.inputs: Any = None
        self.future: asyncio.Future[Any] | None = None
        self.caller: Caller | None = None
        self.pending: Any = None
        self.here: Job | None = None
        self.keyed = False  # whether its answer may be kept


def job_of(
    task: LiveTask,
    effect: Infer,
    session: LiveSession,
    tasks: Mapping[int | str, LiveTask],
    kept_bytes: int,
) -> Job:
    """Return a task, its effect, and what runs its request, or several that are joined, with what.

    The outcome of several is the answer of each by its number, or what the engine keeps in its place.
    """
    if not effect.joined:
        return task, effect, session.run_and_shrink if effect.shrink else session.run, task.inputs
    # a request that has gone meanwhile needs no answer
    others = [tasks[number] for number in effect.joined if number in tasks]
    requests = [(one.name, one.inputs, one.keyed) for one in (task, *others)]
    return task, effect, _run_joined, (session, requests, kept_bytes)


def _run_joined(given: tuple[LiveSession, list[tuple[Any, Any, bool]], int]) -> dict[Any, Any]:
    session, requests, kept_bytes = given
    answers = run_joined(session.run, [inputs for _, inputs, _ in requests], session.axis)
    pairs = zip(requests, answers, strict=True)
    return {name: to_keep(answer, kept_bytes) if keyed else answer for (name, _, keyed), answer in pairs}
