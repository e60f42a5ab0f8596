"""A comparison of policies, orders of serving and servers, next to baselines, offline optimum and floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from vramlab.allocator import Allocator
from vramlab.analysis.bounds import Bound
from vramlab.config.collecting import collecting_rarely
from vramlab.config.errors import InputError
from vramlab.experiments.baselines import LRU, Baseline, baselines_of
from vramlab.experiments.case import Case, ConfigLike, Mode, ModelsLike, TraceLike, names_of, resolve_case
from vramlab.experiments.costs import unserved
from vramlab.experiments.floor import prices, without_pressure
from vramlab.experiments.html import comparison_html
from vramlab.experiments.intervals import INTERVAL, Counted, warmup_of, with_intervals, zones_cost
from vramlab.experiments.optimum import costed, counted, optimum_of
from vramlab.experiments.remarks import remarks_on
from vramlab.experiments.replay import Replay, flat
from vramlab.experiments.replays import replays_of

DEFAULT_POLICIES = ("seed", "seed_fixed", "decayed", "lru", "lfu", "fifo", "gdsf")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Replays of one trace under several policies, and orders, and as several servers.

    Parameters
    ----------
    case : Case
        What was replayed; its configuration's policy and order vary.
    replays : list of Replay
        In the order of the policies, and for each in that of the orders; then as each server.
    rows : list of dict
        Figures of each, with ``cost_s``: the load cost, where the CPU may answer its extra seconds, and the
        price of what was not served (:mod:`vramlab.experiments.costs`); and ``gap_closed``: (LRU's cost -
        this one's) / (LRU's - the optimum's), where LRU has all of the card's memory as one pool; None with a
        ``gap_reason`` where there is no such share; ``price_mean_s`` and ``price_p99_s``: what mean and 99th
        percentile are above the floor's, None where nothing takes time. With intervals also what
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
    baselines : list of dict
        Rows of what stands outside (:mod:`vramlab.experiments.baselines`), ``baseline`` is the name; where
        one cannot be had, ``error`` says why.
    zones : dict or None
        What the zones cost against one pool with the same policy, for the first row that has such a baseline:
        ``policy``, ``cost_s``, ``pool_cost_s``, ``share`` with ``low`` and ``high`` (95 %, paired).
    """

    case: Case
    replays: list[Replay]
    rows: list[dict[str, Any]]
    optimum: Bound
    floor: dict[str, Any] | None = None
    counts: str = "load_cost_s"
    warmup: int = 0
    baselines: list[dict[str, Any]] = field(default_factory=list)
    zones: dict[str, Any] | None = None

    def frame(self) -> pd.DataFrame:
        """One row per policy."""
        frame = pd.DataFrame([flat(row) for row in self.rows])
        if "hit_rate_low" in frame:
            frame.attrs["interval"] = INTERVAL
        return frame

    @property
    def cost(self) -> str:
        """The column to set against the optimum: ``load_cost_s`` where that is all that counts."""
        return "load_cost_s" if self.counts == "load_cost_s" else "cost_s"

    @property
    def outside(self) -> list[dict[str, Any]]:
        """The baselines that could be had and are not among the rows already."""
        there = {row["config_sha256"] for row in self.rows}
        return [row for row in self.baselines if "error" not in row and row["config_sha256"] not in there]

    def remarks(self) -> list[str]:
        """Return what to know beside the figures, a sentence each."""
        return remarks_on(self.case, self.rows, self.baselines, self.zones)

    def document(self) -> dict[str, Any]:
        """The keys of ``vramlab compare --json``."""
        optimum = self.optimum.document() | {"counts": self.counts}
        document: dict[str, Any] = {"rows": self.rows, "floor": self.floor, "optimum": optimum}
        document |= {"baselines": self.baselines, "zones": self.zones, "remarks": self.remarks()}
        return document | {"warmup_requests": self.warmup}

    def __repr__(self) -> str:
        requests = self.rows[0]["requests"]
        return f"Comparison({len(self.rows)} runs of {requests:,} requests beside {len(self.outside)} others)"

    def _repr_html_(self) -> str:
        return comparison_html(
            [*self.rows, *self.outside], self.optimum.load_cost_s, self.counts, self.warmup, self.floor,
            self.remarks(),
        )  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """What is compared, beside the configuration that a case has.

    Parameters
    ----------
    policies : sequence of str, optional
        Names as for ``scoring.policy``. Without them those of :data:`DEFAULT_POLICIES`, or with `orders` or
        `servers` the configuration's alone.
    orders : sequence of str
        Names as for ``serving.order``; without them the configuration's alone.
    servers : sequence of str
        Names of :mod:`vramlab.servers`, each with options as in ``ollama:keep_alive=600``. In their rows
        ``server`` is the name, and ``policy`` says "as" it.
    own : bool
        The configuration's policy alone where none are named, whatever else is.
    """

    policies: Sequence[str] | None = None
    orders: Sequence[str] = ()
    servers: Sequence[str] = ()
    own: bool = False

    @property
    def names(self) -> list[str]:
        """The policies that are asked for; empty for the configuration's alone."""
        if self.policies is None:
            return [] if self.orders or self.servers or self.own else list(DEFAULT_POLICIES)
        return names_of(self.policies)

    @property
    def runs(self) -> int:
        """Number of replays, without those of baselines."""
        orders, servers = names_of(self.orders), names_of(self.servers)
        return max(1, len(self.names)) * max(1, len(orders)) + len(servers)

    def cases(self, case: Case) -> list[Case]:
        """Return one case per policy and order, and per server.

        Raises
        ------
        InputError
            For an unknown name, before the first run; no policy; and orders or servers in decide mode.
        """
        orders, servers = names_of(self.orders), names_of(self.servers)
        if (orders or servers) and case.mode == "decide":
            expected = "mode simulate, as nobody waits in the other"
            raise InputError("orders" if orders else "servers", "", "mode decide", expected)
        if self.policies is not None and not self.names:
            raise InputError("policies", "", "none", "at least one policy")
        server = case.config.server
        if server is not None and (self.policies is not None or orders):
            expected = f"none beside server {server}, which has its own"
            key, named = ("policies", self.names) if self.policies is not None else ("orders", orders)
            raise InputError(key, "", ", ".join(map(repr, named)), expected)
        policies = (self.names if server is None else []) or [case.config.scoring.policy]
        found = [_under(case, *names) for names in product(policies, orders or [case.config.serving.order])]
        found += [case.as_server(text) for text in servers]
        for one in found:
            Allocator(one.config, {})
        return found


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
    jobs: int | None = 1,
) -> Comparison:
    """Replay a trace once per policy and order, and as servers, and bound what any policy could have reached.

    Parameters
    ----------
    trace, config, models, mode, seed, overrides
        As for :func:`~vramlab.experiments.replay.replay`.
    policies, orders, servers
        See :class:`Compared`.
    done, intervals, skip_warmup, jobs
        As for :func:`compared`. With several `jobs` a policy of one's own is named ``package.module:name``.

    Raises
    ------
    InputError
        As :meth:`Compared.cases`, and for bad input.
    """
    case = resolve_case(trace, config, models, overrides, mode=mode, seed=seed)
    what = Compared(policies, orders, servers)
    return compared(case, what, intervals=intervals, skip_warmup=skip_warmup, done=done, jobs=jobs)


