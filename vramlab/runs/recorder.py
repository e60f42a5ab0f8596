"""Who keeps the records of a run while it goes on."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import nan
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vramlab.engine.outcomes import (
    FAILED,
    REFUSED,
    EvictionRecord,
    LoadRecord,
    LossRecord,
    Outcome,
    PreloadRecord,
    RecordSink,
    Totals,
)
from vramlab.runs.records import Records
from vramlab.runs.usage import Usage

_NOT_ENDED: Final = int(FAILED)


class Recorder(RecordSink):
    """Keeps the records of a run while it goes on.

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
        self.usage = Usage(len(zone_names))
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
        self.outcomes = bytearray([_NOT_ENDED]) * count
        self.finish_s = array("d", [nan]) * count

    def arrived(self, model: str, now_s: float) -> int:
        """Number a request that was not expected."""
        assert isinstance(self.arrival_s, array)
        self._models.append(self._codes.setdefault(model, len(self._codes)))
        self.arrival_s.append(now_s)
        self.outcomes.append(_NOT_ENDED)
        self.finish_s.append(nan)
        return len(self.outcomes) - 1

    def arrival_of(self, number: int) -> float:
        """When a request came, seconds."""
        return self.arrival_s[number]

    def loaded(self, load: LoadRecord) -> None:
        """Take a load that has ended, well or not."""
        self.loads.append(load)

    def left(self, eviction: EvictionRecord) -> None:
        """Take a model that has left."""
        self.evictions.append(eviction)

    def holds(self, now_s: float, held_bytes: list[int]) -> None:
        """Take the bytes that each zone holds from now on."""
        self.usage.append(now_s, held_bytes)

    def done(self, number: int, outcome: Outcome, now_s: float, why: str = "") -> None:
        """Note that a request has ended; `why` says how it was lost, if it was."""
        self.outcomes[number] = outcome
        self.finish_s[number] = now_s
        if why and (outcome is REFUSED or outcome is FAILED):
            self.lost.append(LossRecord(number, outcome, why))

    def totals(self) -> Totals:
        """Count what has ended so far."""
        ended = {outcome: self.outcomes.count(outcome) for outcome in Outcome}
        ended[FAILED] -= int(np.isnan(self.finish_s).sum())  # what has not ended says so too
        failed_loads = sum(bool(load.error) for load in self.loads)
        return Totals(ended, len(self.loads) - failed_loads, failed_loads, len(self.evictions))

    def records(self) -> Records:
        """Return the records so far."""
        return Records(
            model_names=list(self._codes),
            model_codes=np.array(self._models, dtype=np.int32),
            arrival_s=np.array(self.arrival_s, dtype=np.float64),
            outcomes=np.frombuffer(bytes(self.outcomes), dtype=np.uint8),
            finish_s=np.array(self.finish_s, dtype=np.float64),
            zone_names=self.zone_names,
            loads=self.loads,
            evictions=self.evictions,
            usage=self.usage,
            lost=self.lost,
            faults=self.faults,
            preloads=self.preloads,
            binding=self.binding(),
        )
