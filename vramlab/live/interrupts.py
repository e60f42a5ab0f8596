"""Where no signal reaches: a main thread that is in the middle of a decision.

Python runs the handlers of signals between any two steps of the main thread, and most of them raise: the
keyboard's interrupt, a time limit by SIGALRM, an orderly end by SIGTERM. Inside a decision that would leave a
ledger half moved. So the main thread enters :data:`GUARD` before it begins, and what comes meanwhile is
handled when it leaves; while it waits (and nothing is half done) it is handled at once.

That the handlers are ours is looked at each time, since notebooks set theirs anew for each cell; it costs a
fifth of a microsecond. They stay until the last runtime is closed.
"""

from __future__ import annotations

import signal

# signal.getsignal makes members of enums of all that it gives: 1.8 us a call, this one 28 ns
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from threading import current_thread, get_ident, main_thread
from types import FrameType
from typing import Any, Final

_NAMES = ("SIGINT", "SIGALRM", "SIGTERM")
_NUMBERS: Final[tuple[Any, ...]] = tuple(
    [int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)]
)
_handler_of: Final = getsignal  # what is Final is found without a look-up
_thread: Final = get_ident
_Handler = Callable[[int, FrameType | None], Any]


class State(Enum):
    """What the main thread is doing."""

    FREE = "free"  # something else: signals are nobody's business here
    BUSY = "busy"  # a decision
    WAITING = "waiting"  # for a decision to go on: it can be interrupted, and is busy with that at once


FREE: Final = State.FREE
BUSY: Final = State.BUSY
WAITING: Final = State.WAITING
MAIN_THREAD: Final = main_thread().ident


class _Deferring:
    """A signal's handler that waits while the main thread is busy."""

    def __init__(self, guard: Guard, handler: _Handler) -> None:
        self.guard, self.handler = guard, handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        guard = self.guard
        if guard.state is BUSY:
            guard.pending.append((self.handler, number, frame))
        elif guard.state is WAITING:
            guard.state = BUSY  # if the handler raises, what has to be put in order is safe from the next
            self.handler(number, frame)
            guard.state = WAITING
        else:
            self.handler(number, frame)


class Guard:
    """What the main thread enters before a decision, and leaves after it. There is one: :data:`GUARD`."""

    def __init__(self) -> None:
        self.state = FREE
        self.pending: list[tuple[_Handler, int, FrameType | None]] = []
        # handlers at the last look, ours where they could be; before the first look, none
        self._seen: list[Any] = [None for _ in _NUMBERS]
        self._users = 0

    def enter(self) -> State | None:
        """Be busy, if this is the main thread. Returns what :meth:`leave` needs."""
        if _thread() != MAIN_THREAD:
            return None
        seen = self._seen
        for at, number in enumerate(_NUMBERS):
            if _handler_of(number) is not seen[at]:
                self._install()
                break
        before, self.state = self.state, BUSY
        return before

    def leave(self, before: State | None) -> None:
        """Be as before, and handle what has come meanwhile."""
        if before is None:
            return
        self.state = before
        if self.pending and before is not BUSY:
            self._handle()

    def _handle(self) -> None:
        if self.pending:
            handler, number, frame = self.pending.pop(0)
            try:
                handler(number, frame)
            finally:  # one that raises keeps no other from its turn
                self._handle()

    def _install(self) -> None:
        for number in _NUMBERS:
            handler = getsignal(number)
            if callable(handler) and not isinstance(handler, _Deferring):
                signal.signal(number, _Deferring(self, handler))
        self._seen = [getsignal(number) for number in _NUMBERS]

    def opened(self) -> None:
        """A runtime is open."""
        self._users += 1

    def closed(self) -> None:
        """A runtime is closed."""
        self._users -= 1

    def tidy(self) -> None:
        """Put the handlers of before back, where no runtime is open and this is the main thread."""
        if self._users or current_thread() is not main_thread():
            return
        for number in _NUMBERS:
            handler = getsignal(number)
            if isinstance(handler, _Deferring):
                signal.signal(number, handler.handler)
        self._seen = [None for _ in _NUMBERS]


GUARD: Final = Guard()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put signals off until the end of the block; a hit does the same by hand, as it would see the block."""
    before = GUARD.enter()
    try:
        yield
    finally:
        GUARD.leave(before)
