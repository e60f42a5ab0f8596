"""Lemonade: one model per type, the least recently used leaves; an eviction engine can be switched on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order, policy, pool


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    engine = options["eviction_engine"]
    return {
        "zones": pool(card.config, max_models=None if engine else options["max_loaded_models"]),
        "scoring": {"policy": policy("LongestIdlePerLoad") if engine else "lru"},
        "serving": {"order": order("one_pending"), "load_channels": 1},
        "rules": {
            "pinned": options["pinned"] or (),
            "one_victim": engine,
            "keep_alive_s": options["idle_timeout"] if engine else None,
            "keep_alive_every_s": 5,
        },
    }


SERVER = Server(
    name="lemonade",
    title="Lemonade",
    version="e385039",
    source="eviction_engine.cpp, router.cpp",
    read="August 2026",
    options={
        "max_loaded_models": 1,  # per type of model; all of a trace are taken to be of one type
        "eviction_engine": False,  # opt-in: the largest idle_ms / (load_ms x weight) leaves
        "idle_timeout": 300,  # of the eviction engine, seconds
        "pinned": None,
    },
    approximations=(
        "all models are of one type",
        "the eviction engine makes room when a load needs it; Lemonade looks every 5 s or at 90 %",
        "a load that fails for want of memory is not tried: the room is made before",
    ),
    settings=_settings,
)
