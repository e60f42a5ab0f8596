"""A comparison of eviction policies on one trace, next to the offline optimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vramlab.allocator import Allocator
from vramlab.analysis.bounds import Bound, offline_bound
from vramlab.config.errors import InputError
from vramlab.config.loading import with_overrides
from vramlab.config.schema import Inventory, VramConfig
from vramlab.experiments.inputs import resolve_faults, resolve_settings, resolve_trace
from vramlab.experiments.replay import Mode, Replay, flat, replay
from vramlab.traces.trace import Trace

DEFAULT_POLICIES = ("seed", "seed_fixed", "lru", "lfu", "fifo", "gdsf")

# What is always loaded has its place set apart; in what remains it takes next to nothing and costs nothing.
_COSTLESS = {"load_time_ms": 0.0, "vram_size_mb": 1e-6, "workspace_mb": 0.0}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Replays of one trace under several policies.

    Parameters
    ----------
    replays : list of Replay
        In the order of the policies.
    rows : list of dict
        Figures of each, with ``gap_closed``: (LRU's load cost - this one's) / (LRU's - the optimum's); None
        where LRU is at the optimum already.
    optimum : Bound
        Least load cost of any schedule that loads every model it runs.
    """

    replays: list[Replay]
    rows: list[dict[str, Any]]
    optimum: Bound

    def frame(self) -> pd.DataFrame:
        """One row per policy."""
        return pd.DataFrame([flat(row) for row in self.rows])

    def document(self) -> dict[str, Any]:
        """The keys of ``vramlab compare --json``."""
        keys = ("load_cost_s", "load_cost_all_miss_s", "capacity_bytes", "requests", "admission", "method")
        return {"rows": self.rows, "optimum": {key: getattr(self.optimum, key) for key in keys}}

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(index=False))


def compare(
    trace: Trace | Path | str,
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    policies: Sequence[str] = DEFAULT_POLICIES,
    mode: Mode = "simulate",
    seed: int = 0,
    overrides: Sequence[str] = (),
    done: Callable[[], object] | None = None,
) -> Comparison:
    """Replay a trace once per policy, all else equal, and bound what any policy could have reached.

    Parameters
    ----------
    trace, config, models, mode, seed, overrides
        As for :func:`~vramlab.experiments.replay.replay`.
    policies : sequence of str
        Names as for ``scoring.policy``.
    done : callable, optional
        Called after each replay and after the bound.

    Raises
    ------
    InputError
        For an unknown policy or no policy.
    """
    if not policies:
        raise InputError("policies", "", "none", "at least one policy")
    trace = resolve_trace(trace)
    faults = resolve_faults(config, overrides=overrides)
    config, inventory = resolve_settings(config, models, overrides)
    settings = {name: with_overrides(config, [f"scoring.policy={name}"]) for name in [*policies, "lru"]}
    for setting in settings.values():  # an unknown name is an error before the first run, not after it
        Allocator(setting, {})

    def run(name: str) -> Replay:
        result = replay(trace, settings[name], inventory, mode, seed, faults=faults)
        if done is not None:
            done()
        return result

    replays = [run(name) for name in policies]
    lru = next((r for name, r in zip(policies, replays, strict=True) if name == "lru"), None)
    lru = lru or replay(trace, settings["lru"], inventory, mode, seed, faults=faults)
    optimum = optimum_of(trace, config, inventory)
    if done is not None:
        done()
    worst_s = lru.figures["load_cost_s"]
    gap_s = worst_s - optimum.load_cost_s
    rows = [
        result.figures
        | {"gap_closed": (worst_s - result.figures["load_cost_s"]) / gap_s if gap_s > 0 else None}
        for result in replays
    ]
    return Comparison(replays, rows, optimum)


def optimum_of(trace: Trace, config: VramConfig, inventory: Inventory) -> Bound:
    """The offline optimum under a configuration's memory, with every model loaded that is run.

    Zones are not seen: all memory is one pool, which can only lower the bound. What is always loaded keeps
    its place and costs nothing.
    """
    allocator = Allocator(config, inventory)
    fixed = allocator.always_loaded()
    caps = sum(zone.size_bytes for zone in config.zones.values())
    capacity = min(config.budget_bytes, caps) - sum(inventory[name].footprint_bytes for name in fixed)
    costless = {name: inventory[name].model_copy(update=_COSTLESS) for name in fixed}
    return offline_bound(trace, inventory | costless, capacity)
