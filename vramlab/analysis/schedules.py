"""An offline schedule that can be had: the linear program's solution, rounded.

The bound says what no schedule can beat; the schedule says what one does reach. The true optimum lies
between the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vramlab.analysis.bounds import Bound, CpuCost, skip_costs
from vramlab.analysis.intervals import (
    AdmissionRule,
    Flags,
    Floats,
    Indices,
    Posed,
    Problem,
    model_sizes,
    one_group,
    pose,
    zone_groups,
)
from vramlab.analysis.prices import WINDOW_STEPS, solve
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.traces.trace import Trace


@dataclass(frozen=True, eq=False)
class Schedule:
    """Who is kept in memory, request by request, and what it costs.

    Parameters
    ----------
    load_cost_s : float
        Total load time in seconds, plus the extra cost of CPU answers where they are allowed.
    hits, misses : int
        Requests that found their model in memory, and the others.
    hit_rate : float
        Hits over requests.
    admission : str
        ``forced`` or ``bypass``.
    kept : ndarray of bool, shape (requests,)
        Whether the requested model stayed in memory since the request for it before.
    """

    load_cost_s: float
    hits: int
    misses: int
    hit_rate: float
    admission: AdmissionRule
    kept: Flags = field(repr=False)


def round_schedule(
    bound: Bound, trace: Trace, inventory: Inventory, cpu_cost: CpuCost | None = None
) -> Schedule:
    """Round the solution behind `bound` (:func:`~vramlab.analysis.bounds.offline_bound`) to a schedule.

    Intervals are taken greedily, largest fraction first, and among equal ones by the seconds saved per byte
    and row; each is kept if it still fits at every row. `trace`, `inventory` and `cpu_cost` are those that
    the bound was made from.
    """
    size, load = model_sizes(trace, inventory)
    skip = skip_costs(trace, cpu_cost, bound.admission)
    if len(bound.keep) != len(trace):
        raise InputError(
            "schedule", "bound", f"a bound of {len(bound.keep)} requests", f"one of {len(trace)}"
        )
    posed = pose(trace, (size, load), one_group(size, bound.capacity_bytes), bound.admission, skip)
    return _schedule(bound, trace, posed, load, bound.keep[posed.problem.request[posed.problem.end]])


def round_zoned_schedule(
    bound: Bound, trace: Trace, inventory: Inventory, config: VramConfig, cpu_cost: CpuCost | None = None
) -> Schedule:
    """Round the solution behind a :func:`~vramlab.analysis.bounds.zoned_bound` to a schedule.

    Each model lies in the first of its places that is large enough and borrows nothing: always possible,
    not always best.
    """
    size, load = model_sizes(trace, inventory)
    memory = zone_groups(trace, size, inventory, config, borrow=False)
    skip = skip_costs(trace, cpu_cost, bound.admission)
    posed = pose(trace, (size, load), memory, bound.admission, skip)
    # the joint solution may rest on borrowing: without it the zones are solved anew, where that is quick
    far = posed.problem.steps > WINDOW_STEPS
    return _schedule(
        bound, trace, posed, load, bound.keep[posed.problem.request[posed.problem.end]] if far else None
    )


def _schedule(bound: Bound, trace: Trace, posed: Posed, load: Floats, fraction: Floats | None) -> Schedule:
    problem, oversized, repeats = posed
    kept = repeats.copy()
    keeps = np.zeros(len(problem.start), dtype=bool)
    if len(problem.start):
        keeps = _fill(problem, _order(problem, solve(problem)[0] if fraction is None else fraction))
    kept[problem.request[problem.end[keeps]]] = True
    hits = int(kept.sum())
    return Schedule(
        load_cost_s=_cost(problem, keeps) + float(load[trace.model_codes[oversized]].sum()),
        hits=hits,
        misses=len(trace) - hits,
        hit_rate=hits / len(trace),
        admission=bound.admission,
        kept=kept,
    )


def _order(problem: Problem, fraction: Floats) -> Indices:
    """Return intervals, most wanted first."""
    rows = np.maximum(problem.end - problem.first_row, 1)
    worth = problem.skip[problem.end] / (problem.interval_size * rows)
    # fractions that differ by the solver's noise alone are equal
    return np.lexsort((-worth, -np.round(fraction, 6)))


def _fill(problem: Problem, order: Indices) -> Flags:
    """Keep each interval, in this order, if it fits beside those kept before it."""
    keeps = np.zeros(len(problem.start), dtype=bool)
    free = [problem.room(group).copy() for group in problem.groups]
    for rows, group in zip(free, problem.groups, strict=True):
        # another group's request takes nothing here, and its row says no more than the rows beside it
        rows[~group.members[problem.model]] = group.capacity
    of_model = [
        [rows for group, rows in zip(problem.groups, free, strict=True) if group.members[model]]
        for model in range(len(problem.size))
    ]
    first, end = problem.first_row.tolist(), problem.end.tolist()
    models, size = problem.model[problem.end].tolist(), problem.interval_size.tolist()
    for interval in order.tolist():
        spans = [rows[first[interval] : end[interval]] for rows in of_model[models[interval]]]
        if all(span.size == 0 or span.min() >= size[interval] for span in spans):
            for span in spans:
                span -= size[interval]
            keeps[interval] = True
    return keeps


def _cost(problem: Problem, keeps: Flags) -> float:
    """Return the cost of a schedule: a hit costs nothing, a model that is kept after a miss is loaded."""
    before = np.zeros(problem.steps, dtype=bool)
    after = np.zeros(problem.steps, dtype=bool)
    before[problem.end[keeps]] = True
    after[problem.start[keeps]] = True
    costs = np.where(after, problem.load, problem.skip)
    return float(costs[~before].sum())
