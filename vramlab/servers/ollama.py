"""Ollama: the shortest keep_alive leaves, whatever its age; one load is thought of at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order, policy, pool


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    keep_alive, by_model = options["keep_alive"], options["keep_alive_by_model"] or {}
    return {
        "zones": pool(card.config, max_models=options["max_loaded_models"]),
        "scoring": {"policy": policy("ShortestKeepAlive")},
        "serving": {
            "order": order("one_pending"),
            "load_channels": 1,
            "unload_time_ms": 1000 * options["unload_s"],
        },
        "rules": {
            "keep_alive_s": _seconds(keep_alive),
            "keep_alive_by_model": {name: _seconds(value) for name, value in by_model.items()},
            "one_victim": True,
            "headroom_factor": 1 / 0.8,
            "headroom_alone": False,
            "max_waiting": options["max_queue"],
        },
    }


def _seconds(value: Any) -> Any:
    """Ollama's -1 is for ever; what is no number is left to the rules, which refuse it."""
    return None if isinstance(value, int | float) and (value < 0 or math.isinf(value)) else value


SERVER = Server(
    name="ollama",
    title="Ollama",
    version="fb30760",
    source="server/sched.go",
    read="August 2026",
    options={
        "keep_alive": 300,  # OLLAMA_KEEP_ALIVE, seconds; -1 is for ever
        "keep_alive_by_model": None,  # a request's own keep_alive, as {model: seconds}
        "max_loaded_models": 3,  # OLLAMA_MAX_LOADED_MODELS, by default 3 per GPU
        "max_queue": 512,  # OLLAMA_MAX_QUEUE, then 503
        "unload_s": 1.0,  # until the memory is seen to be back: 0.5 to 1.5 s is usual
    },
    approximations=(
        "models that do not fit are refused, where Ollama would run a part of them on the CPU",
        "where no model is idle the first to become so leaves, not the first of the list",
        "OLLAMA_NUM_PARALLEL is the card's streams, for all models together",
    ),
    settings=_settings,
)
