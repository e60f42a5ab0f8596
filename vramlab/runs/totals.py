"""Totals for a server that runs for months and keeps no records."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from vramlab.engine.outcomes import (
    EvictionRecord,
    LoadRecord,
    Outcome,
    PreloadRecord,
    Totals,
)
from vramlab.runs.records import Records


class _Loads:
    """Counts loads."""

    def __init__(self) -> None:
        self.well = self.failed = 0

    def append(self, row: LoadRecord, /) -> None:
        """Count one."""
        if row.error:
            self.failed += 1
        else:
            self.well += 1


class _Evictions:
    """Counts evictions."""

    def __init__(self) -> None:
        self.count = 0

    def append(self, row: EvictionRecord, /) -> None:
        """Count one."""
        self.count += 1


class _Nothing:
    """Drops its rows."""

    def append(self, row: object, /) -> None:
        """Drop one."""


class RunningTotals:
    """A :class:`~vramlab.engine.outcomes.RecordSink` that counts, and forgets what has ended.

    It holds one time per request under way, so its size does not depend on how long it has run.

    Parameters
    ----------
    observe : callable, optional
        ``observe(outcome, latency_s)``, called for each request that has ended: for a histogram.
    """

    def __init__(self, observe: Callable[[Outcome, float], object] | None = None) -> None:
        self.observe = observe
        self.arrival_s: dict[int, float] = {}  # of requests under way
        self.loads, self.evictions, self.usage = _Loads(), _Evictions(), _Nothing()
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

    def done(self, number: int, outcome: Outcome, now_s: float, why: str = "") -> None:
        """Count a request that has ended."""
        latency_s = now_s - self.arrival_s.pop(number)
        self._ended[outcome] += 1
        if self.observe is not None:
            self.observe(outcome, latency_s)

    def totals(self) -> Totals:
        """Count what has ended so far."""
        ended = {outcome: self._ended[outcome] for outcome in Outcome}
        return Totals(ended, self.loads.well, self.loads.failed, self.evictions.count)

    def records(self) -> Records:
        """Raise ``RuntimeError``: there are none."""
        raise RuntimeError("this run keeps totals only, no records")
