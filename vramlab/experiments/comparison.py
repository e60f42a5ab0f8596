"""A comparison of eviction policies on one trace, next to the offline optimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vramlab.allocator import Allocator
from vramlab.analysis.bounds import Bound
from vramlab.analysis.metrics import metrics
from vramlab.config.errors import InputError
from vramlab.config.loading import with_overrides
from vramlab.config.schema import Inventory, VramConfig
from vramlab.experiments.html import comparison_html
from vramlab.experiments.inputs import check_seed, names_of, resolve_faults, resolve_inputs
from vramlab.experiments.intervals import warmup_of, with_intervals
from vramlab.experiments.optimum import optimum_of
from vramlab.experiments.parts import later_part
from vramlab.experiments.replay import Mode, Replay, check_mode, flat, replay
from vramlab.traces.trace import Trace

DEFAULT_POLICIES = ("seed", "seed_fixed", "decayed", "lru", "lfu", "fifo", "gdsf")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Replays of one trace under several policies.

    Parameters
    ----------
    replays : list of Replay
        In the order of the policies.
    rows : list of dict
        Figures of each, with ``cost_s``: the load cost, and where the CPU may answer its extra seconds
        (:mod:`vramlab.experiments.optimum`); and ``gap_closed``: (LRU's cost - this one's) / (LRU's - the
        optimum's), None where LRU is at the optimum already. With intervals also what
        :mod:`vramlab.experiments.intervals` adds.
    optimum : Bound
        Least cost of any schedule under which misses may do what they may under the configuration.
    counts : str
        What ``cost_s`` is made of.
    warmup : int
        Requests at the start that do not count.
    """

    replays: list[Replay]
    rows: list[dict[str, Any]]
    optimum: Bound
    counts: str = "load_cost_s"
    warmup: int = 0

    def frame(self) -> pd.DataFrame:
        """One row per policy."""
        return pd.DataFrame([flat(row) for row in self.rows])

    @property
    def cost(self) -> str:
        """The column to set against the optimum: ``load_cost_s`` where that is all that counts."""
        return "load_cost_s" if self.counts == "load_cost_s" else "cost_s"

    def document(self) -> dict[str, Any]:
        """The keys of ``vramlab compare --json``."""
        keys = ("load_cost_s", "load_cost_all_miss_s", "capacity_bytes", "requests", "admission", "method")
        optimum = {key: getattr(self.optimum, key) for key in keys} | {"counts": self.counts}
        return {"rows": self.rows, "optimum": optimum, "warmup_requests": self.warmup}

    def _repr_html_(self) -> str:
        return comparison_html(self.rows, self.optimum.load_cost_s, self.counts, self.warmup)


def compare(
    trace: Trace | Path | str,
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    policies: Sequence[str] = DEFAULT_POLICIES,
    mode: Mode = "simulate",
    seed: int = 0,
    overrides: Sequence[str] = (),
    done: Callable[[], object] | None = None,
    intervals: bool = False,
    skip_warmup: bool = False,
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
    intervals : bool
        Bootstrap intervals, and paired differences from the first policy
        (:mod:`vramlab.experiments.intervals`).
    skip_warmup : bool
        Leave out the requests at the start that the MSER-5 rule calls warm-up: for all policies as many as
        for the one that takes longest.

    Raises
    ------
    InputError
        For an unknown policy or no policy.
    """
    check_mode(mode)
    check_seed(seed)
    policies = names_of(policies)
    if not policies:
        raise InputError("policies", "", "none", "at least one policy")
    faults = resolve_faults(config, overrides=overrides)
    trace, config, inventory = resolve_inputs(trace, config, models, overrides)
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
    runs = [result.records for result in (*replays, lru)]
    first = warmup_of(runs) if skip_warmup else 0
    optimum = optimum_of(trace, config, inventory, first)
    if done is not None:
        done()
    parts = [later_part(records, first) for records in runs]
    rows = [
        result.figures | (metrics(records, config, inventory) if first else {})
        for result, records in zip((*replays, lru), parts, strict=True)
    ]
    for row, records in zip(rows, parts, strict=True):
        row["cost_s"] = optimum.cost_s(records, row["load_cost_s"])
    worst_s = rows.pop()["cost_s"]
    for row in rows:
        row["gap_closed"] = optimum.gap_closed(row["cost_s"], worst_s)
    if intervals:
        found = with_intervals(parts[:-1], inventory, mode, np.random.default_rng(seed))
        rows = [row | more for row, more in zip(rows, found, strict=True)]
    return Comparison(replays, rows, optimum.bound, optimum.document()["counts"], first)