@collecting_rarely()
def compared(
    case: Case,
    what: Compared | None = None,
    *,
    intervals: bool = False,
    skip_warmup: bool = False,
    done: Callable[[], object] | None = None,
    jobs: int | None = 1,
) -> Comparison:
    """Replay a case once per policy and order, and as model servers of today, and its baselines.

    Parameters
    ----------
    case : Case
        What is replayed.
    what : Compared, optional
        What is compared.
    intervals : bool
        Add bootstrap intervals, and paired differences from the first policy
        (:mod:`vramlab.experiments.intervals`).
    skip_warmup : bool
        Leave out the requests at the start that the MSER-5 rule calls warm-up: for all policies as many as
        for the one that takes longest.
    done : callable, optional
        Called after each replay of a policy, order or server, and after the bound.
    jobs : int or None
        Processes on this machine, where there is enough to do; None is one per core.

    Raises
    ------
    InputError
        As :meth:`Compared.cases`.
    """
    cases = (what or Compared()).cases(case)
    done = done or (lambda: None)
    named = [one.config.scoring.policy for one in cases]
    own = case.config.scoring.policy if case.config.scoring.policy in named else named[0]
    outside = baselines_of(case, [own])
    alone = without_pressure(case) if case.mode == "simulate" else None
    beside_them = [one.case for one in outside if one.case is not None]
    ahead = [*cases, *beside_them, *([] if alone is None else [alone])]
    with replays_of(ahead, jobs) as replayed, ThreadPoolExecutor(1) as thread:
        replays, bound = [], None
        for one in cases:
            replays.append(replayed(one))
            done()
            # as soon as it is known what to bound: the solver takes as long as the other replays do meanwhile
            if bound is None and not skip_warmup and unserved(replays[-1].records).any():
                bound = thread.submit(optimum_of, case, 0, True)
        lru = _lru(case, outside[0], replayed)
        of_lru = replayed(lru)
        first = warmup_of([one.records for one in (*replays, of_lru)]) if skip_warmup else 0
        rows = [costed(one, result, first) for one, result in zip(cases, replays, strict=True)]
        worst = costed(lru, of_lru, first)
        if bound is None:
            bound = thread.submit(optimum_of, case, first, any(row["unserved"] for row in (*rows, worst)))
        outside, made = _replayed(outside, replayed)
        if LRU not in made:
            outside, made = [*outside[1:], Baseline(LRU, lru)], made | {LRU: of_lru}
        floor = _floor(alone, replayed, first)
        optimum = bound.result()
        done()
    beside = [_baseline_row(one, made.get(one.name), first) for one in outside]
    for row in (*rows, *(row for row in beside if "error" not in row)):
        if row["server"] is not None:
            row["policy"] = f"as {row['server']}"
        row |= optimum.gap(row, worst["cost_s"]) | prices(row, floor)
    runs = [
        Counted(one, result.records.from_request(first)) for one, result in zip(cases, replays, strict=True)
    ]
    pools = {
        one.name: Counted(one.case, made[one.name].records.from_request(first))
        for one in outside
        if one.case is not None
    }
    if intervals:
        every = [*rows, *(row for row in beside if "error" not in row)]
        found = with_intervals([*runs, *pools.values()], np.random.default_rng(case.seed))
        for row, more in zip(every, found, strict=True):
            row |= more
    zones = zones_cost(own, rows, runs, pools)
    return Comparison(case, replays, rows, optimum.bound, floor, optimum.counts, first, beside, zones)


