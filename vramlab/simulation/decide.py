"""``--mode decide``: the allocator alone. Every load is instant, nothing queues.

Between two misses the set of resident models does not change. So a run of hits is found by looking at flags,
and where the policy allows it (:attr:`Policy.merges_uses`) it is applied in bulk: each model of the run is
told of its uses once, in the order of the last ones. The result is that of one request after the other, to
the last bit; what is saved is most of the work of a hit. Requests are taken from the trace in chunks, so that
a long trace needs no more memory than its arrays.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vramlab.allocator import Allocator, Decision, Kind
from vramlab.allocator.models import Model
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.records import EvictionRecord, LoadRecord, Outcome, Records, UsageRecord
from vramlab.traces.trace import Trace, check_models

_OUTCOMES = {
    Kind.HIT: Outcome.HIT,
    Kind.LOAD: Outcome.COLD_START,
    Kind.BYPASS: Outcome.COLD_START,
    Kind.CPU: Outcome.FALLBACK,
    Kind.REFUSE: Outcome.REFUSED,
}

_record = tuple.__new__  # makes a named tuple without going through its constructor, in half the time

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
        Apply runs of hits at once where the policy allows it; the records are the same.

    Raises
    ------
    InputError
        If the trace asks for a model that the inventory lacks.
    """
    check_models(trace, inventory)
    run = _Run(trace, config, inventory)
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


class _Run:
    """One pass of a trace through an allocator of its own."""

    def __init__(self, trace: Trace, config: VramConfig, inventory: Inventory) -> None:
        self.trace = trace
        self.allocator = Allocator(config, inventory)
        self.zones = list(self.allocator.zones.values())
        self.models = [self.allocator.models[name] for name in trace.model_names]
        codes = {model: code for code, model in enumerate(self.models)}
        others = [model for model in self.allocator.models.values() if model not in codes]
        self.code = codes | {model: len(codes) + place for place, model in enumerate(others)}
        self.resident = bytearray(len(self.code))
        given = trace.priorities
        self.priorities = None if given is None else [text and Priority(text) for text in given]
        self.records = Records(
            model_names=trace.model_names,
            model_codes=trace.model_codes,
            arrival_s=trace.times_s,
            outcomes=np.full(len(trace), Outcome.HIT, dtype=np.uint8),
            finish_s=trace.times_s.copy(),
            zone_names=list(config.zones),
        )
        start_s = float(trace.times_s[0])
        for name in self.allocator.always_loaded():
            decision = self.allocator.reserve(name, start_s)
            if decision is not None:
                self._settle(self.allocator.models[name], decision, start_s, "start")

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
            self._settle(model, decision, now_s, "request")
        elif kind is Kind.BYPASS:
            self._loaded(model, model.home.name, now_s, "bypass")

    def _settle(self, model: Model, decision: Decision, now_s: float, reason: str) -> None:
        resident, code = self.resident, self.code
        for name in decision.victims:
            victim = self.allocator.models[name]
            eviction = (now_s, name, victim.zone.name, victim.bytes, "eviction")
            self.records.evictions.append(_record(EvictionRecord, eviction))
            resident[code[victim]] = False
        self.allocator.settle(decision, now_s)
        resident[code[model]] = True
        self._loaded(model, model.zone.name, now_s, reason)
        held = tuple([zone.held for zone in self.zones])
        self.records.usage.append(_record(UsageRecord, (now_s, held)))

    def _loaded(self, model: Model, zone: str, now_s: float, reason: str) -> None:
        load = (now_s, now_s, model.name, zone, model.bytes, reason, "")
        self.records.loads.append(_record(LoadRecord, load))


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
