"""``--mode decide``: the allocator alone. Every load is instant, nothing queues.

Between two misses the set of resident models does not change. So a run of hits is found by looking at flags,
and where the policy allows it (``merges_uses``) it is applied in bulk. The result is that of one
request after the other, to the last bit; what is saved is most of the work of a hit:

- Where misses are many, each use is told by itself, as runs would be short.
- Where there are several hits to a miss, each model of a run is told of its uses once, in the order of the
  last ones.
- Where misses are few, in one zone, a run is handed to the twin of the policy as columns
  (:mod:`vramlab.allocator.policies.in_bulk`), and a model's account is brought up to date when it leaves, or
  at the end of the chunk. Then a hit costs a few nanoseconds. A twin that needs the time of each use, as that
  of ``decayed``, looks it up there, and gets the uses of other chunks one by one. Not where a score is asked
  for by itself (``compete``, ``victims: exact``): that reads the account.

Requests are taken from the trace in chunks, so that a long trace needs no more memory than its arrays. Each
chunk is taken in the way that suits the misses of the one before.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from vramlab.allocator import Allocator, Kind
from vramlab.allocator.facts import RESIDENT, Model
from vramlab.allocator.placement import Contiguous, Unmapped
from vramlab.allocator.policies import make_policy
from vramlab.allocator.policies.in_bulk import TWINS
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run, Stretch, tell_last_uses
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.outcomes import COLD_START, FALLBACK, REFUSED, LossRecord
from vramlab.runs.records import Records
from vramlab.simulation.decided import DecidedRecords, Log
from vramlab.simulation.watching import tell
from vramlab.traces.trace import Trace, check_models

_LOAD: Final = Kind.LOAD  # for the hot path
_OUTCOMES = {Kind.BYPASS: COLD_START, Kind.CPU: FALLBACK, Kind.REFUSE: REFUSED}  # and a load is a cold start

_CHUNK = 1 << 16  # requests that are held as Python objects at once
_FIRST_CHUNK = 1 << 12  # the first is short, and each twice as long as the one before
_FEW = 32  # requests for each miss, from which on runs of hits are columns
_MANY = 4  # requests for each miss, up to which uses are told one by one
_LOOKED_AT = 24  # hits that a loop passes before numpy looks for the end of the run
_BLOCK = 256  # requests that numpy looks at in one go

_Numbers: TypeAlias = npt.NDArray[np.integer]


class _Chunk(NamedTuple):
    """Consecutive requests of a trace, by their place in the chunk."""

    first: int
    numbers: _Numbers  # of the models
    times_s: npt.NDArray[np.float64]
    uses_before: npt.NDArray[np.int64]  # requests for each model before the chunk


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
        If the trace asks for a model that the inventory lacks; and for rules that send models away first on a
        card that keeps a map.
    """
    check_models(trace, inventory)
    if config.rules.clears and config.placement == "contiguous":
        expected = "paged in decide mode: rules that send models away first take time on a map"
        raise InputError("configuration", "placement", "contiguous", expected)
    run = _Run(trace, config, inventory, bulk)
    with _without_collecting():
        run.all(bulk)
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

    def __init__(self, trace: Trace, config: VramConfig, inventory: Inventory, bulk: bool) -> None:
        self.trace = trace
        self.instant = (bulk and config.placement == "paged") or config.rules.clears
        self.allocator = allocator = Allocator(
            config,
            inventory,
            Contiguous if config.placement == "contiguous" else Unmapped,
            partial(make_policy, twins=TWINS) if bulk else make_policy,
            self.instant,
        )
        self.zones = list(allocator.zones.values())
        self.models = list(allocator.models.values())
        kind = np.uint16 if len(self.models) < 1 << 16 else np.int32  # numpy sorts the former by counting
        self.numbers = np.array([allocator.models[name].number for name in trace.model_names], dtype=kind)
        self.load_zones: list[str] | None = [] if len(self.zones) > 1 else None
        self.log = Log(self.load_zones)
        self.evicted_at: list[int] = []  # of this chunk
        self.evicted: list[int] = []
        self.outcomes = bytearray(len(trace))  # hits, where nothing else is noted
        self.resident = bytearray(len(self.models))
        self.flags = np.frombuffer(self.resident, dtype=np.uint8)  # the same for numpy
        self.misses = 0
        self.asks_scores = config.scoring.victims == "exact" or any(
            config.admission_for(priority) == "compete" for priority in Priority
        )
        given = trace.priorities
        self.ranks = None if given is None else [Priority(text).rank if text else None for text in given]
        self.records = DecidedRecords(trace, self.log, self.outcomes, allocator)
        start_s = float(trace.times_s[0])
        for name in allocator.always_loaded():
            if allocator.reserve(name, start_s) is not None:
                model = allocator.models[name]
                self.log.started.append(model.number)
                self._loaded(model, [], start_s)

    def all(self, bulk: bool) -> None:
        """Hand in the trace, chunk by chunk, each in the way that suits the misses of the one before."""
        policies = [zone.policy for zone in self.zones]
        merges_uses = bulk and all(policy.merges_uses for policy in policies)
        hears_runs = isinstance(policies[0], HearsRuns) and policies[0].takes_runs
        may_have_columns = (merges_uses or hears_runs) and len(self.zones) == 1 and not self.asks_scores
        misses, requests = 1, 1
        for chunk in self._chunks():
            before = self.misses
            if may_have_columns and misses * _FEW < requests:
                self._in_columns(chunk)
            elif merges_uses and misses * _MANY < requests:
                self._model_by_model(chunk)
            else:
                self._one_by_one(chunk)
            self.log.note_evictions(self.evicted_at, self.evicted)
            misses, requests = self.misses - before, len(chunk.numbers)

    def _one_by_one(self, chunk: _Chunk) -> None:
        """Hand in each request by itself."""
        models, first = self.models, chunk.first
        numbers: list[int] = chunk.numbers.tolist()
        times_s: list[float] = chunk.times_s.tolist()
        for i in range(len(numbers)):
            model = models[numbers[i]]
            if model.state is RESIDENT:
                tell_hits(model, model.uses_total + 1, times_s[i])
            else:
                self._miss(first + i, model, times_s[i])

    def _model_by_model(self, chunk: _Chunk) -> None:
        """Tell each model of a run of its uses."""
        hits, numbers, times_s = tell_hits, chunk.numbers.tolist(), chunk.times_s.tolist()
        models = [self.models[number] for number in numbers]
        next_uses, uses_so_far, _ = _uses_of_same(chunk)
        next_use, uses = next_uses.tolist(), uses_so_far.tolist()
        place = 0
        for end in self._misses(chunk.numbers, numbers):
            if end - place > 2 * _LOOKED_AT:
                last = np.flatnonzero(next_uses[place:end] >= end)
                i: int
                for i in (last + place).tolist():
                    hits(models[i], uses[i], times_s[i])
            else:
                for i in range(place, end):
                    if next_use[i] >= end:
                        hits(models[i], uses[i], times_s[i])
            if end < len(numbers):
                self._miss(chunk.first + end, models[end], times_s[end])
            place = end + 1

    def _in_columns(self, chunk: _Chunk) -> None:
        """Hand in each run as columns; accounts are brought up to date when models leave, and at the end."""
        models, times_s = self.models, chunk.times_s
        next_use, uses, order = _uses_of_same(chunk)
        numbers = chunk.numbers.astype(np.intp)  # what numpy would make of them at each look-up
        count = len(numbers)
        policy = self.zones[0].policy
        hear = policy.used_together if isinstance(policy, HearsRuns) else partial(tell_last_uses, policy)
        places = np.arange(count)
        last_use = np.full(len(models), -1)  # where in the chunk each account has got to, -1 for its start
        stretch = Stretch(models, numbers, times_s, uses, next_use, order)
        uses_before = stretch.uses_before

        def catch_up(model: Model) -> None:
            at: int = last_use.item(model.number)
            if at >= 0:
                model.catch_up(uses.item(at), times_s.item(at))
                last_use[model.number] = -1

        place = 0
        while place < count:
            end = self._next_miss(numbers, place)
            if end > place:
                run = Run(stretch, place, end)
                last_use[run.numbers] = places[place:end]
                hear(run)
            if end < count:
                model = models[numbers.item(end)]
                for gone in self._miss(chunk.first + end, model, times_s.item(end)):
                    catch_up(gone)
                uses_before[model.number] = model.uses_total - model.uses
            place = end + 1
        behind = np.flatnonzero(last_use >= 0)
        last = last_use[behind]
        accounts = zip(behind.tolist(), uses[last].tolist(), times_s[last].tolist(), strict=True)
        for number, uses_total, time_s in accounts:
            models[number].catch_up(uses_total, time_s)

    def _misses(self, numbers: _Numbers, listed: list[int]) -> Iterator[int]:
        """Places of the requests whose model is absent when it is their turn, then the chunk's length."""
        resident, count = self.resident, len(listed)
        place = 0
        while place < count:
            near = min(place + _LOOKED_AT, count)
            while place < near and resident[listed[place]]:
                place += 1
            if place == near:
                place = self._next_miss(numbers, place)
            if place < count:
                yield place
                place += 1
        yield count

    def _next_miss(self, numbers: _Numbers, place: int) -> int:
        """Place of the first request from `place` on whose model is absent; the length if there is none."""
        flags, count = self.flags, len(numbers)
        while place < count:
            here = flags[numbers[place : place + _BLOCK]]
            found = int(here.argmin())
            if not here[found]:
                return place + found
            place = min(place + _BLOCK, count)
        return count

    def _chunks(self) -> Iterator[_Chunk]:
        trace = self.trace
        so_far: npt.NDArray[np.int64] = np.zeros(len(self.models), dtype=np.int64)
        first, length = 0, min(_FIRST_CHUNK, _CHUNK)
        while first < len(trace):
            tell(first / len(trace))
            part = slice(first, first + length)
            numbers = self.numbers[trace.model_codes[part]]
            yield _Chunk(first, numbers, trace.times_s[part], so_far)
            so_far += np.bincount(numbers, minlength=len(so_far))
            first, length = first + length, min(2 * length, _CHUNK)

    def _miss(self, place: int, model: Model, now_s: float) -> list[Model]:
        """Hand in a request for a model that is absent; returns who has left for it."""
        rank = None if self.ranks is None else self.ranks[place]
        self.allocator.asked(model, now_s)
        plan, left = self.allocator.miss(model, model.rank if rank is None else rank, now_s)
        kind = plan[0]
        self.misses += 1
        for gone in left:  # rules may have sent models away before nothing could be loaded
            self.resident[gone.number] = False
            self.evicted_at.append(place)
            self.evicted.append(gone.number)
        if kind is _LOAD:
            self.outcomes[place] = COLD_START
            self._loaded(model, left, now_s)
            return left
        self.outcomes[place] = _OUTCOMES[kind]
        if kind is Kind.BYPASS:
            self.log.bypassed.append(place)
        elif kind is Kind.REFUSE:
            self.records.lost.append(LossRecord(place, REFUSED, plan[4]))
        return left

    def _loaded(self, model: Model, left: list[Model], now_s: float) -> None:
        if not self.instant:
            self.allocator.settle_load(model, left, now_s)
        self.resident[model.number] = True
        if self.load_zones is not None:
            self.load_zones.append(model.zone.name)


def tell_hits(model: Model, uses_total: int, last_used_s: float) -> None:
    """Tell the account and the policy of several hits at once, in the order of the models' last uses."""
    model.uses += uses_total - model.uses_total  # by hand what `catch_up` does: this runs at most hits
    model.uses_total = uses_total
    model.last_used_s = last_used_s
    model.zone.policy.used(model, last_used_s)


def _uses_of_same(
    chunk: _Chunk,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Place of the next request for the same model (the length if none), how many came, an order by model."""
    numbers = chunk.numbers
    count = len(numbers)
    order = np.argsort(numbers, kind="stable")
    sorted_numbers = numbers[order]
    same = sorted_numbers[1:] == sorted_numbers[:-1]
    next_use: npt.NDArray[np.int32] = np.full(count, count, dtype=np.int32)
    next_use[order[:-1][same]] = order[1:][same]
    places = np.arange(count)
    starts = np.maximum.accumulate(np.where(np.concatenate([[False], same]), 0, places))
    uses: npt.NDArray[np.int64] = np.empty(count, dtype=np.int64)
    uses[order] = places - starts
    return next_use, uses + chunk.uses_before[numbers] + 1, order
