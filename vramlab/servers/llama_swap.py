"""llama-swap: no bytes anywhere; groups or a matrix of sets say who may be there together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.config.errors import InputError
from vramlab.servers.preset import Card, Server, Settings, order

DEFAULT_GROUP = "(default)"


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    for name, group in (options["groups"] or {}).items():
        if not isinstance(group, dict) or "members" not in group:
            key, expected = f"llama-swap:groups.{name}", "a mapping with members"
            raise InputError("server", key, repr(group), expected)
    groups = {
        name: {"swap": True, "exclusive": True, "persistent": False, **group}
        for name, group in (options["groups"] or {}).items()
    }
    taken = {model for group in groups.values() for model in group["members"]}
    rest = [model for model in card.inventory if model not in taken]
    if not options["matrix"] and rest:
        groups[DEFAULT_GROUP] = {"members": rest, "swap": True, "exclusive": True}
    ttl, by_model = options["ttl"], options["ttl_by_model"] or {}
    return {
        "scoring": {"policy": "lru"},
        "serving": {"order": order("swap_queue")},
        "rules": {
            "groups": {} if options["matrix"] else groups,
            "sets": options["matrix"] or (),
            "evict_costs": options["evict_costs"] or {},
            "keep_alive_s": ttl or None,
            "keep_alive_by_model": {name: value or None for name, value in by_model.items()},
            "max_per_model": options["concurrency_limit"] or None,
        },
    }


SERVER = Server(
    name="llama-swap",
    title="llama-swap",
    version="0bdb372",
    source="internal/router/{group,matrix}.go, internal/matrix/program.go, router/scheduler/fifo.go",
    read="August 2026",
    options={
        "groups": None,  # {group: {members: [...], swap: true, exclusive: true, persistent: false}}
        "matrix": None,  # sets of models that may be there together: [[a, b], [a, c]]
        "evict_costs": None,  # {model: cost}, 1 where not given
        "ttl": 0,  # seconds; 0 is never
        "ttl_by_model": None,
        "concurrency_limit": 10,  # per model, then 429
    },
    approximations=(
        "without groups or a matrix one model is there at a time, as in llama-swap",
        "where the sets do not fit the memory the least recently used leaves; llama-swap would run out of it",
        "swaps that do not collide follow each other on the card's load channel",
        "priority of models is 0 for all",
    ),
    settings=_settings,
)
