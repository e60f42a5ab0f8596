"""Totals for a server that runs for months and keeps no records."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from vramlab.engine.outcomes import (
    EvictionRecord,
    LoadRecord,
    Outcome,
    PreloadRecord,
    RecordSink,
    Totals,
)
from vramlab.runs.records import Records


class RunningTotals(RecordSink):
    """Counts, and forgets what has ended.

    It holds one time per request under way, so its size does not depend on how long it has run.

    Parameters
    ----------
    observe : callable, optional
        ``observe(outcome, latency_s)``, called for each request that has ended: for a histogram.
    """

    def __init__(self, observe: Callable[[Outcome, float], object] | None = None) -> None:
        self.observe = observe
        self.arrival_s: dict[int, float] = {}  # of requests under way
        self._loads = self._failed_loads = self._evictions = 0
        self.preloads: list[PreloadRecord] = []
        self.faults: dict[str, float] = {}
        self.binding: Callable[[], dict[str, int]] = dict
        self._numbers = count()
        self._ended = [0] * len(Outcome)

    def arrived(self, model: str, now_s: float) -> int:
        """Number a request that comes in."""
        number = next(self._numbers)
        self.arrival_s[number] = now_s
        return number

    def arrival_of(self, number: int) -> float:
        """When a request came that is under way, seconds."""
        return self.arrival_s[number]

    def loaded(self, load: LoadRecord) -> None:
        """Count a load."""
        if load.error:
            self._failed_loads += 1
        else:
            self._loads += 1

    def left(self, eviction: EvictionRecord) -> None:
        """Count a model that has left."""
        self._evictions += 1

    def holds(self, now_s: float, held_bytes: list[int]) -> None:
        """Keep nothing of that."""

    def done(self, number: int, outcome: Outcome, now_s: float, why: str = "") -> None:
        """Count a request that has ended."""
        latency_s = now_s - self.arrival_s.pop(number)
        self._ended[outcome] += 1
        if self.observe is not None:
            self.observe(outcome, latency_s)

    def totals(self) -> Totals:
        """Count what has ended so far."""
        ended = {outcome: self._ended[outcome] for outcome in Outcome}
        return Totals(ended, self._loads, self._failed_loads, self._evictions)

    def records(self) -> Records:
        """Raise ``RuntimeError``: there are none."""
        raise RuntimeError("this run keeps totals only, no records")
