"""Records of a run: one outcome per request, one row per load and per eviction.

A driver or decide mode fills them, and the analysis reads them. Arrays are per request, in the order of
arrival.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vramlab.config.errors import InputError
from vramlab.engine.outcomes import (
    EvictionRecord,
    LoadRecord,
    LossRecord,
    Outcome,
    PreloadRecord,
    UsageRecord,
)
from vramlab.runs.usage import Usage

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


_ROWS: dict[str, Any] = {
    "loads": LoadRecord, "evictions": EvictionRecord, "lost": LossRecord, "preloads": PreloadRecord,
}  # fmt: skip


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
    usage: Sequence[UsageRecord] | Usage = field(default_factory=list)
    lost: list[LossRecord] = field(default_factory=list)
    faults: dict[str, float] = field(default_factory=dict)
    preloads: list[PreloadRecord] = field(default_factory=list)
    binding: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __getstate__(self) -> dict[str, Any]:
        # rows travel to other processes as columns: a third of the time, as pickle makes a call for each row
        state = dict(self.__dict__)
        return state | {name: list(zip(*state[name], strict=True)) for name in _ROWS.keys() & state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in _ROWS.keys() & state:
            state[name] = list(map(_ROWS[name]._make, zip(*state[name], strict=True)))
        self.__dict__.update(state)

    @property
    def latency_s(self) -> npt.NDArray[np.float64]:
        """From arrival to answer, seconds; NaN where there was none. Shape (requests,)."""
        answered = ~np.isin(self.outcomes, (Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED))
        return np.where(answered, self.finish_s - self.arrival_s, np.nan)

    def usage_columns(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the times of `usage` in seconds, shape (rows,), and the bytes held, shape (rows, zones)."""
        if isinstance(self.usage, Usage):
            return self.usage.columns()
        held = np.array([row.held_bytes for row in self.usage], dtype=np.int64)
        return np.array([row.time_s for row in self.usage]), held

    def since(self, time_s: float) -> Records:
        """Return the part of the run from `time_s` on: its requests, and what was done since.

        It begins with the memory as full as it was then. A load or an eviction counts where it began; counts
        of faults and limits are those of the whole run.
        """
        return self._part(int(np.searchsorted(self.arrival_s, time_s)), time_s)

    def from_request(self, first: int) -> Records:
        """Return the part from the arrival of request number `first` on, as :meth:`since` does.

        Raises
        ------
        InputError
            If there is no such request.
        """
        if not 0 <= first < len(self):
            raise InputError("part", "first", first, f"a request from 0 to {len(self) - 1}")
        return self._part(first, float(self.arrival_s[first])) if first else self

    def _part(self, first: int, start_s: float) -> Records:
        usage = list(self.usage)  # functions in C look into a list, and not into what the compiler made
        begun = bisect_right(usage, start_s, key=lambda row: row.time_s)
        held = [usage[begun - 1]._replace(time_s=start_s)] if begun else []
        return Records(
            model_names=self.model_names,
            model_codes=self.model_codes[first:],
            arrival_s=self.arrival_s[first:],
            outcomes=self.outcomes[first:],
            finish_s=self.finish_s[first:],
            zone_names=self.zone_names,
            # not in the order in which they began, where several were under way at once
            loads=[load for load in self.loads if load.start_s >= start_s],
            evictions=[eviction for eviction in self.evictions if eviction.time_s >= start_s],
            usage=[*held, *usage[begun:]],
            lost=[loss._replace(number=loss.number - first) for loss in self.lost if loss.number >= first],
            faults=self.faults,
            preloads=[preload for preload in self.preloads if preload.time_s >= start_s],
            binding=self.binding,
        )
