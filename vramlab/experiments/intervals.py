"""How sure the figures of a comparison are: intervals, and paired differences from the first row.

A row gets ``NAME_low`` and ``NAME_high`` (95 %) for ``hit_rate``, ``load_cost_s``, ``cost_s`` and
``latency_mean_s``, and ``versus_first``: per figure ``difference``, ``low``, ``high`` and ``verdict``
(``higher``, ``lower`` or ``tie``; empty for the first row itself). Requests are resampled in blocks of time,
those of all rows together. ``low`` and ``high`` of the differences are simultaneous: with 95 % they hold for
all rows at once, so that one of many settings is not called better by chance
(:mod:`vramlab.analysis.resampling`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vramlab.analysis.intervals import Floats
from vramlab.analysis.resampling import jointly
from vramlab.analysis.statistics import Interval, Statistic, request_series, warmup
from vramlab.experiments.baselines import pool_name
from vramlab.experiments.case import Case
from vramlab.experiments.costs import cost_series
from vramlab.runs.records import Records

INTERVAL = "95 %, blocks of time resampled"
"""What the intervals are of, for plots."""


class Counted(NamedTuple):
    """Records that count, of a run of a case."""

    case: Case
    records: Records


def warmup_of(runs: Sequence[Records]) -> int:
    """Return requests at the start to leave out for all runs: the longest warm-up of their hits (MSER-5)."""
    return max(warmup(request_series(records, "hit")).requests for records in runs)


def with_intervals(runs: Sequence[Counted], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return what the rows of the runs get.

    Parameters
    ----------
    runs : sequence of Counted
        Of the same requests.
    rng : numpy.random.Generator
        Draws the resamples.
    """
    rows: list[dict[str, Any]] = [{"versus_first": {}} for _ in runs]
    for name, measure, statistic in _FIGURES:
        series = [measure(one) for one in runs]
        known = [
            place for place, one in enumerate(series) if np.isfinite(one).any() and not np.isinf(one).any()
        ]
        if not known:
            continue
        joint = jointly([series[place] for place in known], rng, statistic)
        for place, own, difference in zip(known, joint.each, joint.differences, strict=True):
            rows[place] |= {f"{name}_low": own.low, f"{name}_high": own.high}
            if difference is not None and known[0] == 0:
                rows[place]["versus_first"][name] = versus(difference)
    return rows


def versus(difference: Interval) -> dict[str, Any]:
    """Return a difference as rows have it."""
    verdict = "tie"
    if not difference.low <= 0 <= difference.high:
        verdict = "lower" if difference.estimate < 0 else "higher"
    return {
        "difference": difference.estimate,
        "low": difference.low,
        "high": difference.high,
        "verdict": verdict,
    }


def cost_share(run: Counted, base: Counted, seed: int) -> dict[str, float]:
    """Return by which share a run costs more than another of the same requests, with 95 %, paired."""
    mine, others = cost_series(*run), cost_series(*base)
    whole_s = float(others.sum())
    if not np.isfinite(mine).all() or not np.isfinite(others).all() or whole_s <= 0:
        return {"share": float("nan"), "low": float("nan"), "high": float("nan")}
    _, difference = jointly([others, mine], np.random.default_rng(seed), "sum").differences
    assert difference is not None  # both have costs for every request
    return {
        "share": difference.estimate / whole_s,
        "low": difference.low / whole_s,
        "high": difference.high / whole_s,
    }


def zones_cost(
    policy: str, rows: Sequence[Mapping[str, Any]], runs: Sequence[Counted], pools: Mapping[str, Counted]
) -> dict[str, Any] | None:
    """Return what zones cost against one pool with the same policy; None where no row has it.

    Parameters
    ----------
    policy : str
        Whose rows and pool are compared.
    rows, runs
        Of what was compared, in the same order.
    pools : mapping of str to Counted
        Baselines by name.
    """
    for row, run in zip(rows, runs, strict=True):
        pool = pools.get(pool_name(policy))
        if pool is not None and row["policy"] == policy:
            costs = {"cost_s": row["cost_s"], "pool_cost_s": float(cost_series(*pool).sum())}
            return {"policy": policy} | costs | cost_share(run, pool, run.case.seed)
    return None


def _series(measure: Any, one: Counted) -> Floats:
    stated = one.case.inventory if one.case.mode == "decide" else None
    return request_series(one.records, measure, stated)


_FIGURES: tuple[tuple[str, Callable[[Counted], Floats], Statistic], ...] = (
    ("hit_rate", partial(_series, "hit"), "mean"),
    ("load_cost_s", partial(_series, "load_cost_s"), "sum"),
    ("cost_s", lambda one: cost_series(*one), "sum"),
    ("latency_mean_s", partial(_series, "latency_s"), "mean"),
)
