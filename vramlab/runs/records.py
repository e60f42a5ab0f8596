"""What a replay leaves behind: one outcome per request, one row per load and per eviction.

Filled by whoever serves (the engine under either driver, or decide mode) and read by the analysis. Arrays
are per request, in the order of arrival.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vramlab.engine.outcomes import (
    EvictionRecord,
    LoadRecord,
    LossRecord,
    Outcome,
    PreloadRecord,
    Totals,
    UsageRecord,
)

_RAN_ON = {
    Outcome.HIT: "gpu",
    Outcome.COLD_START: "gpu",
    Outcome.WAIT: "gpu",
    Outcome.FALLBACK: "cpu",
    Outcome.CACHE_HIT: "cache",
}


class RequestRecord(NamedTuple):
    """One request that has ended; times in seconds. ``why`` says how it was lost, if it was."""

    number: int
    model: str
    outcome: Outcome
    arrival_s: float
    finish_s: float
    why: str = ""

    @property
    def served(self) -> bool:
        """Whether there is an answer: it was not refused or cancelled, and did not fail."""
        return self.outcome in _RAN_ON

    @property
    def ran_on(self) -> str:
        """``gpu``, ``cpu``, ``cache`` (the result cache), or empty where there is no answer."""
        return _RAN_ON.get(self.outcome, "")

    @property
    def latency_s(self) -> float:
        """From arrival to the end, seconds."""
        return self.finish_s - self.arrival_s


@dataclass(eq=False)
class Records:
    """All records of one run.

    Parameters
    ----------
    model_names : list of str
        Names behind `model_codes`.
    model_codes : ndarray of int32, shape (requests,)
        Which model each request asked for.
    arrival_s, finish_s : ndarray of float64, shape (requests,)
        Times in seconds; `finish_s` is that of the answer, or of the refusal.
    outcomes : ndarray of uint8, shape (requests,)
        Values of :class:`Outcome`.
    zone_names : list of str
        Zones in the order of the configuration.
    loads, evictions, usage, lost, preloads : list
        In the order of time.
    faults : dict of str to float
        What a fault plan did, where there was one.
    binding : dict of str to int
        Limits that were reached, and how often (:attr:`vramlab.allocator.Allocator.binding`).
    """

    model_names: list[str]
    model_codes: npt.NDArray[np.int32]
    arrival_s: npt.NDArray[np.float64]
    outcomes: npt.NDArray[np.uint8]
    finish_s: npt.NDArray[np.float64]
    zone_names: list[str]
    loads: list[LoadRecord] = field(default_factory=list)
    evictions: list[EvictionRecord] = field(default_factory=list)
    usage: list[UsageRecord] = field(default_factory=list)
    lost: list[LossRecord] = field(default_factory=list)
    faults: dict[str, float] = field(default_factory=dict)
    preloads: list[PreloadRecord] = field(default_factory=list)
    binding: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def latency_s(self) -> npt.NDArray[np.float64]:
        """From arrival to answer, seconds; NaN where there was none. Shape (requests,)."""
        answered = ~np.isin(self.outcomes, (Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED))
        return np.where(answered, self.finish_s - self.arrival_s, np.nan)

    def since(self, time_s: float) -> Records:
        """The requests that came at `time_s` or later, and what was done since; counts of faults are all."""
        kept = self.arrival_s >= time_s
        numbers = np.cumsum(kept) - 1
        held = [use for use in self.usage if use.time_s < time_s][-1:]
        return replace(
            self,
            model_codes=self.model_codes[kept],
            arrival_s=self.arrival_s[kept],
            outcomes=self.outcomes[kept],
            finish_s=self.finish_s[kept],
            loads=[load for load in self.loads if load.start_s >= time_s],
            evictions=[eviction for eviction in self.evictions if eviction.time_s >= time_s],
            usage=[use._replace(time_s=time_s) for use in held]
            + [use for use in self.usage if use.time_s >= time_s],
            lost=[loss._replace(number=int(numbers[loss.number])) for loss in self.lost if kept[loss.number]],
            preloads=[preload for preload in self.preloads if preload.time_s >= time_s],
        )


class Recorder:
    """Writes the records of a run while it goes on.

    Parameters
    ----------
    zone_names : list of str
        Zones in the order of the configuration.
    """

    def __init__(self, zone_names: list[str]) -> None:
        self.zone_names = zone_names
        self.arrival_s: array[float] | memoryview[Any] = array("d")
        self.loads: list[LoadRecord] = []
        self.evictions: list[EvictionRecord] = []
        self.usage: list[tuple[float, tuple[int, ...]]] = []
        self.lost: list[LossRecord] = []
        self.faults: dict[str, float] = {}
        self.binding: Callable[[], dict[str, int]] = dict
        self.preloads: list[PreloadRecord] = []
        self.outcomes = bytearray()
        self.finish_s = array("d")
        self._codes: dict[str, int] = {}
        self._models = array("i")

    def expect(
        self, model_names: list[str], model_codes: npt.NDArray[np.int32], arrival_s: npt.NDArray[np.float64]
    ) -> None:
        """Make room for a trace that is known beforehand; its requests are numbered from 0."""
        count = len(arrival_s)
        self._codes = {name: code for code, name in enumerate(model_names)}
        self._models = array("i", model_codes.astype(np.int32).tobytes())
        self.arrival_s = np.ascontiguousarray(arrival_s).data  # its items are plain floats
        self.outcomes = bytearray([Outcome.FAILED]) * count
        self.finish_s = array("d", [np.nan]) * count

    def arrived(self, model: str, now_s: float) -> int:
        """Number of a request that comes in unannounced."""
        assert isinstance(self.arrival_s, array)
        self._models.append(self._codes.setdefault(model, len(self._codes)))
        self.arrival_s.append(now_s)
        self.outcomes.append(Outcome.FAILED)
        self.finish_s.append(np.nan)
        return len(self.outcomes) - 1

    def done(self, number: int, outcome: Outcome, now_s: float, why: str = "") -> None:
        """A request has ended; `why` says how it was lost, if it was."""
        self.outcomes[number] = outcome
        self.finish_s[number] = now_s
        if why and (outcome is Outcome.REFUSED or outcome is Outcome.FAILED):
            self.lost.append(LossRecord(number, outcome, why))

    def totals(self) -> Totals:
        """How much has ended so far."""
        ended = {outcome: self.outcomes.count(outcome) for outcome in Outcome}
        ended[Outcome.FAILED] -= int(np.isnan(self.finish_s).sum())  # what has not ended says so too
        failed_loads = sum(bool(load.error) for load in self.loads)
        return Totals(ended, len(self.loads) - failed_loads, failed_loads, len(self.evictions))

    def records(self) -> Records:
        """What is written down so far."""
        return Records(
            model_names=list(self._codes),
            model_codes=np.array(self._models, dtype=np.int32),
            arrival_s=np.array(self.arrival_s, dtype=np.float64),
            outcomes=np.frombuffer(bytes(self.outcomes), dtype=np.uint8),
            finish_s=np.array(self.finish_s, dtype=np.float64),
            zone_names=self.zone_names,
            loads=self.loads,
            evictions=self.evictions,
            usage=[UsageRecord(*row) for row in self.usage],
            lost=self.lost,
            faults=self.faults,
            preloads=self.preloads,
            binding=self.binding(),
        )
