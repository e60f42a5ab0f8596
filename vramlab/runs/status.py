"""The status of a live runtime: the engine at one moment, in plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.own import PolicyError
from vramlab.engine.effects import MemoryReading
from vramlab.engine.engine import Engine
from vramlab.engine.outcomes import Outcome
from vramlab.engine.preloading import Preloading


@dataclass(frozen=True)
class ZoneStatus:
    """One zone. ``held_bytes`` are taken now, ``committed_bytes`` once all that is under way has ended."""

    name: str
    size_bytes: int
    held_bytes: int
    committed_bytes: int
    models: int
    max_models: int | None


@dataclass(frozen=True)
class ModelStatus:
    """One model. ``zone`` and ``score`` are None where it is not on the device; ages count from now.

    ``predicted_use`` is the probability of a request within the preload horizon; None without a predictor.
    """

    name: str
    state: str
    priority: str
    zone: str | None
    footprint_bytes: int
    score: float | None
    last_used_s_ago: float | None
    uses: int
    requests_under_way: int
    predicted_use: float | None = None


@dataclass(frozen=True)
class Status:
    """A runtime at one moment.

    Attributes
    ----------
    time_s : float
        Seconds since the runtime was opened.
    device : str
        Label of the device.
    memory_total_bytes, memory_used_bytes : int
        What the device says, all processes together.
    budget_bytes, held_bytes : int
        What models may hold and hold.
    outcomes : dict of str to int
        Requests that have ended, by how.
    under_way, waiting_for_gpu, waiting_for_cpu, waiting_in_line : int
        Requests and own stories under way, and those of them that wait.
    loads, failed_loads, evictions : int
        So far.
    memory_others_bytes : int or None
        Of the used memory, what other processes have; None where the device does not tell.
    journal_trouble : str
        Why the last lines of the journal are not on the disk; empty while they are, or where none is kept.
    journal_waiting_bytes : int
        How much of it the disk has not taken.
    """

    time_s: float
    device: str
    memory_total_bytes: int
    memory_used_bytes: int
    budget_bytes: int
    held_bytes: int
    outcomes: dict[str, int]
    under_way: int
    waiting_for_gpu: int
    waiting_for_cpu: int
    waiting_in_line: int
    loads: int
    failed_loads: int
    evictions: int
    zones: list[ZoneStatus]
    models: list[ModelStatus]
    memory_others_bytes: int | None = None
    journal_trouble: str = ""
    journal_waiting_bytes: int = 0

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def status_of(
    engine: Engine, now_s: float, device: str, memory: MemoryReading, under_way: Iterable[int | str]
) -> Status:
    """Look at an engine, which must not change meanwhile; `under_way` are the names of its tasks."""
    allocator, recorder = engine.allocator, engine.recorder
    names = list(under_way)
    ended, loads, failed_loads, evictions = recorder.totals()
    return Status(
        time_s=now_s,
        device=device,
        memory_total_bytes=memory.total_bytes,
        memory_used_bytes=memory.used_bytes,
        budget_bytes=allocator.device.cap,
        held_bytes=allocator.device.held,
        outcomes={outcome.name.lower(): ended[outcome] for outcome in Outcome},
        under_way=len(names),
        waiting_for_gpu=engine.waiting_for_gpu,
        waiting_for_cpu=len(engine.desk.cpu.waiters),
        waiting_in_line=engine.waiting_for_room,
        loads=loads,
        failed_loads=failed_loads,
        evictions=evictions,
        zones=[
            ZoneStatus(zone.name, zone.cap, zone.held, zone.committed, zone.count, zone.max_models)
            for zone in allocator.zones.values()
        ],
        models=[_model_status(model, now_s, engine.preloading) for model in allocator.models.values()],
    )


def _score(model: Model, now_s: float) -> float | None:
    """Return None where a user's policy fails: a look must not fail with it."""
    try:
        return float(model.zone.policy.score(model, now_s))
    except PolicyError:
        return None


def _model_status(model: Model, now_s: float, preloading: Preloading | None) -> ModelStatus:
    there = model.state.value in ("loading", "resident", "in use")
    used = math.isfinite(model.last_used_s)
    return ModelStatus(
        name=model.name,
        state=model.state.value,
        priority=model.priority.value,
        zone=None if model.state.value == "absent" else model.zone.name,
        footprint_bytes=model.bytes,
        score=_score(model, now_s) if there else None,
        last_used_s_ago=now_s - model.last_used_s if used else None,
        uses=model.uses_total,
        requests_under_way=model.pins,
        predicted_use=None if preloading is None else preloading.probability(model, now_s),
    )
