"""``--mode decide``: the allocator alone. Every load is instant, nothing queues.

Requests are taken from the trace in chunks, so that a long trace needs no more memory than its arrays.
"""

from __future__ import annotations

from vramlab.allocator import Allocator, Kind
from vramlab.allocator.decisions import LOAD
from vramlab.allocator.facts import RESIDENT, Model
from vramlab.allocator.placement import Contiguous, Unmapped
from vramlab.config.collecting import collecting_rarely
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.outcomes import COLD_START, FALLBACK, REFUSED, LossRecord
from vramlab.runs.records import Records
from vramlab.simulation.decided import DecidedRecords, Log
from vramlab.simulation.watching import pieces
from vramlab.traces.trace import Trace, check_models

_OUTCOMES = {Kind.BYPASS: COLD_START, Kind.CPU: FALLBACK, Kind.REFUSE: REFUSED}  # and a load is a cold start

_CHUNK = 1 << 16  # requests that are held as Python objects at once


@collecting_rarely()
def decide(trace: Trace, config: VramConfig, inventory: Inventory) -> Records:
    """Drive the allocator with a trace, without service times.

    Parameters
    ----------
    trace : Trace
        Requests.
    config : VramConfig
        Settings; monitoring, preloading and the result cache play no part.
    inventory : dict of str to ModelSpec
        Models.

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
    return _Run(trace, config, inventory).all()


class _Run:
    """One pass of a trace through an allocator of its own."""

    def __init__(self, trace: Trace, config: VramConfig, inventory: Inventory) -> None:
        self.trace = trace
        self.instant = config.placement == "paged"
        placement = Unmapped if self.instant else Contiguous
        self.allocator = allocator = Allocator(config, inventory, placement, instant=self.instant)
        self.load_zones: list[str] | None = [] if len(allocator.zones) > 1 else None
        self.log = Log(self.load_zones)
        self.evicted_at: list[int] = []  # of this chunk
        self.evicted: list[int] = []
        self.outcomes = bytearray(len(trace))  # hits, where nothing else is noted
        given = trace.priorities
        self.ranks = None if given is None else [Priority(text).rank if text else None for text in given]
        self.records = DecidedRecords(trace, self.log, self.outcomes, allocator)
        start_s = float(trace.times_s[0])
        for name in allocator.always_loaded():
            if allocator.reserve(name, start_s) is not None:
                model = allocator.models[name]
                self.log.started.append(model.number)
                self._loaded(model, [], start_s)

    def all(self) -> Records:
        """Hand in the trace, request by request."""
        trace, place = self.trace, 0
        models = [self.allocator.models[name] for name in trace.model_names]
        for part in pieces(len(trace), _CHUNK):
            codes: list[int] = trace.model_codes[part].tolist()
            times_s: list[float] = trace.times_s[part].tolist()
            for code, time_s in zip(codes, times_s, strict=True):
                model = models[code]
                model.uses_total += 1
                model.last_used_s = time_s
                if model.state is RESIDENT:
                    model.uses += 1
                    model.zone.policy.used(model, time_s)
                else:
                    self._miss(place, model, time_s)
                place += 1
            self.log.note_evictions(self.evicted_at, self.evicted)
        return self.records

    def _miss(self, place: int, model: Model, now_s: float) -> None:
        """Hand in a request for a model that is absent."""
        rank = None if self.ranks is None else self.ranks[place]
        plan, left = self.allocator.miss(model, model.rank if rank is None else rank, now_s)
        for gone in left:  # rules may have sent models away before nothing could be loaded
            self.evicted_at.append(place)
            self.evicted.append(gone.number)
        if plan.kind is LOAD:
            self.outcomes[place] = COLD_START
            self._loaded(model, left, now_s)
            return
        self.outcomes[place] = _OUTCOMES[plan.kind]
        if plan.kind is Kind.BYPASS:
            self.log.bypassed.append(place)
        elif plan.kind is Kind.REFUSE:
            self.records.lost.append(LossRecord(place, REFUSED, plan.reason))

    def _loaded(self, model: Model, left: list[Model], now_s: float) -> None:
        if not self.instant:
            self.allocator.settle_load(model, left, now_s)
        if self.load_zones is not None:
            self.load_zones.append(model.zone.name)
