"""Small allocators for tests: zones and models in a line each, sizes in MB."""

from __future__ import annotations

from typing import Any

from vramlab.allocator import Allocator, Decision, Kind
from vramlab.allocator.invariants import check
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.config.units import MIB

NO_OVERHEAD = {"cuda_context_mb": 0, "framework_mb": 0, "buffer_mb": 0}


def a_config(zones: dict[str, dict[str, Any]], total_mb: float | None = None, **settings: Any) -> VramConfig:
    """Configuration without overhead, retention, borrowers or limits but those that are given."""
    plain = {"max_models": None, "min_retention_time": 0, "borrowers": []}
    sections = {name: {**plain, **zone} for name, zone in zones.items()}
    total = total_mb or sum(zone["size_mb"] for zone in zones.values())
    settings = {"scoring": {"policy": "lru"}, **settings}
    return VramConfig.model_validate(
        {"total_memory_mb": total, "overhead": NO_OVERHEAD, "zones": sections, **settings}
    )


def specs_of(models: dict[str, dict[str, Any]]) -> dict[str, ModelSpec]:
    """Inventory of `models`; medium priority, load time 100 ms where not given."""
    return {
        name: ModelSpec.model_validate({"priority": "medium", "load_time_ms": 100, **values})
        for name, values in models.items()
    }


def an_allocator(
    zones: dict[str, dict[str, Any]],
    models: dict[str, dict[str, Any]],
    total_mb: float | None = None,
    **settings: Any,
) -> Allocator:
    """Allocator of :func:`a_config` over :func:`specs_of` the models."""
    return Allocator(a_config(zones, total_mb, **settings), specs_of(models))


def load(allocator: Allocator, name: str, now_s: float, **kwargs: Any) -> Decision:
    """Ask for an absent model, end its load and release it at once: resident from `now_s` on."""
    decision = allocator.request(name, now_s, **kwargs)
    assert decision.kind is Kind.LOAD, decision
    allocator.settle(decision, now_s)
    if allocator.models[name].pins:
        allocator.released(name)
    check(allocator)
    return decision


def resident(allocator: Allocator) -> set[str]:
    """Names of the models that are resident, in use or not."""
    return {name for name, model in allocator.models.items() if model.state.value in ("resident", "in use")}


def mb(size_mb: float) -> int:
    """Whole bytes of whole MB."""
    return int(size_mb * MIB)
