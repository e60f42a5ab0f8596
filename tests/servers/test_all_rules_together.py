"""Rules in any combination: every request is answered or refused, nobody waits for ever, lock-step holds."""

import numpy as np
import pytest

from tests.servers.running import config_of, run, spec
from vramlab.config.schema import Priority
from vramlab.servers import as_server, server_names

NAMES = "abcdefgh"


def drawn(rng):
    """Models, requests and rules at random."""
    models = {
        name: spec(int(rng.integers(5, 70)), int(rng.integers(100, 4000)), int(rng.integers(50, 5000)),
                   str(rng.choice(["low", "medium", "high", "critical"] if name > "b" else ["medium"])))
        for name in NAMES
    }  # fmt: skip
    models = {n: s if s.priority != "critical" else spec(5, priority="critical") for n, s in models.items()}
    times = np.round(np.cumsum(rng.exponential(rng.choice([0.3, 2.0, 20.0]), 150)), 3)
    rows = [(float(t), str(rng.choice(list(NAMES)))) for t in times]
    some = lambda: [str(n) for n in rng.choice(list(NAMES), rng.integers(1, 5), replace=False)]  # noqa: E731
    chance = lambda p: bool(rng.random() < p)  # noqa: E731
    rules = {
        "keep_alive_s": float(rng.choice([0, 3, 60])) if chance(0.5) else None,
        "keep_alive_by_model": {n: None if chance(0.3) else float(rng.integers(0, 30)) for n in some()},
        "keep_alive_every_s": float(rng.choice([0, 7])),
        "one_victim": chance(0.4),
        "headroom_factor": float(rng.choice([1, 1.25, 3])),
        "headroom_mb": float(rng.choice([0, 10])),
        "headroom_alone": chance(0.5),
        "churn_age_s": float(rng.choice([0, 0, 5])),
        "waited_for": str(rng.choice(["kept", "in_use", "ignored"])),
        "max_waiting": int(rng.integers(1, 30)) if chance(0.2) else None,
        "max_per_model": int(rng.integers(1, 6)) if chance(0.2) else None,
    }
    if chance(0.3):
        rules["groups"] = {
            f"g{i}": {
                "members": some(),
                "swap": chance(0.7),
                "exclusive": chance(0.5),
                "persistent": chance(0.2),
            }
            for i in range(3)
        }
    elif chance(0.4):
        rules["sets"] = [some() for _ in range(4)]
        rules["evict_costs"] = {n: float(rng.integers(0, 9)) for n in some()}
    orders = ["backlog", "affinity", "fifo", *(f"vramlab.servers.orders:{o}" for o in ORDERS)]
    serving = {
        "gpu_streams": int(rng.integers(1, 4)), "load_channels": int(rng.integers(1, 3)),
        "unload_time_ms": float(rng.choice([0, 1, 900])), "order": str(rng.choice(orders)),
        "max_wait_s": float(rng.choice([5, 300, 1e9])),
    }  # fmt: skip
    if rules["waited_for"] == "ignored":
        serving["order"] = "vramlab.servers.orders:hot_jumps"
    if serving["order"].startswith("vramlab.servers"):
        # as the presets have them: these servers know no bound on waiting, and nobody who is due at once
        serving["max_wait_s"] = 1e12
        models = {
            n: s.model_copy(update={"priority": max(s.priority, Priority.HIGH, key=lambda one: one.rank)})
            for n, s in models.items()
        }
    return models, rows, config_of(100, rules=rules, serving=serving)


ORDERS = ("one_pending", "swap_queue", "hot_jumps")


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_rules_every_request_is_answered_or_refused(seed):
    models, rows, config = drawn(np.random.default_rng(seed))
    found = run(rows, models, config)
    figures = found.figures
    ended = sum(figures[key] for key in ("hits", "cold_starts", "waits", "refused"))
    assert ended == len(rows)
    assert (figures["failed"], figures["fallbacks"]) == (0, 0)
    held = np.array([sum(row[1]) for row in found.records.usage])
    assert held.max() <= config.budget_bytes


@pytest.mark.parametrize("name", server_names())
@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_traffic_a_server_answers_or_refuses_it(name, seed):
    models, rows, config = drawn(np.random.default_rng(100 + seed))
    config, inventory = as_server(name, config, models)
    figures = run(rows, inventory, config).figures
    assert sum(figures[key] for key in ("hits", "cold_starts", "waits", "refused")) == len(rows)
