"""What is still to come on simulated time, in order: at equal times first what was planned first.

The engine has a heap of its own rather than SimPy's, for three reasons. A trace is in the order of time
already, so its arrivals need no heap at all. Times are exact, where SimPy knows delays only (``now + (t -
now)`` is not always ``t``). And whatever else runs in somebody's environment, what ends at a moment ends
before a request that comes at that moment is decided, as in a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from math import inf
from typing import Any, Final, Protocol, TypeVar

_Arrival = TypeVar("_Arrival")
_pop: Final = heappop  # for the hot path: what is not Final the compiler looks up
_push: Final = heappush


class Thing(Protocol):
    """What something is planned for."""

    @property
    def matters(self) -> bool:
        """Whether a run has to go on for it."""

    @property
    def acts(self) -> bool:
        """Whether something is done until then, for which others may wait."""


Call = Callable[[Any, float], object]
"""Called with the thing and the time when that has come."""


class Agenda:
    """What is planned.

    Attributes
    ----------
    heap : list of tuple
        Time, a number that keeps the order, what to call, and the thing that it is called with.
    """

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Call, Any]] = []
        self._number = 0

    def at(self, time_s: float, call: Call, thing: Thing) -> None:
        """Plan a call."""
        self._number += 1
        _push(self.heap, (time_s, self._number, call, thing))

    @property
    def next_s(self) -> float:
        """When something comes next; infinite if nothing does."""
        return self.heap[0][0] if self.heap else inf

    def step(self) -> None:
        """Let the next happen."""
        at_s, _, call, thing = heappop(self.heap)
        call(thing, at_s)

    def run_until(self, time_s: float) -> None:
        """Let happen what is due, at `time_s` at the latest."""
        while self.next_s <= time_s:
            self.step()

    def merge(
        self,
        times_s: Iterable[float],
        arrivals: Iterable[_Arrival],
        arrive: Callable[[int, _Arrival, float], object],
    ) -> None:
        """Let arrivals happen, which are in the order of time, and what is due until the last of them."""
        heap = self.heap
        for number, (time_s, arrival) in enumerate(zip(times_s, arrivals, strict=True)):
            while heap and heap[0][0] <= time_s:
                at_s, _, call, thing = _pop(heap)
                call(thing, at_s)
            arrive(number, arrival, time_s)
