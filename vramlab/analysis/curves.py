"""What more memory would buy: hit rate and load cost over capacity, for LRU and for the offline optimum."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from vramlab.analysis.bounds import offline_bound
from vramlab.analysis.intervals import model_sizes
from vramlab.analysis.schedules import round_schedule
from vramlab.config.schema import Inventory
from vramlab.traces.reuse import reuse_bytes
from vramlab.traces.trace import Trace


def capacity_curve(trace: Trace, inventory: Inventory, capacities_bytes: Sequence[int]) -> pd.DataFrame:
    """Return hit rate and load cost of LRU and of the offline optimum at each capacity.

    Returns
    -------
    DataFrame
        Columns ``policy``, ``capacity_bytes``, ``hit_rate``, ``load_cost_s``. The policies are ``lru``,
        ``offline schedule`` (one that knows the future, and can be had) and ``optimum`` (the lower bound on
        load cost; it bounds no hit rate, which is NaN there).
    """
    rows = []
    for capacity in capacities_bytes:
        hit_rate, cost = lru(trace, inventory, capacity)
        rows.append(("lru", capacity, hit_rate, cost))
        bound = offline_bound(trace, inventory, capacity)
        schedule = round_schedule(bound, trace, inventory)
        rows.append(("offline schedule", capacity, schedule.hit_rate, schedule.load_cost_s))
        rows.append(("optimum", capacity, math.nan, bound.load_cost_s))
    return pd.DataFrame(rows, columns=["policy", "capacity_bytes", "hit_rate", "load_cost_s"])


def lru_curve(trace: Trace, inventory: Inventory, capacities_bytes: Sequence[int]) -> pd.DataFrame:
    """Return hit rate and load cost of plain LRU, as by :func:`lru` but for all capacities at once.

    Exact at every capacity. One pass over the trace serves all that hold the largest model
    (:func:`~vramlab.traces.reuse.reuse_bytes`); smaller ones take a pass for each set of models that fit at
    all, as requests for the others move nothing.

    Returns
    -------
    DataFrame
        Columns as of :func:`capacity_curve`.
    """
    sizes, loads = model_sizes(trace, inventory)
    sizes = np.asarray(sizes, dtype=np.int64)
    codes = trace.model_codes
    costs = np.asarray(loads, dtype=float)[codes]
    passes: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    rows = []
    for capacity in capacities_bytes:
        fitting = int((sizes <= capacity).sum())
        if fitting not in passes:
            fits = (sizes <= capacity)[codes]
            passes[fitting] = reuse_bytes(codes[fits], sizes), costs[fits]
        needed, saved = passes[fitting]
        hits = (needed >= 0) & (needed <= capacity)
        rows.append(("lru", int(capacity), hits.sum() / len(trace), costs.sum() - saved[hits].sum()))
    return pd.DataFrame(rows, columns=["policy", "capacity_bytes", "hit_rate", "load_cost_s"])


def lru(trace: Trace, inventory: Inventory, capacity_bytes: int) -> tuple[float, float]:
    """Return hit rate and load cost in seconds of plain LRU, one memory, no service times.

    Written apart from the allocator, so that each can check the other. A model larger than the memory is
    missed each time, costs a load, and moves nothing.
    """
    sizes, loads = (values.tolist() for values in model_sizes(trace, inventory))
    held: OrderedDict[int, float] = OrderedDict()
    free = float(capacity_bytes)
    hits, cost = 0, 0.0
    for model in trace.model_codes.tolist():
        if model in held:
            held.move_to_end(model)
            hits += 1
            continue
        cost += loads[model]
        size = sizes[model]
        if size > capacity_bytes:
            continue
        while free < size:
            free += held.popitem(last=False)[1]
        held[model] = size
        free -= size
    return hits / len(trace), cost
