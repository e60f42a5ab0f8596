"""What the same requests would have had with memory for all models: the floor under every latency.

The streams, the load channels and the times are the same, in the order of coming; each model is loaded once.
What a run is above that is the *price of memory*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vramlab.config.faults import FaultPlan
from vramlab.config.loading import with_overrides
from vramlab.config.schema import Inventory, VramConfig, of_each
from vramlab.config.units import bytes_to_mib
from vramlab.experiments.case import Case

PRICES = {"price_mean_s": "latency_mean_s", "price_p99_s": "latency_p99_s"}
"""What is above the floor, and by which latency. Below 0 where the CPU serves too, or others go first."""


def with_memory_for_all(config: VramConfig, inventory: Inventory) -> VramConfig:
    """Copy of a configuration under which nobody ever has to leave."""
    models_mb = 2 * bytes_to_mib(sum(of_each(inventory.values(), lambda spec: spec.footprint_bytes))) + 1
    zones = [
        text
        for name in config.zones
        for text in (f"zones.{name}.size_mb={models_mb}", f"zones.{name}.max_models=null")
    ]
    return with_overrides(
        config,
        [
            f"total_memory_mb={models_mb + config.overhead.total_mb}",
            *zones,
            "serving.order=fifo",
            "fallback.when=full",
            "optimization.monitor=false",
            "optimization.predictor=null",
        ],
    )


def without_pressure(case: Case) -> Case:
    """Return the case with memory for all models; what a fault plan does to the device is left out."""
    return replace(case, config=with_memory_for_all(case.config, case.inventory), faults=FaultPlan())


def prices(figures: Mapping[str, Any], floor: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Return mean and 99th percentile of a run above the floor's, seconds; None where there is no latency."""
    found: dict[str, float | None] = {}
    for price, latency in PRICES.items():
        here, least = figures[latency], (floor or {}).get(latency)
        found[price] = None if here is None or least is None else here - least
    return found
