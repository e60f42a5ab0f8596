"""Triton: what is there stays; what does not fit beside it is not served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order, pool


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    return {
        "zones": pool(card.config, eviction_policy="never", reserved_models=options["models"] or ()),
        "serving": {"order": order("swap_queue")},
    }


SERVER = Server(
    name="triton",
    title="Triton",
    version="e1db8a6",
    source="model_repository_manager.cc, rate_limiter.cc",
    read="August 2026",
    options={
        "models": None,  # --load-model; those that are loaded at the start
    },
    approximations=(
        "models that are not named are loaded when first asked for, as by a client, while there is room",
        "instances are the card's streams; the rate limiter is off, as by default",
    ),
    settings=_settings,
)
