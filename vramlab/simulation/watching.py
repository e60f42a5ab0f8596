"""Watch a replay from outside: how much of the trace is done, and a way to end it.

A replay knows nothing of who watches. It says where it is between pieces of the trace, of a thousand requests
and more, so that a request costs nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Told = Callable[[float], object]
"""Is told which share of the trace is done, 0 to 1. What it raises ends the replay."""

_WATCHER: ContextVar[Told | None] = ContextVar("watcher", default=None)
_OFTEN = 2048  # requests: some milliseconds


@contextmanager
def watching(told: Told) -> Iterator[None]:
    """Watch the replays that are begun in this block, by this thread.

    Examples
    --------
    >>> with watching(lambda share: print(f"{share:.0%}")):
    ...     vramlab.simulate(trace, config)
    """
    token = _WATCHER.set(told)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def pieces(count: int, size: int) -> Iterator[slice]:
    """Cut `count` requests into pieces of `size`, smaller ones where somebody watches."""
    told = _WATCHER.get()
    size = size if told is None else min(size, _OFTEN)
    for start in range(0, count, size):
        if told is not None:
            told(start / count)
        yield slice(start, start + size)
