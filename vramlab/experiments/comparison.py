"""A comparison of policies, orders of serving and servers, next to the offline optimum and the floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from vramlab.allocator import Allocator
from vramlab.analysis.bounds import Bound
from vramlab.config.errors import InputError
from vramlab.experiments.case import Case, ConfigLike, Mode, ModelsLike, TraceLike, names_of, resolve_case
from vramlab.experiments.floor import prices, without_pressure
from vramlab.experiments.html import comparison_html
from vramlab.experiments.intervals import INTERVAL, warmup_of, with_intervals
from vramlab.experiments.optimum import costed, counted, optimum_of
from vramlab.experiments.replay import Replay, flat, run

DEFAULT_POLICIES = ("seed", "seed_fixed", "decayed", "lru", "lfu", "fifo", "gdsf")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Replays of one trace under several policies, and orders, and as several servers.

    Parameters
    ----------
    replays : list of Replay
        In the order of the policies, and for each in that of the orders; then as each server.
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
        """Return one row per policy."""
        frame = pd.DataFrame([flat(row) for row in self.rows])
        if "hit_rate_low" in frame:
            frame.attrs["interval"] = INTERVAL
        return frame

    @property
    def cost(self) -> str:
        """The column to set against the optimum: ``load_cost_s`` where that is all that counts."""
        return "load_cost_s" if self.counts == "load_cost_s" else "cost_s"

    def document(self) -> dict[str, Any]:
        """Return the keys of ``vramlab compare --json``."""
        optimum = self.optimum.document() | {"counts": self.counts}
        document = {"rows": self.rows, "floor": self.floor, "optimum": optimum}
        return document | {"warmup_requests": self.warmup}

    def _repr_html_(self) -> str:
        return comparison_html(self.rows, self.optimum.load_cost_s, self.counts, self.warmup, self.floor)


# Users call it by keyword, so its parameters stand one by one; `compared` takes a case.
def compare(
    trace: TraceLike,
    config: ConfigLike = None,
    models: ModelsLike = None,
    policies: Sequence[str] | None = None,
    mode: Mode = "simulate",
    seed: int = 0,
    overrides: Sequence[str] = (),
    done: Callable[[], object] | None = None,
    intervals: bool = False,
    skip_warmup: bool = False,
    orders: Sequence[str] = (),
    servers: Sequence[str] = (),
) -> Comparison:
    """Replay a trace once per policy and order, and as servers, and bound what any policy could have reached.

    Parameters
    ----------
    trace, config, models, mode, seed, overrides
        As for :func:`~vramlab.experiments.replay.replay`.
    policies, orders, servers
        As for :func:`sides_of`.
    done, intervals, skip_warmup
        As for :func:`compared`.

    Raises
    ------
    InputError
        As :func:`sides_of`, and for bad input.
    """
    case = resolve_case(trace, config, models, overrides, mode=mode, seed=seed)
    sides = sides_of(case, policies, orders, servers)
    return compared(case, sides, intervals=intervals, skip_warmup=skip_warmup, done=done)


def sides_of(
    case: Case,
    policies: Sequence[str] | None = None,
    orders: Sequence[str] = (),
    servers: Sequence[str] = (),
) -> list[Case]:
    """Return what is compared: the case once per policy and order, and as model servers of today.

    Parameters
    ----------
    case : Case
        What is replayed.
    policies : sequence of str
        Names as for ``scoring.policy``. Without them those of :data:`DEFAULT_POLICIES`, or with `orders` or
        `servers` the configuration's alone.
    orders : sequence of str
        Names as for ``serving.order``; without them the configuration's alone.
    servers : sequence of str
        Names of :mod:`vramlab.servers`, each with options as in ``ollama:keep_alive=600``. In their rows
        ``server`` is the name, and ``policy`` says "as" it.

    Raises
    ------
    InputError
        For an unknown policy, order or server, no policy, and orders or servers in decide mode, where no
        request waits.
    """
    orders, servers = names_of(orders), names_of(servers)
    if (orders or servers) and case.mode == "decide":
        what = "orders" if orders else "servers"
        raise InputError(what, "", "mode decide", "mode simulate, as no request waits in decide mode")
    if policies is None:
        policies = [case.config.scoring.policy] if orders or servers else DEFAULT_POLICIES
    policies = names_of(policies)
    if not policies:
        raise InputError("policies", "", "none", "at least one policy")
    sides = [_under(case, *names) for names in product(policies, orders or [case.config.serving.order])]
    sides += [case.as_server(text) for text in servers]
    for one in sides:  # an unknown policy is an error before the first run
        Allocator(one.config, {})
    return sides


def compared(
    case: Case,
    sides: Sequence[Case],
    *,
    intervals: bool = False,
    skip_warmup: bool = False,
    done: Callable[[], object] | None = None,
) -> Comparison:
    """Replay each side of a comparison, and bound what any policy could have reached.

    Parameters
    ----------
    case : Case
        What they have in common, and are held against.
    sides : sequence of Case
        See :func:`sides_of`.
    intervals : bool
        Add bootstrap intervals, and paired differences from the first policy
        (:mod:`vramlab.experiments.intervals`).
    skip_warmup : bool
        Leave out the requests at the start that the MSER-5 rule calls warm-up: for all policies as many as
        for the one that takes longest.
    done : callable, optional
        Called after each replay and after the bound.
    """
    done = done or (lambda: None)
    replays = []
    for one in sides:
        replays.append(run(one))
        done()
    # the baseline is what lru does in the configuration's own order; often it is among those compared
    baseline = "lru", case.config.serving.order
    at = next((place for place, one in enumerate(sides) if _names(one) == baseline), None)
    worst = run(_under(case, *baseline)) if at is None else replays[at]
    runs = [result.records for result in (*replays, worst)]
    first = warmup_of(runs) if skip_warmup else 0
    optimum = optimum_of(case, first)
    floor = counted(case, run(without_pressure(case)), first) if case.mode == "simulate" else None
    done()
    worst_s = costed(case, worst, first)["cost_s"]
    rows = []
    for result in replays:
        row = costed(case, result, first)
        if row["server"] is not None:
            row["policy"] = f"as {row['server']}"
        rows.append(row | {"gap_closed": optimum.gap_closed(row["cost_s"], worst_s)} | prices(row, floor))
    if intervals:
        parts = [result.records.from_request(first) for result in replays]
        found = with_intervals(parts, case, np.random.default_rng(case.seed))
        rows = [row | more for row, more in zip(rows, found, strict=True)]
    return Comparison(replays, rows, optimum.bound, floor, optimum.counts, first)


def _under(case: Case, policy: str, order: str) -> Case:
    return case.changed([f"scoring.policy={policy}", f"serving.order={order}"])


def _names(case: Case) -> tuple[str, str]:
    return case.config.scoring.policy, case.config.serving.order
