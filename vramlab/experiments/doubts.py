"""What is likely to be meant otherwise: models that fit nowhere, zones that nobody uses, zones that bind.

Sentences for people, in :func:`doubts`; the rest tells other parts the same as data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vramlab.config.errors import nearest
from vramlab.config.schema import (
    ZONE_DEFAULTS,
    ZONES_BY_PRIORITY,
    Inventory,
    Priority,
    VramConfig,
    homes_of,
    of_each,
    of_models,
)
from vramlab.config.units import bytes_to_mib
from vramlab.experiments.case import Case

_MOST_NAMES = 5


def _places(home: str, priority: Priority, config: VramConfig) -> list[str]:
    """Return the zones where a model may lie: its own, then those that lend to its priority."""
    return [home, *(z for z, zone in config.zones.items() if z != home and priority in zone.borrowers)]


def fits_nowhere(config: VramConfig, inventory: Inventory) -> dict[str, str]:
    """Return the models that are larger than all that they may lie in, and why, in words."""
    room, caps = config.room_bytes(inventory), {name: zone.size_bytes for name, zone in config.zones.items()}
    sizes = of_models(config.held(inventory), lambda spec: spec.footprint_bytes)
    found = {}
    for name, home in homes_of(inventory, config).items():
        size = sizes[name]
        if size <= min(caps[home], room):  # as nearly all do
            continue
        largest = max(_places(home, inventory[name].priority, config), key=lambda zone: caps[zone])
        cap = caps[largest]
        if size > min(cap, room):
            place = f"zone {largest}" if cap <= room else "the budget of the card"
            found[name] = f"{_mb(size)} in {place} of {_mb(min(cap, room))}"
    return found


def unused_zones(config: VramConfig, inventory: Inventory) -> list[str]:
    """Return the zones in which no model of the inventory may ever lie."""
    homes = homes_of(inventory, config)
    kinds = {(homes[name], spec.priority) for name, spec in inventory.items()}
    used = {zone for home, priority in kinds for zone in _places(home, priority, config)}
    return [name for name in config.zones if name not in used]


def doubts(case: Case) -> list[str]:
    """Return what to look at before a result of this case is believed, a sentence each; often nothing."""
    config, inventory = case.config, case.inventory
    asked = {name: inventory[name] for name in case.trace.model_names}
    return [*_too_large(case, asked), *_nobody_there(config, inventory), *_too_small_zones(config, asked)]


def _too_large(case: Case, asked: Inventory) -> list[str]:
    large = fits_nowhere(case.config, asked)
    if not large:
        return []
    counts = dict(zip(case.trace.model_names, np.bincount(case.trace.model_codes).tolist(), strict=False))
    cpu = case.config.fallback.cpu_fallback_enabled
    lines = []
    for name in sorted(large, key=lambda model: -counts[model])[:_MOST_NAMES]:
        fate = "go to the CPU" if cpu and asked[name].may_run_on_cpu else "are refused"
        lines.append(f"{name} fits nowhere ({large[name]}): its {counts[name]:,} requests {fate}")
    more = len(large) - _MOST_NAMES
    return lines + ([f"{more} more models fit nowhere"] if more > 0 else [])


def _nobody_there(config: VramConfig, inventory: Inventory) -> list[str]:
    lines = []
    for name in unused_zones(config, inventory):
        near = "" if name in ZONE_DEFAULTS else nearest(name, ZONE_DEFAULTS)
        lines.append(
            f"no model may lie in zone {name}{near}: its {config.zones[name].size_mb:,g} MB serve nobody; "
            f"{priorities_text(config)}"
        )
    return lines


def priorities_text(config: VramConfig) -> str:
    """Say which priority goes to which zone of a configuration, where a model names none."""
    homes: dict[str, list[str]] = {}
    for priority, order in ZONES_BY_PRIORITY.items():
        home = next((zone for zone in order if zone in config.zones), next(iter(config.zones)))
        homes.setdefault(home, []).append(priority.value)
    parts = [f"{' and '.join(names)} to {zone}" for zone, names in homes.items()]
    return f"models go by priority, {', '.join(parts)}"


def _too_small_zones(config: VramConfig, asked: Inventory) -> list[str]:
    """Say that the zones, not the card, are the limit, where models do not fit all together."""
    zones = sum(zone.size_bytes for zone in config.zones.values())
    wanted = sum(of_each(config.held(asked).values(), lambda spec: spec.footprint_bytes))
    room = config.room_bytes(asked)
    if zones >= 0.95 * room or wanted <= zones:
        return []
    keys = ", ".join(f"zones.{name}.size_mb" for name in config.zones)
    return [
        f"the zones bind, not the card: they hold {_mb(zones)} of the {_mb(room)} that it has for models, "
        f"and models of {_mb(wanted)} are asked for; set {keys} too"
    ]


def ignored_limits(config: VramConfig, bindings: Iterable[Mapping[str, int]]) -> list[str]:
    """Return the limits that the offline optimum does not see, and how often each was reached.

    Parameters
    ----------
    bindings : iterable of mapping
        ``binding`` of each run.
    """
    room = config.budget_bytes
    names: dict[str, list[int]] = {}
    for one in bindings:
        for name, times in one.items():
            zone = name.partition(" in ")[2]
            whole = name.startswith("size_mb") and zone in config.zones
            if name != "total_memory_mb" and not (whole and config.zones[zone].size_bytes >= room):
                names.setdefault(name, []).append(times)
    lines = [f"{name} ({span(times)} times)" for name, times in names.items()]
    kept = {name: zone.min_retention_time for name, zone in config.zones.items() if zone.min_retention_time}
    return lines + [f"min_retention_time in {name} ({value:g} s)" for name, value in kept.items()]


def span(numbers: Sequence[int]) -> str:
    """Write the least and the most of some numbers, or the one that they all are."""
    low, high = f"{min(numbers):,}", f"{max(numbers):,}"
    return low if low == high else f"{low} to {high}"


def _mb(size: Any) -> str:
    return f"{bytes_to_mib(size):,.0f} MB"
