"""ModelMesh: the least recently used leaves by bytes; a load that would churn is rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    sizes = [spec.footprint_bytes for spec in card.inventory.values()]
    capacity, threads = card.config.budget_bytes, options["loading_threads"]
    wanted = threads * sum(sizes) / max(len(sizes), 1) / (2 if threads <= 2 else 4)
    buffer = max(capacity / 100, min(wanted, capacity / 10))
    age_s = 10 * max(3.0, options["load_timeout"] / 3)
    return {
        "scoring": {"policy": "lru"},
        "serving": {"order": order("swap_queue")},
        "rules": {"headroom_mb": buffer / 2**20, "churn_age_s": age_s if options["churn_guard"] else 0},
    }


SERVER = Server(
    name="modelmesh",
    title="ModelMesh",
    version="ea13cdc",
    source="ModelMesh.java",
    read="August 2026",
    options={
        "loading_threads": 8,
        "load_timeout": 90,  # seconds
        "churn_guard": True,
    },
    approximations=(
        "one instance; ModelMesh would place a rejected model on another one",
        "the unload buffer is room that a load wants on top, by the mean size of the models",
        "a model that is registered is not loaded before it is asked for",
    ),
    settings=_settings,
)
