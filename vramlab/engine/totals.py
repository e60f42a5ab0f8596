"""What a server keeps that runs for months and whose records nobody will ask for: totals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from vramlab.engine.records import Outcome, Recorder, Records, Totals


class _Tally:
    """Takes the place of a list of records, and only counts them."""

    def __init__(self) -> None:
        self.well = self.failed = 0

    def append(self, record: Any) -> None:
        if getattr(record, "error", ""):
            self.failed += 1
        else:
            self.well += 1


class RunningTotals(Recorder):
    """Takes the place of a :class:`~vramlab.engine.records.Recorder`, and forgets what has ended.

    It holds one time per request under way, so its size does not depend on how long it has run.

    Parameters
    ----------
    zone_names : list of str
        Zones in the order of the configuration.
    observe : callable, optional
        ``observe(outcome, latency_s)``, called for each request that has ended: for a histogram.
    """

    def __init__(
        self, zone_names: list[str], observe: Callable[[Outcome, float], object] | None = None
    ) -> None:
        super().__init__(zone_names)
        self.observe = observe
        self.arrival_s: dict[int, float] = {}  # type: ignore[assignment]  # of requests under way
        self.loads, self.evictions, self.usage, self.lost = _Tally(), _Tally(), _Tally(), _Tally()  # type: ignore[assignment]
        self._numbers = count()
        self._ended = [0] * len(Outcome)

    def arrived(self, model: str, now_s: float) -> int:
        """Number of a request that comes in."""
        number = next(self._numbers)
        self.arrival_s[number] = now_s
        return number

    def done(self, number: int, outcome: Outcome, now_s: float, why: str = "") -> None:
        """A request has ended."""
        latency_s = now_s - self.arrival_s.pop(number)
        self._ended[outcome] += 1
        if self.observe is not None:
            self.observe(outcome, latency_s)

    def totals(self) -> Totals:
        """How much has ended so far."""
        loads: Any = self.loads
        evictions: Any = self.evictions
        ended = {outcome: self._ended[outcome] for outcome in Outcome}
        return Totals(ended, loads.well, loads.failed, evictions.well)

    def records(self) -> Records:
        """There are none."""
        raise RuntimeError("this run keeps totals only, no records")
