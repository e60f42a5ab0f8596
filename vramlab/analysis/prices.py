"""Prices of memory: what a byte is worth at each row, by the linear program, and what prices prove.

:mod:`vramlab.analysis.bounds` says what the program is. What is found here need not be exact: any prices of
at least 0 make a valid bound (:func:`lagrangian`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vramlab.analysis.intervals import Flags, Floats, Group, Indices, Problem

if TYPE_CHECKING:
    from scipy import sparse

# Longer problems get their prices window by window. What a window costs grows with the square of its length:
# so each has a core of a third of that, and looks a tenth of it, which is what counts, beyond on each side.
WINDOW_STEPS = 30_000
_CORE, _MARGIN = 1 / 3, 0.1


def solve_windows(problem: Problem, window_steps: int) -> tuple[Floats, Floats, float, int]:
    """Solve the program at once, or window by window, each looking a margin beyond its core on both sides.

    Returns
    -------
    ndarray, ndarray, float, int
        As :func:`solve`, and the number of windows; with several there is no objective (NaN).
    """
    if problem.steps <= window_steps:
        return *solve(problem), 1
    # a window prices what begins and ends in it: where reuse is long, windows are as long as they may be
    near = np.quantile(problem.end - problem.start, 0.95) <= window_steps * _MARGIN
    core = max(1, int(window_steps * (_CORE if near else 1.0)))
    edges = np.linspace(0, problem.steps, -(-problem.steps // core) + 1).astype(int)
    prices = np.zeros((len(problem.groups), problem.steps))
    solution = np.zeros(len(problem.start))

    def found(edge: tuple[int, int]) -> None:
        first, last = edge
        low, high = max(0, first - margin), min(problem.steps, last + margin)
        part = problem.window(low, high)
        if not len(part.start):
            return
        its_solution, its_prices, _ = solve(part)
        prices[:, first:last] = its_prices[:, first - low : last - low]
        core = (part.end >= first - low) & (part.end < last - low)
        # both lists are in order of `end`, which no two intervals share
        solution[np.searchsorted(problem.end, part.end[core] + low)] = its_solution[core]

    margin = int(window_steps * _MARGIN)
    with ThreadPoolExecutor(_usable_cores()) as threads:  # the solver does not hold Python's lock
        for _ in threads.map(found, pairwise(edges)):
            pass
    return solution, prices, np.nan, len(edges) - 1


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def solve(problem: Problem) -> tuple[Floats, Floats, float]:
    """Solve the program.

    What is kept at a row is what was kept at the row before, and what has begun, less what has ended. With
    that as a variable of its own, an interval stands in two rows, where it begins and where it ends, and not
    in all that it covers. The matrix is that of a flow through a network, as in the paper by Berger and
    others, but for the rows of :func:`_load_rows`.

    Returns
    -------
    ndarray, shape (intervals,); ndarray, shape (groups, steps); float
        Fractions kept, price in seconds per byte at each row, objective in seconds.
    """
    from scipy.optimize import linprog

    unit = float(problem.groups[0].capacity or 1)
    dearer, loads = _load_rows(problem)
    free = len(problem.start) + len(dearer)
    flows = [_flow(problem, group, unit) for group in problem.groups]
    count = sum(len(flow.steps) for flow in flows)
    result = linprog(
        np.concatenate([-problem.skip[problem.end], dearer, np.zeros(count)]),
        A_ub=_matrix([loads], (len(dearer), free + count)),
        b_ub=np.zeros(len(dearer)),
        A_eq=_matrix(_rows_of(flows, free), (count, free + count)),
        b_eq=np.zeros(count),
        bounds=np.column_stack(
            [np.zeros(free + count), np.concatenate([np.ones(free), *(flow.room for flow in flows)])]
        ),
        method="highs-ds",
        options={"simplex_dual_edge_weight_strategy": "devex"},  # half the time of steepest edge
    )
    if result.status != 0:
        raise RuntimeError(f"the linear program of the offline bound was not solved: {result.message}")
    prices = np.zeros((len(problem.groups), problem.steps))
    done = 0
    for price, flow in zip(prices, flows, strict=True):
        worth = result.eqlin.marginals[done : done + len(flow.steps)]
        # what a byte that is kept into a row is worth there, less what it is worth in the next one
        price[flow.steps] = np.maximum(0.0, worth - np.append(worth[1:], 0.0)[: len(worth)]) / unit
        done += len(flow.steps)
    return result.x[: len(problem.start)], prices, float(problem.skip.sum() + result.fun)


_Entries = tuple[Indices, Indices, Floats]  # of a matrix: rows, columns, values


class _Flow(NamedTuple):
    """Rows of a group that may bind: their steps, the room there, what begins and ends since the row before.

    ``room`` is in units of the device's capacity, ``entries`` have a column per interval.
    """

    steps: Indices
    room: Floats
    entries: _Entries


def _flow(problem: Problem, group: Group, unit: float) -> _Flow:
    member = group.members[problem.model]
    own = np.flatnonzero(member[problem.end] & (problem.first_row < problem.end))
    first, end = problem.first_row[own], problem.end[own]
    weight = problem.interval_size[own] / unit
    all_rows = problem.steps + 1
    held = np.cumsum(np.bincount(first, weight, all_rows) - np.bincount(end, weight, all_rows))[:-1]
    room = problem.room(group) / unit
    binds = member & (held > room * (1 + 1e-12))
    place = np.concatenate([[0], np.cumsum(binds)])
    first, end = place[first], place[end]  # among the rows that bind: from `first` to before `end`
    begins, ends = first < end, (first < end) & (end < place[-1])
    rows = np.concatenate([first[begins], end[ends]])
    columns = np.concatenate([own[begins], own[ends]])
    values = np.concatenate([-weight[begins], weight[ends]])
    return _Flow(np.flatnonzero(binds), room[binds], (rows, columns, values))


def _rows_of(flows: Sequence[_Flow], free: int) -> Iterator[_Entries]:
    """Give the entries of all flows; what is kept at their rows has the columns from `free` on."""
    done = 0
    for flow in flows:
        rows, columns, values = flow.entries
        yield rows + done, columns, values
        own = np.arange(done, done + len(flow.steps))
        yield own, free + own, np.ones(len(own))
        yield own[1:], free + own[:-1], -np.ones(len(own[1:]))
        done += len(own)


def _load_rows(problem: Problem) -> tuple[Floats, _Entries]:
    """Return rows ``kept after - kept before - loaded <= 0`` where loading costs more than skipping.

    There is one more variable per step whose load costs more: the part loaded there, at the extra cost, which
    comes first. Where it costs the same, as it does without a CPU, a miss costs what it costs.
    """
    dearer = problem.load[problem.start] - problem.skip[problem.start]
    after = np.flatnonzero(dearer > 0)
    ending = np.full(problem.steps, -1)
    ending[problem.end] = np.arange(len(problem.end))
    before = ending[problem.start[after]]
    has = np.flatnonzero(before >= 0)
    rows = np.arange(len(after))
    columns = np.concatenate([after, before[has], len(problem.start) + rows])
    values = np.concatenate([np.ones(len(after)), -np.ones(len(has)), -np.ones(len(after))])
    return dearer[after], (np.concatenate([rows, has, rows]), columns, values)


def _matrix(entries: Iterable[_Entries], shape: tuple[int, int]) -> sparse.csc_matrix:
    from scipy import sparse

    rows, columns, values = map(np.concatenate, zip(*entries, strict=True))
    return sparse.csc_matrix((values, (rows, columns)), shape=shape)


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
