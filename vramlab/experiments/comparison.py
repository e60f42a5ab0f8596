"""A comparison of eviction policies and orders of serving, next to the offline optimum and the floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
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
from vramlab.engine.orders import check_order
from vramlab.experiments.floor import prices, with_memory_for_all
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
    """Replays of one trace under several policies, and orders.

    Parameters
    ----------
    replays : list of Replay
        In the order of the policies, and for each in that of the orders.
    rows : list of dict
        Figures of each, with ``cost_s``: the load cost, and where the CPU may answer its extra seconds
        (:mod:`vramlab.experiments.optimum`); and ``gap_closed``: (LRU's cost - this one's) / (LRU's - the
        optimum's), None where LRU is at the optimum already; ``price_mean_s`` and ``price_p99_s``: what mean
        and 99th percentile are above the floor's, None where nothing takes time. With intervals also what
        :mod:`vramlab.experiments.intervals` adds.
    optimum : Bound
        Least cost of any schedule that serves in the order of coming (an order that lets requests wait for
        others may need fewer loads), under which misses may do what they may under the configuration.
    floor : dict or None
        Figures of the run with memory for all models (:mod:`vramlab.experiments.floor`); None where nothing
        takes time.
    counts : str
        What ``cost_s`` is made of.
    warmup : int
        Requests at the start that do not count.
    """

    replays: list[Replay]
    rows: list[dict[str, Any]]
    optimum: Bound
    floor: dict[str, Any] | None = None
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
        document = {"rows": self.rows, "floor": self.floor, "optimum": optimum}
        return document | {"warmup_requests": self.warmup}

    def _repr_html_(self) -> str:
        return comparison_html(self.rows, self.optimum.load_cost_s, self.counts, self.warmup, self.floor)


def compare(
    trace: Trace | Path | str,
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    policies: Sequence[str] | None = None,
    mode: Mode = "simulate",
    seed: int = 0,
    overrides: Sequence[str] = (),
    done: Callable[[], object] | None = None,
    intervals: bool = False,
    skip_warmup: bool = False,
    orders: Sequence[str] = (),
) -> Comparison:
    """Replay a trace once per policy and order, all else equal, and bound what any policy could have reached.

    Parameters
    ----------
    trace, config, models, mode, seed, overrides
        As for :func:`~vramlab.experiments.replay.replay`.
    policies : sequence of str
        Names as for ``scoring.policy``. Without them those of :data:`DEFAULT_POLICIES`, or with `orders` the
        configuration's alone.
    done : callable, optional
        Called after each replay and after the bound.
    intervals : bool
        Bootstrap intervals, and paired differences from the first policy
        (:mod:`vramlab.experiments.intervals`).
    skip_warmup : bool
        Leave out the requests at the start that the MSER-5 rule calls warm-up: for all policies as many as
        for the one that takes longest.

    orders : sequence of str
        Names as for ``serving.order``; without them the configuration's alone.

    Raises
    ------
    InputError
        For an unknown policy or order, no policy, and orders in decide mode, where nobody waits.
    """
    check_mode(mode)
    check_seed(seed)
    orders = names_of(orders)
    if orders and mode == "decide":
        raise InputError("orders", "", f"mode {mode}", "mode simulate, as nobody waits in the other")
    faults = resolve_faults(config, overrides=overrides)
    trace, config, inventory = resolve_inputs(trace, config, models, overrides)
    if policies is None:
        policies = [config.scoring.policy] if orders else DEFAULT_POLICIES
    policies = names_of(policies)
    if not policies:
        raise InputError("policies", "", "none", "at least one policy")
    base = config.serving.order
    settings = {
        (name, order): with_overrides(config, [f"scoring.policy={name}", f"serving.order={order}"])
        for name, order in [*product(policies, orders or [base]), ("lru", base)]
    }
    for setting in settings.values():  # an unknown name is an error before the first run, not after it
        Allocator(setting, {})
        check_order(setting.serving.order)

    def run(setting: VramConfig) -> Replay:
        result = replay(trace, setting, inventory, mode, seed, faults=faults)
        if done is not None:
            done()
        return result

    replays = [run(settings[names]) for names in product(policies, orders or [base])]
    lru = next((r for r in replays if (r.figures["policy"], r.figures["order"]) == ("lru", base)), None)
    lru = lru or replay(trace, settings["lru", base], inventory, mode, seed, faults=faults)
    runs = [result.records for result in (*replays, lru)]
    first = warmup_of(runs) if skip_warmup else 0
    optimum = optimum_of(trace, config, inventory, first)
    floor = _floor_of(trace, config, inventory, seed, first) if mode == "simulate" else None
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
        row |= prices(row, floor)
    if intervals:
        found = with_intervals(parts[:-1], inventory, mode, np.random.default_rng(seed))
        rows = [row | more for row, more in zip(rows, found, strict=True)]
    return Comparison(replays, rows, optimum.bound, floor, optimum.document()["counts"], first)


def _floor_of(
    trace: Trace, config: VramConfig, inventory: Inventory, seed: int, first: int
) -> dict[str, Any]:
    """Figures with memory for all models; what a fault plan does to the device is left out."""
    result = replay(trace, with_memory_for_all(config, inventory), inventory, "simulate", seed)
    figures = result.figures
    return figures | (metrics(later_part(result.records, first), config, inventory) if first else {})
