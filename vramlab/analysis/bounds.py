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

import numpy as np

from vramlab.analysis.intervals import (
    AdmissionRule,
    Flags,
    Floats,
    Posed,
    Problem,
    model_sizes,
    one_group,
    pose,
    specs_of,
    zone_groups,
)
from vramlab.analysis.prices import WINDOW_STEPS, lagrangian, solve_windows
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, VramConfig, of_each
from vramlab.config.units import MIB
from vramlab.traces.trace import Trace

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


# Users call it by keyword.
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
        Problems with more steps get their prices window by window, a third of that many steps each.
    counted_from : int
        Requests before this one cost nothing: the bound is on the cost of the others, with whatever a
        schedule may have in memory by then. The figures of the bound are of the others too.

    Raises
    ------
    InputError
        For a model that the inventory lacks, a negative size or cost, an unknown admission.
    """
    size, load = model_sizes(trace, inventory)
    memory = one_group(size, capacity_bytes)
    skip = skip_costs(trace, cpu_cost, admission)
    posed = pose(trace, (size, load), memory, admission, skip, counted_from)
    before_s = 0.0 if counted_from else _loaded_before(trace, inventory, memory[1])
    return _bound(load[trace.model_codes], posed, before_s, admission, window_steps, counted_from)


# The parameters of `offline_bound`, with zones in place of one capacity.
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
    memory = zone_groups(trace, size, inventory, config)
    skip = skip_costs(trace, cpu_cost, admission)
    posed = pose(trace, (size, load), memory, admission, skip, counted_from)
    before_s = 0.0 if counted_from else _loaded_before(trace, inventory, memory[1])
    return _bound(load[trace.model_codes], posed, before_s, admission, window_steps, counted_from)


def _loaded_before(trace: Trace, inventory: Inventory, fits: Flags) -> float:
    """Load time of the models that are always loaded: spent before the first request, and not counted."""
    specs = zip(specs_of(trace, inventory), fits, strict=True)
    return sum(spec.load_s for spec, fit in specs if spec.always_loaded and fit)


def cpu_extra_per_item_s(trace: Trace, inventory: Inventory, performance_ratio: float) -> Floats:
    """Return extra seconds per item if the CPU answers: infinite for models that never run there.

    `performance_ratio` is ``fallback.cpu_performance_ratio``. Shape (models,), in the trace's order.
    """

    def extra_s(spec: ModelSpec) -> float:
        if not spec.may_run_on_cpu:
            return np.inf
        return max(0.0, spec.cpu_inference_s(performance_ratio) - spec.inference_s)

    return np.array(of_each(specs_of(trace, inventory), extra_s))


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
        solution, prices, objective, windows = solve_windows(problem, window_steps)
        cost, _ = lagrangian(problem, prices)
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
        method=_METHOD if windows == 1 else _windowed(problem, windows, window_steps),
        compulsory_cost_s=max(0.0, float(problem.skip[first].sum()) - before_s) + oversized_cost,
        oversized_requests=int(oversized[counted_from:].sum()),
        oversized_cost_s=oversized_cost,
        gap_s=float(gap),
        marginal_s_per_mb=float(prices[0].sum()) * MIB,
        windows=windows,
        keep=keep,
    )


def _windowed(problem: Problem, windows: int, window_steps: int) -> str:
    """Say of how many windows prices are, and whether many reuses are longer than any of them."""
    text = f"{_METHOD}, prices from {windows} overlapping windows"
    far = float(np.mean(problem.end - problem.start > 1.2 * window_steps)) if len(problem.start) else 0.0
    return text + (f"; {far:.0%} of reuses are longer than any window: it is weaker" if far >= 0.01 else "")


_METHOD = "linear program over reuse intervals (HiGHS), Lagrangian bound of its prices"
