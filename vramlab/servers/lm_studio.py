"""LM Studio: one model loaded on demand at a time, gone after an hour without use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order, pool


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    return {
        "zones": pool(card.config, max_models=1 if options["auto_evict"] else None),
        "scoring": {"policy": "lru"},
        "serving": {"order": order("one_pending"), "load_channels": 1},
        "rules": {"keep_alive_s": options["ttl"]},
    }


SERVER = Server(
    name="lm-studio",
    title="LM Studio",
    version="documentation",
    source="the vendor's pages on idle TTL and auto-evict",
    read="August 2026",
    options={
        "ttl": 3600,  # seconds
        "auto_evict": True,  # the one before leaves when the next is loaded on demand
    },
    approximations=(
        "from the documentation alone: its source is not public",
        "without auto_evict the least recently used leaves where memory is full; LM Studio would refuse",
    ),
    settings=_settings,
)
