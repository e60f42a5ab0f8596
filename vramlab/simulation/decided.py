"""The records of ``--mode decide``: numbers while it runs, rows of loads and evictions when looked at."""

from __future__ import annotations

from array import array
from functools import cached_property
from itertools import repeat

import numpy as np

from vramlab.allocator import Allocator
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome, UsageRecord
from vramlab.runs.records import Records
from vramlab.traces.trace import Trace

_START = -1  # stands for the time before the first request


class Log:
    """What happened to whom, as numbers: the rows of the records are made when looked at.

    That a request loaded its model is said by its outcome.
    """

    __slots__ = ("bypassed", "evicted", "evicted_at", "started", "zones")

    def __init__(self, zones: list[str] | None) -> None:
        self.started = array("i")  # models that were loaded before the first request
        self.evicted_at = array("q")
        self.evicted = array("i")
        self.bypassed = array("q")  # requests whose loads were not kept
        self.zones = zones  # of each load; None where there is only one

    def note_evictions(self, at: list[int], numbers: list[int]) -> None:
        """Write down who left at which requests, and empty both lists: as numbers they take a third."""
        self.evicted_at.frombytes(np.array(at, dtype=np.int64).tobytes())  # a third of what `extend` takes
        self.evicted.frombytes(np.array(numbers, dtype=np.intc).tobytes())
        at.clear()
        numbers.clear()


class DecidedRecords(Records):
    """Records whose rows of loads, evictions and usage are made from the log."""

    def __init__(self, trace: Trace, log: Log, outcomes: bytearray, allocator: Allocator) -> None:
        self.model_names = trace.model_names
        self.model_codes = trace.model_codes
        self.arrival_s = trace.times_s
        self.outcomes = np.frombuffer(outcomes, dtype=np.uint8)
        self.finish_s = trace.times_s
        self.zone_names = list(allocator.zones)
        self.lost = []
        self.faults = {}
        self.preloads = []
        self._log = log
        self._allocator = allocator
        self._names = list(allocator.models)
        self._sizes = [model.bytes for model in allocator.models.values()]
        self._homes = [model.home.name for model in allocator.models.values()]
        self._numbers = [allocator.models[name].number for name in trace.model_names]

    @cached_property
    def binding(self) -> dict[str, int]:  # type: ignore[override]
        """Limits that were reached, and how often."""
        return self._allocator.binding

    @cached_property
    def loads(self) -> list[LoadRecord]:  # type: ignore[override]
        """Loads, those that were not kept (bypass) among them, in the order of time."""
        times, names, sizes = self.arrival_s.tolist(), self._names, self._sizes
        bypassed = set(self._log.bypassed)
        rows = []
        for at, number, zone in self._load_zones:
            reason = "start" if at == _START else "bypass" if at in bypassed else "request"
            time_s = times[max(at, 0)]
            rows.append(LoadRecord(time_s, time_s, names[number], zone, sizes[number], reason))
        return rows

    @cached_property
    def _load_zones(self) -> list[tuple[int, int, str]]:
        """(request, model, zone) of each load; for one that is not kept, the zone is the model's home."""
        log = self._log
        asked = np.flatnonzero(self.outcomes == Outcome.COLD_START).tolist()
        loads = [(_START, number) for number in log.started]
        loads += [(at, self._numbers[self.model_codes[at]]) for at in asked]
        bypassed = set(log.bypassed)
        zones = repeat(self.zone_names[0]) if log.zones is None else iter(log.zones)
        return [(at, number, self._homes[number] if at in bypassed else next(zones)) for at, number in loads]

    @cached_property
    def evictions(self) -> list[EvictionRecord]:  # type: ignore[override]
        """Evictions, in the order of time."""
        return [
            EvictionRecord(self.arrival_s[at].item(), self._names[number], zone, self._sizes[number])
            for at, number, zone in self._eviction_zones
        ]

    @cached_property
    def _eviction_zones(self) -> list[tuple[int, int, str]]:
        """(request, model, zone) of each eviction: a model leaves the zone that it was last loaded into."""
        log = self._log
        where: dict[int, str] = {}
        rows, k = [], 0
        for at, number, zone in self._load_zones:
            while k < len(log.evicted) and log.evicted_at[k] <= at:
                rows.append((log.evicted_at[k], log.evicted[k], where[log.evicted[k]]))
                k += 1
            where[number] = zone
        rest = zip(log.evicted_at[k:], log.evicted[k:], strict=True)
        return rows + [(at, number, where[number]) for at, number in rest]

    @cached_property
    def usage(self) -> list[UsageRecord]:  # type: ignore[override]
        """Bytes held after each load."""
        place = {zone: i for i, zone in enumerate(self.zone_names)}
        held = [0] * len(place)
        rows, k, evictions = [], 0, self.evictions
        for load in self.loads:
            if load.reason == "bypass":
                continue
            while k < len(evictions) and evictions[k].time_s <= load.start_s:
                held[place[evictions[k].zone]] -= evictions[k].size_bytes
                if evictions[k].time_s < load.start_s:  # for a request that then found no room
                    rows.append(UsageRecord(evictions[k].time_s, tuple(held)))
                k += 1
            held[place[load.zone]] += load.size_bytes
            rows.append(UsageRecord(load.start_s, tuple(held)))
        for eviction in evictions[k:]:
            held[place[eviction.zone]] -= eviction.size_bytes
            rows.append(UsageRecord(eviction.time_s, tuple(held)))
        return rows