def _lru(case: Case, pool: Baseline, replayed: Callable[[Case], Replay]) -> Case:
    """Return LRU in one pool, or within the configuration where critical models go with zones only, say."""
    (found,), _ = _replayed([pool], replayed)
    return found.case or _under(case, "lru", case.config.serving.order)


def _replayed(
    outside: Sequence[Baseline], replayed: Callable[[Case], Replay]
) -> tuple[list[Baseline], dict[str, Replay]]:
    """Replay the baselines by name; one for which a recording has no times stays without a case."""
    made: dict[str, Replay] = {}
    kept = []
    for one in outside:
        if one.case is not None:
            try:
                made[one.name] = replayed(one.case)
            except InputError as error:
                one = Baseline(one.name, None, str(error))
        kept.append(one)
    return kept, made


def _floor(alone: Case | None, replayed: Callable[[Case], Replay], first: int) -> dict[str, Any] | None:
    """Figures with memory for all models; None without queues, and where a recording has no times for it."""
    if alone is None:
        return None
    try:
        return counted(alone, replayed(alone), first)
    except InputError:
        return None


def _baseline_row(baseline: Baseline, result: Replay | None, first: int) -> dict[str, Any]:
    if baseline.case is None or result is None:
        return {"baseline": baseline.name, "error": baseline.why}
    return {"baseline": baseline.name} | costed(baseline.case, result, first)


def _under(case: Case, policy: str, order: str) -> Case:
    return case.changed([f"scoring.policy={policy}", f"serving.order={order}"])
