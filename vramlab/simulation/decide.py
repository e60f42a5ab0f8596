"""``--mode decide``: the allocator alone. Every load is instant, nothing queues."""

from __future__ import annotations

from vramlab.allocator import Allocator, Decision, Kind
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.records import EvictionRecord, LoadRecord, Outcome, Recorder, Records, UsageRecord
from vramlab.traces.trace import Trace, check_models

_OUTCOMES = {
    Kind.HIT: Outcome.HIT,
    Kind.LOAD: Outcome.COLD_START,
    Kind.BYPASS: Outcome.COLD_START,
    Kind.CPU: Outcome.FALLBACK,
    Kind.REFUSE: Outcome.REFUSED,
}


def decide(trace: Trace, config: VramConfig, inventory: Inventory) -> Records:
    """Drive the allocator with a trace, without service times.

    Raises
    ------
    InputError
        If the trace asks for a model that the inventory lacks.
    """
    check_models(trace, inventory)
    recorder = Recorder(list(config.zones))
    recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
    allocator = Allocator(config, inventory)
    times = trace.times_s.tolist()

    def settle(decision: Decision, now_s: float, reason: str) -> None:
        for victim in decision.victims:
            model = allocator.models[victim]
            recorder.evictions.append(EvictionRecord(now_s, victim, model.zone.name, model.bytes))
        allocator.settle(decision, now_s)
        size = allocator.models[decision.model].bytes
        recorder.loads.append(LoadRecord(now_s, now_s, decision.model, decision.zone or "", size, reason))
        held = tuple(zone.held for zone in allocator.zones.values())
        recorder.usage.append(UsageRecord(now_s, held))

    for name in allocator.always_loaded():
        decision = allocator.reserve(name, times[0])
        if decision is not None:
            settle(decision, times[0], "start")
    names = [trace.model_names[code] for code in trace.model_codes.tolist()]
    given = trace.priorities
    priorities = [None] * len(times) if given is None else [p and Priority(p) for p in given]
    for number, (now_s, name, priority) in enumerate(zip(times, names, priorities, strict=True)):
        decision = allocator.request(name, now_s, priority, pin=False)
        if decision.kind is Kind.LOAD:
            settle(decision, now_s, "request")
        elif decision.kind is Kind.BYPASS:
            model = allocator.models[name]
            recorder.loads.append(LoadRecord(now_s, now_s, name, model.home.name, model.bytes, "bypass"))
        recorder.done(number, _OUTCOMES[decision.kind], now_s)
    return recorder.records()
