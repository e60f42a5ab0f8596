"""vramd: the most MiB per point of priority leave; a hot request may jump a cold head three times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order, policy


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    return {
        "scoring": {
            "policy": policy("MostBytesPerPriority"),
            "priority_weights": {"high": options["high"], "medium": options["medium"], "low": 1},
        },
        "serving": {
            "order": order("hot_jumps"),
            "load_channels": 1,
            "gpu_streams": options["max_inflight"] or card.config.serving.gpu_streams,
        },
        "rules": {
            "waited_for": "ignored",
            "headroom_mb": options["safety_mb"],
            "keep_alive_s": options["idle_timeout"],
            "keep_alive_every_s": options["check_every"],
        },
    }


SERVER = Server(
    name="vramd",
    title="vramd",
    version="d70128c (0.3.9)",
    source="vram_planner.py, scheduler.py, dispatcher.py, idle_evictor.py",
    read="August 2026",
    options={
        "max_inflight": 1,  # VRAMD_MAX_INFLIGHT; 0: the card's streams
        "safety_mb": 384,  # VRAMD_VRAM_SAFETY_MIB
        "idle_timeout": 120,  # seconds
        "check_every": 15,
        "high": 20,  # a backend's priority, where the inventory's is critical or high
        "medium": 10,
    },
    approximations=(
        "a model larger than the card is refused at once; vramd first unloads every idle one",
        "with several in flight a cold request waits for all of them, also where there is room beside",
        "footprints are known; vramd learns them",
    ),
    settings=_settings,
    keeps_priorities=True,
)
