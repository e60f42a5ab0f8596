"""Prices of memory: what a byte is worth at each row, by the linear program, and what prices prove.

:mod:`vramlab.analysis.bounds` says what the program is. What is found here need not be exact: any prices of
at least 0 make a valid bound (:func:`lagrangian`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from vramlab.analysis.intervals import Flags, Floats, Group, Indices, Problem

if TYPE_CHECKING:
    from scipy import sparse

# Longer problems get their prices window by window.
WINDOW_STEPS = 30_000
# How far beyond its core a window looks on each side, as a part of the core.
_MARGIN = 0.1
# The shortest intervals are put into the program at once; the few long ones, which hold most of the
# matrix's non-zeros, only if their model would keep them at the prices found (column generation).
_SHORT = 0.95


def solve_windows(problem: Problem, window_steps: int) -> tuple[Floats, Floats, float, int]:
    """Solve the program at once, or window by window, each looking a margin beyond its core on both sides.

    Returns
    -------
    ndarray, ndarray, float, int
        As :func:`solve`, and the number of windows; with several there is no objective (NaN).
    """
    if problem.steps <= window_steps:
        return *solve(problem), 1
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
    return solution, prices, np.nan, len(edges) - 1


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
        _, wanted = lagrangian(problem, prices)
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
    """Return the bytes that chosen intervals hold at the group's rows, as a matrix, and the rows' steps."""
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
    """Return rows ``kept after - kept before - loaded <= 0`` where loading costs more than skipping.

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


def lagrangian(problem: Problem, prices: Floats) -> tuple[float, Flags]:
    """Return the lower bound that `prices` (seconds per byte) prove, and who keeps its interval at them."""
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
