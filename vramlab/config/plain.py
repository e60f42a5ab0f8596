"""One plain memory: settings and models without zones, rights to stay, overhead or a CPU to fall back on."""

from __future__ import annotations

from vramlab.config.fields import Priority
from vramlab.config.models import Inventory
from vramlab.config.schema import OverheadConfig, VramConfig, ZoneConfig
from vramlab.config.units import bytes_to_mib


def plain_memory(config: VramConfig, capacity_bytes: int) -> VramConfig:
    """Return `config` with one zone of that size and nothing beside it, scoring and admission as they are."""
    size_mb = bytes_to_mib(capacity_bytes)
    return config.model_copy(
        update={
            "total_memory_mb": size_mb,
            "overhead": OverheadConfig(cuda_context_mb=0, framework_mb=0, buffer_mb=0),
            "zones": {"flexible": ZoneConfig(size_mb=size_mb)},
            "fallback": config.fallback.model_copy(update={"cpu_fallback_enabled": False}),
            "admission_by_priority": config.admission_by_priority.model_copy(update={"low": None}),
        }
    )


def plain_models(inventory: Inventory) -> Inventory:
    """Return the same models, of which none has a right to stay."""
    free = {"always_loaded": False, "zone": None}
    return {
        name: spec.model_copy(
            update=free | ({"priority": Priority.HIGH} if spec.priority is Priority.CRITICAL else {})
        )
        for name, spec in inventory.items()
    }
