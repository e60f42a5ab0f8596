"""Hit rate and load cost of one policy over capacity: what more memory would buy.

The memory is plain: one zone, no overhead, no retention, no CPU; every load is instant (``--mode decide``). A
model that is larger than the memory is missed each time, costs its load, and moves nothing: ``unserved``
counts its requests, and ``cost_s`` has their price (``study.unserved_price``) in place of their loads.
Nothing is always loaded, and critical models count as high ones: they may leave.

LRU needs one pass for all capacities and is exact (:func:`~vramlab.analysis.curves.lru_curve`). Any other
policy is replayed once per capacity, which is exact too, or on samples of a long trace:

- *Samples of models* (Waldspurger, Saemundsson, Ahmad and Park, "Cache modeling and optimization using
  miniature simulations", USENIX ATC 2017): the models are dealt out at random, each part with its requests
  meets its share of the memory. Where a part has few models, one of them is all that counts, and the result
  says nothing: under 100 models per part it is refused.
- *Samples of time*: stretches of the trace, the first half of each to warm up. That is valid with a dozen
  models too, but what a policy knows of the time before is missing: a request for a model that the stretch
  has not seen yet counts as a miss. How many such there are bounds the error of LRU to one side; a policy
  that remembers long (lfu) can be off by more.

The standard error is that of the spread between parts or stretches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from vramlab.allocator import make_allocator
from vramlab.analysis.curves import lru_curve
from vramlab.config.errors import InputError, check_choice
from vramlab.config.plain import plain_memory, plain_models
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.case import Case
from vramlab.experiments.costs import prices_s
from vramlab.experiments.executors import check_jobs, execute
from vramlab.simulation.decide import decide
from vramlab.traces.trace import Trace, check_models

SampledBy = Literal["models", "time"]

POINTS = 20
_LEAST_MODELS = 100  # in each part of the models
_MOST_PARTS = 8  # that are replayed
_STRETCHES = 10

COLUMNS = [
    "policy", "capacity_bytes", "hit_rate", "load_cost_s", "hit_rate_error", "load_cost_error_s",
    "hit_rate_missed", "method", "unserved", "cost_s",
]  # fmt: skip


class _Sample(NamedTuple):
    """Requests to replay; the first `warm_up` of them count for nothing."""

    trace: Trace
    memory_share: float  # of the capacity
    warm_up: int
    unseen: float  # share of what counts that is new to the sample, and was not to the trace


class _Study(NamedTuple):
    samples: list[_Sample]
    config: VramConfig
    inventory: Inventory


@dataclass(frozen=True)
class Sampling:
    """What is replayed of a long trace.

    Parameters
    ----------
    share : float
        Share of the requests, roughly.
    by : {"models", "time"}
        What samples are made of.
    """

    share: float
    by: SampledBy = "models"


def even_capacities(trace: Trace, inventory: Inventory, points: int = POINTS) -> list[int]:
    """Return capacities in equal steps, up to that which holds all models of the trace."""
    check_models(trace, inventory)
    total = sum(inventory[name].footprint_bytes for name in trace.model_names)
    return sorted({max(1, total * step // points) for step in range(1, points + 1)})


def curve(
    case: Case,
    policy: str = "lru",
    capacities_bytes: Sequence[int] = (),
    sampling: Sampling | None = None,
    jobs: int | None = 1,
    done: Callable[[], object] | None = None,
) -> pd.DataFrame:
    """Return hit rate and load cost of a policy at each capacity.

    Parameters
    ----------
    case : Case
        What is replayed. Scoring and admission of its configuration count, its memory does not; its seed
        draws the samples.
    policy : str
        As for ``scoring.policy``.
    capacities_bytes : sequence of int
        In bytes; twenty in equal steps where none are given.
    sampling : Sampling, optional
        All requests are replayed without it, and always for LRU.
    jobs : int or None
        Processes; None is one per core.
    done : callable, optional
        Called after each capacity.

    Returns
    -------
    DataFrame
        One row per capacity: ``policy``, ``capacity_bytes``, ``hit_rate``, ``load_cost_s`` (of the whole
        trace), their standard errors ``hit_rate_error`` and ``load_cost_error_s`` (0 where nothing was
        sampled), ``hit_rate_missed`` (up to so much the rate may be too low for want of history) and
        ``method``; ``unserved`` and ``cost_s``. NaN where a sample's memory is too small for some model that
        the whole memory would hold.

    Raises
    ------
    InputError
        For an unknown policy, a capacity of less than a byte, or a sample that would say nothing.
    """
    # whatever the policy: LRU needs neither, and a wrong one would show with the next policy only
    check_jobs(jobs)
    if sampling is not None:
        check_choice("--sample-by", "", sampling.by, get_args(SampledBy))
        if not 0 < sampling.share < 1:
            raise InputError("--sample", "", sampling.share, "more than 0, less than 1")
    trace = case.trace
    capacities = list(capacities_bytes) or even_capacities(trace, case.inventory)
    for capacity in capacities:
        if capacity < 1:
            raise InputError("capacities", "", capacity, "at least 1 byte")
    inventory = plain_models(case.inventory)
    config = case.changed([f"scoring.policy={policy}"]).config
    make_allocator(config, {})  # an unknown policy is an error before the first run
    if policy == "lru" and config.admission == "always":
        exact = lru_curve(trace, inventory, capacities)
        return exact.assign(
            hit_rate_error=0.0, load_cost_error_s=0.0, hit_rate_missed=0.0, method="one pass, exact"
        ).pipe(_priced, case)[COLUMNS]
    samples = [_Sample(trace, 1.0, 0, 0.0)]
    if sampling is not None:
        draw = {"models": _by_models, "time": _by_time}[sampling.by]
        samples = draw(trace, inventory, sampling.share, np.random.default_rng(case.seed))
    rows = {}
    for ended in execute(_point, _Study(samples, config, inventory), capacities, jobs):
        if ended.error:
            raise InputError("curve", f"at {ended.task} bytes", ended.error, "a run that succeeds")
        rows[ended.task] = ended.result
        if done is not None:
            done()
    method = "replayed, exact" if sampling is None else f"{len(samples)} samples of {sampling.by}"
    missed = float(np.mean([one.unseen for one in samples]))
    table = [(policy, capacity, *rows[capacity], missed, method) for capacity in capacities]
    return pd.DataFrame(table, columns=COLUMNS[:-2]).pipe(_priced, case)


def _priced(table: pd.DataFrame, case: Case) -> pd.DataFrame:
    """Add how many requests are for models larger than the memory, and the cost with their price."""
    specs = [case.inventory[name] for name in case.trace.model_names]
    sizes = np.array([spec.footprint_bytes for spec in specs])[case.trace.model_codes]
    loads_s = np.array([spec.load_s for spec in specs])[case.trace.model_codes]
    more_s = prices_s(case) - loads_s
    large = [sizes > capacity for capacity in table["capacity_bytes"]]
    return table.assign(
        unserved=[int(which.sum()) for which in large],
        cost_s=table["load_cost_s"] + np.array([float(more_s[which].sum()) for which in large]),
    )


def _point(study: _Study, capacity_bytes: int) -> tuple[float, float, float, float]:
    """Return (hit rate, load cost, and the standard errors of both) at one capacity."""
    counted, hits, costs = [], [], []
    everywhere = {name for one in study.samples for name in one.trace.model_names}
    largest = max(study.inventory[name].footprint_bytes for name in everywhere)
    for one in study.samples:
        memory = int(capacity_bytes * one.memory_share)
        if one.memory_share < 1 and memory < min(largest, capacity_bytes):
            return (np.nan,) * 4
        records = decide(one.trace, plain_memory(study.config, max(1, memory)), study.inventory)
        hit = (records.outcomes == Outcome.HIT)[one.warm_up :]
        loads = np.array([study.inventory[name].load_s for name in one.trace.model_names])
        counted.append(len(hit))
        hits.append(int(hit.sum()))
        costs.append(float(loads[one.trace.model_codes[one.warm_up :]][~hit].sum()))
    rate, rate_error = _ratio(hits, counted)
    cost, cost_error = _ratio(costs, counted)
    requests = study.samples[0].trace.metadata.get("requests")
    of_all = int(requests) if requests else counted[0]
    return rate, cost * of_all, rate_error, cost_error * of_all


def _ratio(values: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """Sum over sum, and its standard error from the spread (Cochran, "Sampling Techniques", 6.4)."""
    value, count = np.array(values, dtype=float), np.array(counts, dtype=float)
    ratio, parts = value.sum() / count.sum(), len(value)
    if parts == 1:
        return float(ratio), 0.0
    residuals = value - ratio * count
    return float(ratio), float(np.sqrt(parts / (parts - 1) * (residuals**2).sum()) / count.sum())


def _by_models(trace: Trace, inventory: Inventory, share: float, rng: np.random.Generator) -> list[_Sample]:
    """Return the parts of the models with their requests."""
    names = trace.model_names
    parts = max(2, round(1 / share))
    least = len(names) // parts
    if least < _LEAST_MODELS:
        found = f"{share:g} of {len(names)} models"
        expected = f"at least {_LEAST_MODELS} models in a sample; take --sample-by time, or no sample"
        raise InputError("--sample", "", found, expected)
    part_of = np.empty(len(names), dtype=np.int64)
    part_of[rng.permutation(len(names))] = np.arange(len(names)) % parts
    sizes = np.array([inventory[name].footprint_bytes for name in names])
    samples = []
    for part in range(min(parts, _MOST_PARTS)):
        rows = np.flatnonzero((part_of == part)[trace.model_codes])
        memory_share = float(sizes[part_of == part].sum() / sizes.sum())
        samples.append(_Sample(_part(trace, rows), memory_share, 0, 0.0))
    return samples


def _by_time(trace: Trace, inventory: Inventory, share: float, rng: np.random.Generator) -> list[_Sample]:
    """Return the stretches of the trace, one from each of equal parts of it, from a random place on."""
    requests, models = len(trace), len(trace.model_names)
    part = requests // _STRETCHES
    length = int(part * share)
    if length // 2 < 10 * models:
        found = f"{share:g} of {requests:,} requests"
        expected = f"stretches of at least {20 * models:,} requests for {models} models; leave --sample out"
        raise InputError("--sample", "", found, expected)
    samples = []
    for number in range(_STRETCHES):
        first = number * part + int(rng.integers(part - length + 1))
        rows = np.arange(first, first + length)
        codes, warm_up = trace.model_codes[rows], length // 2
        before = np.isin(codes, trace.model_codes[:first])
        firsts = np.zeros(length, dtype=bool)
        firsts[np.unique(codes, return_index=True)[1]] = True
        unseen = (firsts & before)[warm_up:].mean()
        samples.append(_Sample(_part(trace, rows), 1.0, warm_up, float(unseen)))
    return samples


def _part(trace: Trace, rows: np.ndarray) -> Trace:
    frame = trace.frame.iloc[rows].reset_index(drop=True)
    return Trace(frame, trace.source, {"requests": str(len(trace))})
