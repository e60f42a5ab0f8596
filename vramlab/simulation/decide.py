"""``--mode decide``: the allocator alone. Every load is instant, nothing queues.

Between two misses the set of resident models does not change. So a run of hits is found by looking at flags,
and where the policy allows it (:attr:`Policy.merges_uses`) it is applied in bulk: each model of the run is
told of its uses once, in the order of the last ones. The result is that of one request after the other, to
the last bit; what is saved is most of the work of a hit. Requests are taken from the trace in chunks, so that
a long trace needs no more memory than its arrays.
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vramlab.allocator import Allocator, Decision, Kind, make_allocator
from vramlab.allocator.models import Model
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.records import EvictionRecord, LoadRecord, LossRecord, Outcome, Records, UsageRecord
from vramlab.traces.trace import Trace, check_models

_OUTCOMES = {
    Kind.HIT: Outcome.HIT,
    Kind.LOAD: Outcome.COLD_START,
    Kind.BYPASS: Outcome.COLD_START,
    Kind.CPU: Outcome.FALLBACK,
    Kind.REFUSE: Outcome.REFUSED,
}

_START = -1  # stands for the time before the first request
_CHUNK = 1 << 16  # requests that are held as Python objects at once
_LOOKED_AT = 24  # hits that a loop passes before numpy looks for the end of the run
_BLOCK = 1024  # requests that numpy looks at in one go


class _Chunk(NamedTuple):
    """Consecutive requests of a trace, by their place in the chunk."""

    first: int
    codes: npt.NDArray[np.int32]
    models: list[Model]
    times_s: list[float]
    next_use: npt.NDArray[np.int32]  # place of the next request for the same model; the length if none
    uses: list[int]  # requests for the same model so far, this one included


def decide(trace: Trace, config: VramConfig, inventory: Inventory, bulk: bool = True) -> Records:
    """Drive the allocator with a trace, without service times.

    Parameters
    ----------
    trace : Trace
        Requests.
    config : VramConfig
        Settings; monitoring, preloading and the result cache play no part.
    inventory : dict of str to ModelSpec
        Models.
    bulk : bool
        Take the short ways: loads that are carried out as they are decided and, where the policy allows it,
        runs of hits at once. The records are the same.

    Raises
    ------
    InputError
        If the trace asks for a model that the inventory lacks.
    """
    check_models(trace, inventory)
    run = _Run(trace, config, inventory, bulk)
    with _without_collecting():
        if bulk and all(zone.policy.merges_uses for zone in run.zones):
            run.in_bulk()
        else:
            run.one_by_one()
        return run.records


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Spare the collector from going through records that grow, without cycles: a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Log:
    """What happened to whom at which request, as numbers: the rows of the records are made when looked at."""

    __slots__ = ("bypassed", "evicted", "evicted_at", "loaded", "loaded_at", "zones")

    def __init__(self, zones: list[str] | None) -> None:
        self.loaded_at = array("q")
        self.loaded = array("i")
        self.evicted_at = array("q")
        self.evicted = array("i")
        self.bypassed = array("q")
        self.zones = zones  # of each load; None where there is only one


class _DecidedRecords(Records):
    """Records whose rows of loads, evictions and usage are made from the log."""

    def __init__(self, trace: Trace, log: _Log, names: list[str], allocator: Allocator) -> None:
        self.model_names = trace.model_names
        self.model_codes = trace.model_codes
        self.arrival_s = trace.times_s
        self.outcomes = np.full(len(trace), Outcome.HIT, dtype=np.uint8)
        self.finish_s = trace.times_s
        self.zone_names = list(allocator.zones)
        self.lost = []
        self.faults = {}
        self._log = log
        self._names = names
        self._sizes = [allocator.models[name].bytes for name in names]
        self._homes = [allocator.models[name].home.name for name in names]

    @cached_property
    def loads(self) -> list[LoadRecord]:  # type: ignore[override]
        """Loads, those that were not kept (bypass) among them, in the order of time."""
        log, times = self._log, self.arrival_s.tolist()
        zones = log.zones or [self.zone_names[0]] * len(log.loaded)
        rows = [
            (at, code, zone, "start" if at == _START else "request")
            for at, code, zone in zip(log.loaded_at, log.loaded, zones, strict=True)
        ]
        if log.bypassed:
            codes = self.model_codes.tolist()
            rows += [(at, codes[at], self._homes[codes[at]], "bypass") for at in log.bypassed]
            rows.sort(key=lambda row: row[0])
        names, sizes = self._names, self._sizes
        return [
            LoadRecord(times[max(at, 0)], times[max(at, 0)], names[code], zone, sizes[code], reason)
            for at, code, zone, reason in rows
        ]

    @cached_property
    def evictions(self) -> list[EvictionRecord]:  # type: ignore[override]
        """Evictions, in the order of time."""
        return [
            EvictionRecord(self.arrival_s[at].item(), self._names[code], zone, self._sizes[code])
            for at, code, zone in self._eviction_zones
        ]

    @cached_property
    def _eviction_zones(self) -> list[tuple[int, int, str]]:
        """(request, model, zone) of each eviction: a model leaves the zone that it was last loaded into."""
        log = self._log
        where: dict[int, str] = {}
        zones = log.zones or [self.zone_names[0]] * len(log.loaded)
        rows, k = [], 0
        for at, code, zone in zip(log.loaded_at, log.loaded, zones, strict=True):
            while k < len(log.evicted) and log.evicted_at[k] <= at:
                rows.append((log.evicted_at[k], log.evicted[k], where[log.evicted[k]]))
                k += 1
            where[code] = zone
        return rows

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
                k += 1
            held[place[load.zone]] += load.size_bytes
            rows.append(UsageRecord(load.start_s, tuple(held)))
        return rows


class _Run:
    """One pass of a trace through an allocator of its own."""

    def __init__(self, trace: Trace, config: VramConfig, inventory: Inventory, bulk: bool) -> None:
        self.trace = trace
        self.instant = bulk and config.placement == "paged"
        self.allocator = (
            Allocator(config, inventory, instant=True)
            if self.instant
            else make_allocator(config, inventory, mapped=False)
        )
        self.zones = list(self.allocator.zones.values())
        self.models = [self.allocator.models[name] for name in trace.model_names]
        others = [name for name in self.allocator.models if name not in trace.model_names]
        names = [*trace.model_names, *others]
        self.code = {name: code for code, name in enumerate(names)}
        self.log = _Log([] if len(self.zones) > 1 else None)
        self.resident = bytearray(len(self.code))
        given = trace.priorities
        self.priorities = None if given is None else [text and Priority(text) for text in given]
        self.records = _DecidedRecords(trace, self.log, names, self.allocator)
        start_s = float(trace.times_s[0])
        for name in self.allocator.always_loaded():
            decision = self.allocator.reserve(name, start_s)
            if decision is not None:
                self._settle(_START, self.allocator.models[name], decision, start_s)

    def one_by_one(self) -> None:
        """Hand in each request by itself."""
        request, miss, hit = self.allocator.request, self._miss, Kind.HIT
        for chunk in self._chunks():
            first = chunk.first
            requests = zip(chunk.models, chunk.times_s, strict=True)
            if self.priorities is None:
                for number, (model, now_s) in enumerate(requests, first):
                    decision = request(model.name, now_s, None, False)
                    if decision.kind is not hit:
                        miss(number, model, decision, now_s)
            else:
                for number, (model, now_s) in enumerate(requests, first):
                    decision = request(model.name, now_s, self.priorities[number], False)
                    if decision.kind is not hit:
                        miss(number, model, decision, now_s)

    def in_bulk(self) -> None:
        """Hand in runs of hits at once, and each miss by itself."""
        request, hits, priorities = self.allocator.request, self.allocator.hits, self.priorities
        for chunk in self._chunks():
            first, models, times_s = chunk.first, chunk.models, chunk.times_s
            next_use, uses = chunk.next_use.tolist(), chunk.uses
            place = 0
            for end in self._misses(chunk):
                if end - place > 2 * _LOOKED_AT:
                    last = np.flatnonzero(chunk.next_use[place:end] >= end)
                    for i in (last + place).tolist():
                        hits(models[i], uses[i], times_s[i])
                else:
                    for i in range(place, end):
                        if next_use[i] >= end:
                            hits(models[i], uses[i], times_s[i])
                if end == len(models):
                    break
                model, now_s = models[end], times_s[end]
                priority = None if priorities is None else priorities[first + end]
                decision = request(model.name, now_s, priority, False)
                self._miss(first + end, model, decision, now_s)
                place = end + 1

    def _misses(self, chunk: _Chunk) -> Iterator[int]:
        """Places of the requests whose model is absent when it is their turn, then the chunk's length."""
        codes, listed = chunk.codes, chunk.codes.tolist()
        resident, count = self.resident, len(listed)
        flags = np.frombuffer(resident, dtype=np.uint8)
        place = 0
        while place < count:
            near = min(place + _LOOKED_AT, count)
            while place < near and resident[listed[place]]:
                place += 1
            if place == near:
                while place < count:
                    absent = flags[codes[place : place + _BLOCK]] == 0
                    found = int(absent.argmax())
                    if absent[found]:
                        place += found
                        break
                    place = min(place + _BLOCK, count)
            if place < count:
                yield place
                place += 1
        yield count

    def _chunks(self) -> Iterator[_Chunk]:
        trace, models = self.trace, self.models
        so_far = np.zeros(len(models), dtype=np.int64)
        for first in range(0, len(trace), _CHUNK):
            codes = trace.model_codes[first : first + _CHUNK]
            times_s = trace.times_s[first : first + _CHUNK].tolist()
            next_use, earlier = _uses_of_same(codes)
            uses = so_far[codes] + earlier + 1
            so_far += np.bincount(codes, minlength=len(models))
            yield _Chunk(
                first, codes, [models[code] for code in codes.tolist()], times_s, next_use, uses.tolist()
            )

    def _miss(self, number: int, model: Model, decision: Decision, now_s: float) -> None:
        kind = decision.kind
        self.records.outcomes[number] = _OUTCOMES[kind]
        if kind is Kind.LOAD:
            self._settle(number, model, decision, now_s)
        elif kind is Kind.BYPASS:
            self.log.bypassed.append(number)
        elif kind is Kind.REFUSE:
            self.records.lost.append(LossRecord(number, Outcome.REFUSED, decision.reason))

    def _settle(self, number: int, model: Model, decision: Decision, now_s: float) -> None:
        resident, code, log = self.resident, self.code, self.log
        for name in decision.victims:
            gone = code[name]
            resident[gone] = False
            log.evicted_at.append(number)
            log.evicted.append(gone)
        if not self.instant:
            self.allocator.settle(decision, now_s)
        resident[code[model.name]] = True
        log.loaded_at.append(number)
        log.loaded.append(code[model.name])
        if log.zones is not None:
            log.zones.append(model.zone.name)


def _uses_of_same(codes: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Per request the place of the next one for the same model, and how many there were before it."""
    count = len(codes)
    order = np.argsort(codes, kind="stable")
    same = codes[order[1:]] == codes[order[:-1]]
    next_use = np.full(count, count, dtype=np.int32)
    next_use[order[:-1][same]] = order[1:][same]
    places = np.arange(count)
    starts = np.maximum.accumulate(np.where(np.concatenate([[False], same]), 0, places))
    earlier = np.empty(count, dtype=np.int64)
    earlier[order] = places - starts
    return next_use, earlier
