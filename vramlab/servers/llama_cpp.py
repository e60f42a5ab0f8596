"""llama.cpp's router: at most so many models, the least recently used leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order, pool


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    return {
        "zones": pool(card.config, max_models=options["models_max"] or min(4, card.fits)),
        "scoring": {"policy": "lru"},
        "serving": {"order": order("one_pending"), "load_channels": 1},
    }


SERVER = Server(
    name="llama-cpp",
    title="llama.cpp's router",
    version="merged August 2026",
    source="tools/server/server-models.cpp",
    read="August 2026",
    options={
        "models_max": 0,  # --models-max; 0: its default of 4, or as many as always fit, if fewer
    },
    approximations=(
        "the number of models is the default of 4, or that which always fits: the router knows no bytes",
        "requests queue for a slot, as in the version of August 2026; before, they were aborted",
    ),
    settings=_settings,
)
