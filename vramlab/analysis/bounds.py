"""The offline optimum: a lower bound on the load cost that any schedule could have had.

Minimising the total load time with knowledge of the future is a linear program over the intervals of
:mod:`vramlab.analysis.intervals`: x = 1 keeps the model through the interval, and at each row the kept bytes
fit. With models of one size the matrix is an interval matrix, and the program is the optimum itself
(Belady's, weighted); with sizes it is the relaxation used by Berger, Beckmann and Harchol-Balter,
"Practical Bounds on Optimal Caching with Variable Object Sizes", SIGMETRICS 2018.

What is reported is not the solver's objective but the Lagrangian bound of its prices, worked out here. Put
any price of at least 0 on each byte at each row; let every model choose for itself, interval by interval,
between paying rent and being missed; take off what the room was worth. The sum never exceeds the cost of
any schedule, whatever the prices. So neither the solver's tolerances nor prices found window by window can
make the bound invalid, only weaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from vramlab.analysis.intervals import (
    AdmissionRule,
    Flags,
    Floats,
    Group,
    Indices,
    Posed,
    Problem,
    model_sizes,
    one_group,
    pose,
    zone_groups,
)
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import MIB
from vramlab.traces.trace import Trace

if TYPE_CHECKING:
    from scipy import sparse

# Longer problems get their prices window by window.
WINDOW_STEPS = 30_000
# How far beyond its core a window looks on each side, as a part of the core.
_MARGIN = 0.1
# The shortest intervals are put into the program at once; the few long ones, which hold most of the
# matrix's non-zeros, only if their model would keep them at the prices found (column generation).
_SHORT = 0.95

CpuCost = Mapping[str, float] | Floats


@dataclass(frozen=True, eq=False)
class Bound:
    """Lower bound on the cost of any schedule that serves the requests in their order.

    Parameters
    ----------
    load_cost_s : float
        The bound: total load time in seconds, plus the extra cost of CPU answers where they are allowed. The
        first load of a model that is always loaded is not counted.
    load_cost_all_miss_s : float
        Load time if every request were a miss.
    capacity_bytes : int
        Memory for models (for zones: the device budget).
    requests : int
        Requests of the trace.
    admission : str
        ``forced`` or ``bypass``.
    method : str
        How the prices were found, in words.
    compulsory_cost_s : float
        What the first request for each model costs at least: part of the bound at any capacity.
    oversized_requests, oversized_cost_s : int, float
        Requests for models that fit nowhere: counted as a load each, in `load_cost_s` too.
    gap_s : float
        Objective of the linear program less the bound: 0 but for rounding. NaN with windows.
    marginal_s_per_mb : float
        Seconds that the next MB of device memory would save, at the optimum.
    windows : int
        Number of windows; 1 is the whole trace at once.
    keep : ndarray, shape (requests,)
        Fraction of the requested model kept since the request for it before: the solution of the program.
    """

    load_cost_s: float
    load_cost_all_miss_s: float
    capacity_bytes: int
    requests: int
    admission: AdmissionRule
    method: str
    compulsory_cost_s: float
    oversized_requests: int
    oversized_cost_s: float
    gap_s: float
    marginal_s_per_mb: float
    windows: int
    keep: Floats = field(repr=False)

    def document(self) -> dict[str, object]:
        """Return the keys of ``vramlab bound --json``."""
        keys = ("load_cost_s", "load_cost_all_miss_s", "capacity_bytes", "requests", "admission", "method")
        return {key: getattr(self, key) for key in keys}


def offline_bound(
    trace: Trace,
    inventory: Inventory,
    capacity_bytes: int,
    admission: AdmissionRule = "forced",
    cpu_cost: CpuCost | None = None,
    window_steps: int = WINDOW_STEPS,
    counted_from: int = 0,
) -> Bound:
    """Bound the load cost from below for one memory of `capacity_bytes`.

    Parameters
    ----------
    admission : {"forced", "bypass"}
        Whether a missed model is always brought in, or may be served without being kept.
    cpu_cost : mapping of str to float, or ndarray of shape (requests,), optional
        With ``bypass``: extra seconds of an answer from the CPU instead of a load, per model or per request.
        Infinite, or left out of the mapping, where the CPU may not answer.
    window_steps : int
        Problems with more steps get their prices by windows of that many steps.
    counted_from : int
        Requests before this one cost nothing: the bound is on the cost of the others, with whatever a
        schedule may have in memory by then. The figures of the bound are of the others too.

    Raises
    ------
    InputError
        For a model that the inventory lacks, a negative size or cost, an unknown admission.
    """
    size, load = model_sizes(trace, inventory)
    groups, fits = one_group(size, capacity_bytes)
    skip = skip_costs(trace, cpu_cost, admission)
    posed = pose(trace, size, load, groups, fits, admission, skip, counted_from)
    before_s = 0.0 if counted_from else _loaded_before(trace, inventory, fits)
    return _bound(load[trace.model_codes], posed, before_s, admission, window_steps, counted_from)


def zoned_bound(
    trace: Trace,
    inventory: Inventory,
    config: VramConfig,
    admission: AdmissionRule = "forced",
    cpu_cost: CpuCost | None = None,
    window_steps: int = WINDOW_STEPS,
    counted_from: int = 0,
) -> Bound:
    """Bound the load cost from below under the zones, borrowing and device budget of `config`.

    One joint program; ``max_models``, retention and priorities are left out, which keeps it a lower bound.
    A configuration under which some misses load nothing (``compete``, ``free_only``) is bounded by
    ``bypass``, not by ``forced``. Parameters and errors as in :func:`offline_bound`.
    """
    size, load = model_sizes(trace, inventory)
    groups, fits = zone_groups(trace, size, inventory, config)
    skip = skip_costs(trace, cpu_cost, admission)
    posed = pose(trace, size, load, groups, fits, admission, skip, counted_from)
    before_s = 0.0 if counted_from else _loaded_before(trace, inventory, fits)
    return _bound(load[trace.model_codes], posed, before_s, admission, window_steps, counted_from)


def _loaded_before(trace: Trace, inventory: Inventory, fits: Flags) -> float:
    """Load time of the models that are always loaded: spent before the first request, and not counted."""
    specs = [inventory[name] for name in trace.model_names]
    return sum(spec.load_s for spec, fit in zip(specs, fits, strict=True) if spec.always_loaded and fit)


def cpu_extra_cost_s(trace: Trace, inventory: Inventory, performance_ratio: float) -> Floats:
    """Extra seconds per request if the CPU answers: infinite for models that never run there.

    `performance_ratio` is ``fallback.cpu_performance_ratio``. Shape (requests,), for `cpu_cost`.
    """
    model_sizes(trace, inventory)  # names the model that the inventory lacks
    specs = [inventory[name] for name in trace.model_names]
    per_item = np.array(
        [
            max(0.0, spec.cpu_inference_s(performance_ratio) - spec.inference_s)
            if spec.may_run_on_cpu
            else np.inf
            for spec in specs
        ]
    )
    return np.asarray(per_item[trace.model_codes] * trace.items)


def skip_costs(trace: Trace, cpu_cost: CpuCost | None, admission: AdmissionRule) -> Floats | None:
    """Check `cpu_cost` and return one cost per request, or None where the CPU does not answer."""
    if cpu_cost is None:
        return None
    if admission == "forced":
        raise InputError("bound", "cpu_cost", "costs of the CPU", "none with admission `forced`")
    costs: Floats
    if isinstance(cpu_cost, Mapping):
        costs = np.array([cpu_cost.get(name, np.inf) for name in trace.model_names])[trace.model_codes]
    else:
        costs = np.asarray(cpu_cost, dtype=np.float64)
    if costs.shape != (len(trace),):
        raise InputError("bound", "cpu_cost", f"shape {costs.shape}", f"one cost per request ({len(trace)},)")
    if not (costs >= 0).all():
        raise InputError("bound", "cpu_cost", "a negative or missing cost", "seconds of at least 0")
    return costs


def _bound(
    load_costs: Floats,
    posed: Posed,
    before_s: float,
    admission: AdmissionRule,
    window_steps: int,
    counted_from: int = 0,
) -> Bound:
    problem, oversized, repeats = posed
    if window_steps < 2:
        raise InputError("bound", "window_steps", window_steps, "at least 2")
    oversized_cost = float(load_costs[counted_from:][oversized[counted_from:]].sum())
    keep = repeats.astype(np.float64)
    windows, gap = 1, 0.0
    if not len(problem.start):
        cost, prices = float(problem.skip.sum()), np.zeros((len(problem.groups), problem.steps))
    else:
        if problem.steps <= window_steps:
            solution, prices, objective = solve(problem)
        else:
            solution, prices, windows = _solve_windows(problem, window_steps)
            objective = np.nan
        cost, _ = _lagrangian(problem, prices)
        gap = objective - cost
        keep[problem.request[problem.end]] = solution
    first = np.ones(problem.steps, dtype=bool)
    first[problem.end] = False
    # a schedule that begins with these models does at most so much better than one that begins empty
    cost -= before_s
    return Bound(
        load_cost_s=max(0.0, cost) + oversized_cost,
        load_cost_all_miss_s=float(load_costs[counted_from:].sum()),
        capacity_bytes=problem.groups[0].capacity,
        requests=len(load_costs) - counted_from,
        admission=admission,
        method=_METHOD if windows == 1 else f"{_METHOD}, prices from {windows} overlapping windows",
        compulsory_cost_s=max(0.0, float(problem.skip[first].sum()) - before_s) + oversized_cost,
        oversized_requests=int(oversized[counted_from:].sum()),
        oversized_cost_s=oversized_cost,
        gap_s=float(gap),
        marginal_s_per_mb=float(prices[0].sum()) * MIB,
        windows=windows,
        keep=keep,
    )


_METHOD = "linear program over reuse intervals (HiGHS), Lagrangian bound of its prices"


def _solve_windows(problem: Problem, window_steps: int) -> tuple[Floats, Floats, int]:
    """Prices and fractions window by window, each looking a margin beyond its core on both sides."""
    edges = np.linspace(0, problem.steps, -(-problem.steps // window_steps) + 1).astype(int)
    margin = int(window_steps * _MARGIN)
    prices = np.zeros((len(problem.groups), problem.steps))
    solution = np.zeros(len(problem.start))
    for first, last in pairwise(edges):
        low, high = max(0, first - margin), min(problem.steps, last + margin)
        part = problem.window(low, high)
        if not len(part.start):
            continue
        its_solution, its_prices, _ = solve(part)
        prices[:, first:last] = its_prices[:, first - low : last - low]
        core = (part.end >= first - low) & (part.end < last - low)
        # both lists are in order of `end`, which no two intervals share
        solution[np.searchsorted(problem.end, part.end[core] + low)] = its_solution[core]
    return solution, prices, len(edges) - 1


def solve(problem: Problem) -> tuple[Floats, Floats, float]:
    """Solve the program by column generation.

    Returns
    -------
    ndarray, shape (intervals,); ndarray, shape (groups, steps); float
        Fractions kept, price in seconds per byte at each row, objective in seconds.
    """
    length = problem.end - problem.start
    active = length <= np.quantile(length, _SHORT)
    while True:
        chosen = np.flatnonzero(active)
        fractions, prices, objective = _restricted(problem, chosen)
        _, wanted = _lagrangian(problem, prices)
        missing = wanted & ~active
        if not missing.any():
            solution = np.zeros(len(problem.start))
            solution[chosen] = fractions
            return solution, prices, objective
        active |= missing


def _restricted(problem: Problem, chosen: Indices) -> tuple[Floats, Floats, float]:
    """Solve the program over the `chosen` intervals alone."""
    from scipy import sparse
    from scipy.optimize import linprog

    unit = problem.groups[0].capacity or 1
    weight = problem.interval_size[chosen] / unit
    matrices, rooms, where = [], [], []
    for index, group in enumerate(problem.groups):
        matrix, steps = _cover(problem, group, chosen, weight)
        room = problem.room(group)[steps] / unit
        binding = matrix @ np.ones(len(chosen)) > room * (1 + 1e-12)
        matrices.append(matrix[binding])
        rooms.append(room[binding])
        where.append((index, steps[binding]))
    saved = problem.skip[problem.end[chosen]]
    objective, extra = -saved, _load_rows(problem, chosen)
    upper = np.ones(len(chosen))
    if extra is not None:
        # one more variable per step whose load costs more than skipping it: the part loaded there
        dearer, rows = extra
        objective = np.r_[objective, dearer]
        upper = np.r_[upper, np.ones(len(dearer))]
        matrices = [sparse.hstack([m, sparse.csr_matrix((m.shape[0], len(dearer)))]) for m in matrices]
        matrices.append(rows)
        rooms.append(np.zeros(rows.shape[0]))
    matrix, room = sparse.vstack(matrices, format="csc"), np.concatenate(rooms)
    bounds = np.column_stack([np.zeros(len(upper)), upper])
    if matrix.shape[0]:
        result = linprog(objective, A_ub=matrix, b_ub=room, bounds=bounds, method="highs-ds")
    else:
        result = linprog(objective, bounds=bounds, method="highs-ds")
    if result.status != 0:
        raise RuntimeError(f"the linear program of the offline bound was not solved: {result.message}")
    prices = np.zeros((len(problem.groups), problem.steps))
    done = 0
    for index, steps in where:
        marginals = result.ineqlin.marginals[done : done + len(steps)] if matrix.shape[0] else np.zeros(0)
        prices[index, steps] = np.maximum(0.0, -marginals) / unit
        done += len(steps)
    return result.x[: len(chosen)], prices, float(problem.skip.sum() + result.fun)


def _cover(
    problem: Problem, group: Group, chosen: Indices, weight: Floats
) -> tuple[sparse.csr_matrix, Indices]:
    """Matrix of the bytes that the chosen intervals hold at the group's rows, and the steps of the rows."""
    from scipy import sparse

    member = group.members[problem.model]
    position = np.concatenate([[0], np.cumsum(member)])
    columns = np.flatnonzero(member[problem.end[chosen]])
    first = position[problem.first_row[chosen[columns]]]
    count = position[problem.end[chosen[columns]]] - first
    column = np.repeat(columns, count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    matrix = sparse.csr_matrix((weight[column], (row, column)), shape=(int(position[-1]), len(chosen)))
    return matrix, np.flatnonzero(member)


def _load_rows(problem: Problem, chosen: Indices) -> tuple[Floats, sparse.csr_matrix] | None:
    """Rows ``kept after - kept before - loaded <= 0`` where loading costs more than skipping.

    None where it never does: then a miss costs the same whether the model is kept or not.
    """
    from scipy import sparse

    start = problem.start[chosen]
    dearer = problem.load[start] - problem.skip[start]
    after = np.flatnonzero(dearer > 0)
    if not after.size:
        return None
    ending = np.full(problem.steps, -1)
    ending[problem.end[chosen]] = np.arange(len(chosen))
    before = ending[start[after]]
    has = np.flatnonzero(before >= 0)
    rows = np.arange(len(after))
    matrix = sparse.csr_matrix(
        (
            np.concatenate([np.ones(len(after)), -np.ones(len(has)), -np.ones(len(after))]),
            (np.concatenate([rows, has, rows]), np.concatenate([after, before[has], len(chosen) + rows])),
        ),
        shape=(len(after), len(chosen) + len(after)),
    )
    return dearer[after], matrix


def _lagrangian(problem: Problem, prices: Floats) -> tuple[float, Flags]:
    """Lower bound that `prices` (at least 0, seconds per byte) prove, and who keeps its interval at them."""
    rent = np.zeros(len(problem.start))
    room_value = 0.0
    for group, price in zip(problem.groups, prices, strict=True):
        until = np.concatenate([[0.0], np.cumsum(price)])
        pays = group.members[problem.model[problem.end]]
        rent += pays * (until[problem.end] - until[problem.first_row])
        room_value += float(price @ problem.room(group))
    rent *= problem.interval_size
    if np.array_equal(problem.skip, problem.load):
        gain = problem.skip[problem.end] - rent
        cost, keeps = problem.skip.sum() - np.maximum(0.0, gain).sum(), gain > 1e-9
    else:
        cost, keeps = _cheapest_chains(problem, rent)
    return float(cost) - room_value, keeps


def _cheapest_chains(problem: Problem, rent: Floats) -> tuple[float, Flags]:
    """Let each model choose alone at the rents: a shortest path over kept / not kept, step by step."""
    models = problem.model.tolist()
    load, skip = problem.load.tolist(), problem.skip.tolist()
    following = np.full(problem.steps, -1)
    following[problem.start] = np.arange(len(problem.start))
    next_interval, ends = following.tolist(), problem.end.tolist()
    rents = rent.tolist()
    # cheapest cost so far per model when it is not kept, and kept, on the way to its next step
    without = dict.fromkeys(models, 0.0)
    kept = dict.fromkeys(models, np.inf)
    dropped = [False] * problem.steps  # not kept after the step: best reached by dropping it there
    stayed = [False] * problem.steps  # kept after the step: best reached by having it already
    for step, model in enumerate(models):
        absent, present = without[model], kept[model]
        dropped[step] = present < absent + skip[step]
        stayed[step] = present < absent + load[step]
        without[model] = min(absent + skip[step], present)
        interval = next_interval[step]
        kept[model] = min(absent + load[step], present) + (rents[interval] if interval >= 0 else np.inf)
    keeps = np.zeros(len(problem.start), dtype=bool)
    state = dict.fromkeys(models, False)  # walking back: is the model kept after the step?
    interval_before = np.full(problem.steps, -1)
    interval_before[ends] = np.arange(len(ends))
    for step in range(problem.steps - 1, -1, -1):
        model = models[step]
        was = stayed[step] if state[model] else dropped[step]
        if was:
            keeps[interval_before[step]] = True
        state[model] = was
    return sum(without.values()), keeps
