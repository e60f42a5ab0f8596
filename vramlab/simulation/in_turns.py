"""Service times of a run's own samples, drawn in other windows than those that they were seen in.

A run is divided into short windows of two halves that take turns. What is simulated in a window of one half
is drawn from what the windows of the other have seen. The order is that of Thue and Morse (0110 1001...):
neither a drift of the machine nor a period of the trace favours a half. An effect that begins in another
window when simulated than it did live may still meet its own sample, one among many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vramlab.engine.effects import Target
from vramlab.simulation.history import History
from vramlab.simulation.recorded import ORIGINS, SeenTimes, Source, What


class Windows(NamedTuple):
    """Windows of time, all of one length.

    Parameters
    ----------
    from_s : float
        Where the first begins.
    length_s : float
        Of each, in seconds.
    """

    from_s: float
    length_s: float

    def half(self, time_s: float) -> int:
        """Return the half, 0 or 1, that a time is in; what comes before the first window is in its half."""
        return max(0, int((time_s - self.from_s) // self.length_s)).bit_count() % 2


class TimesInTurns(SeenTimes):
    """Times of two halves, each used in its own windows.

    Parameters
    ----------
    windows : Windows
        Of the run.
    halves : sequence of SeenTimes
        What is drawn from in the windows of half 0, and in those of half 1.
    """

    def __init__(self, windows: Windows, halves: Sequence[SeenTimes]) -> None:
        self._windows = windows
        self._halves = halves

    def work_s(self, effect: Any, history: History, now_s: float, reporting: bool) -> float:
        """Draw the work of an effect that begins now; `reporting`: the end of another lets it."""
        times = self._halves[self._windows.half(now_s)]
        return times.work_s(effect, history, now_s, reporting)

    def load_s(self, model: str, target: Target) -> float:
        """Draw a reload, from half 0."""
        return self._halves[0].load_s(model, target)

    def unload_s(self, model: str) -> float:
        """Draw an unload, from half 0."""
        return self._halves[0].unload_s(model)

    def infer_s(self, model: str, target: Target, items: int) -> float:
        """Draw a run from a queue, from half 0."""
        return self._halves[0].infer_s(model, target, items)

    def source(self, what: What, model: str, target: Target, items: int = 1) -> Source:
        """Say where such times come from, in the half that knows less of them."""
        known = [times.source(what, model, target, items) for times in self._halves]
        return max(known, key=lambda source: (ORIGINS.index(source.origin), -source.samples))
