"""LocalAI: at most so many backends, the least recently used leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.servers.preset import Card, Server, Settings, order, policy, pool


def _settings(options: Mapping[str, Any], card: Card) -> Settings:
    groups = {
        name: {"members": members, "swap": True}
        for name, members in (options["concurrency_groups"] or {}).items()
    }
    return {
        "zones": pool(card.config, max_models=options["max_active_backends"] or card.fits),
        "scoring": {"policy": policy("LargestFirst") if options["largest_first"] else "lru"},
        "serving": {"order": order("swap_queue")},
        "rules": {
            "groups": groups,
            "pinned": options["pinned"] or (),
            "keep_alive_s": options["idle_timeout"] or None,
            "keep_alive_every_s": options["watchdog_interval"] if options["idle_timeout"] else 0,
        },
    }


SERVER = Server(
    name="localai",
    title="LocalAI",
    version="82c191a",
    source="pkg/model/watchdog.go, pkg/model/initializers.go",
    read="August 2026",
    options={
        "max_active_backends": 0,  # 0: as many as fit, whichever they are
        "concurrency_groups": None,  # {group: [models]}: a load sends the others of its groups away
        "largest_first": False,
        "pinned": None,
        "idle_timeout": 0,  # seconds; 0 is off, as by default
        "watchdog_interval": 30,
    },
    approximations=(
        "by default LocalAI has no limit and runs out of memory; here it is the number that always fits",
        "a load waits for busy models as long as it takes, where LocalAI loads anyway after 30 s",
        "last use is that of the start of a run; LocalAI updates it at the end as well",
    ),
    settings=_settings,
)
