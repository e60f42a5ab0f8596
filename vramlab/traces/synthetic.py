"""Synthetic workloads: popularity with drift, and pipelines of models; all randomness from one Generator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.traces.trace import Trace

# Part of the popularity ranks that changes places at the start of each drift period.
_DRIFTING = 0.25


def zipf_trace(
    rng: np.random.Generator,
    *,
    models: Sequence[str],
    requests: int,
    rate_per_s: float,
    exponent: float = 0.9,
    burstiness: float = 1.0,
    drift_period_s: float | None = None,
    repeat: float = 0.0,
) -> Trace:
    """Requests for models of unequal popularity.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness: the same state gives the same trace.
    models : sequence of str
        Most popular first (at the start, where popularity drifts).
    requests : int
        Number of requests.
    rate_per_s : float
        Mean requests per second.
    exponent : float
        The model of rank r is asked for in proportion to ``r ** -exponent``; 0 makes all equal.
    burstiness : float
        Coefficient of variation of the (gamma-distributed) times between requests; 1 is Poisson, 0 a clock.
    drift_period_s : float, optional
        In each such period in which there are requests, a quarter of the ranks, drawn at random, changes
        places. None: popularity stays.
    repeat : float
        Probability that a request asks for the same model as the one before it.

    Raises
    ------
    InputError
        Naming the argument.
    """
    _check("zipf_trace", "models", list(models), len(models) > 0, "at least one model name")
    _check("zipf_trace", "requests", requests, requests >= 1, "at least 1")
    _check("zipf_trace", "exponent", exponent, math.isfinite(exponent), "a finite number")
    _check("zipf_trace", "repeat", repeat, 0 <= repeat <= 1, "a probability")
    if drift_period_s is not None:
        _check("zipf_trace", "drift_period_s", drift_period_s, drift_period_s > 0, "more than 0, or None")
    times = _arrival_times(rng, requests, rate_per_s, burstiness, "zipf_trace")
    weights = np.arange(1, len(models) + 1, dtype=np.float64) ** -exponent
    chosen = rng.choice(len(models), size=requests, p=weights / weights.sum())
    if drift_period_s is not None:
        chosen = _drifted(rng, chosen, times, drift_period_s, len(models))
    # a request that repeats takes its model from the last one before it that does not
    repeats = rng.random(requests) < repeat
    chosen = chosen[np.maximum.accumulate(np.where(repeats, 0, np.arange(requests)))]
    return _trace(times, np.array(models, dtype=object)[chosen], "<zipf>")


def pipeline_trace(
    rng: np.random.Generator,
    *,
    stages: Sequence[tuple[str, float]],
    arrivals: int,
    rate_per_s: float,
    burstiness: float = 1.0,
    gap_s: float = 0.0,
    background: Mapping[str, float] | None = None,
) -> Trace:
    """Requests of a pipeline, in which one model's request leads to those of the next.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness: the same state gives the same trace.
    stages : sequence of (str, float)
        Model and probability. Every arrival causes the first stage, whose probability must be 1; each
        later stage follows with its own probability, independently of the other stages.
    arrivals : int
        Number of arrivals.
    rate_per_s : float
        Mean arrivals per second.
    burstiness : float
        Coefficient of variation of the times between arrivals, as in :func:`zipf_trace`.
    gap_s : float
        Stage k (counted from 0) comes ``k * gap_s`` after the arrival.
    background : mapping of str to float, optional
        Model to rate per second of requests that have nothing to do with the pipeline (Poisson, from time
        0 to the last stage that an arrival can cause).

    Raises
    ------
    InputError
        Naming the argument.
    """
    _check("pipeline_trace", "stages", list(stages), len(stages) > 0, "at least one stage")
    _check("pipeline_trace", "arrivals", arrivals, arrivals >= 1, "at least 1")
    _check("pipeline_trace", "gap_s", gap_s, 0 <= gap_s < math.inf, "0 or more, finite")
    starts = _arrival_times(rng, arrivals, rate_per_s, burstiness, "pipeline_trace")
    end_s = float(starts[-1]) + gap_s * (len(stages) - 1)
    streams: list[tuple[str, np.ndarray]] = []
    for number, (model, probability) in enumerate(stages):
        first = number == 0
        good = probability == 1 if first else 0 <= probability <= 1
        key, expected = (
            f"stages[{number}]",
            "probability 1, as every arrival causes it" if first else "a probability",
        )
        _check("pipeline_trace", key, probability, good, expected)
        taken = rng.random(arrivals) < probability
        streams.append((model, starts[taken] + number * gap_s))
    for model, rate in (background or {}).items():
        _check("pipeline_trace", f"background[{model!r}]", rate, 0 <= rate < math.inf, "0 or more per second")
        streams.append((model, np.sort(rng.uniform(0.0, end_s, size=rng.poisson(rate * end_s)))))
    times = np.concatenate([stream for _, stream in streams])
    names = np.repeat(
        np.array([model for model, _ in streams], dtype=object), [len(stream) for _, stream in streams]
    )
    order = np.argsort(times, kind="stable")
    return _trace(times[order], names[order], "<pipeline>")


def _arrival_times(
    rng: np.random.Generator, count: int, rate_per_s: float, burstiness: float, caller: str
) -> np.ndarray:
    _check(caller, "rate_per_s", rate_per_s, 0 < rate_per_s < math.inf, "more than 0, finite")
    _check(caller, "burstiness", burstiness, 0 <= burstiness < math.inf, "0 or more, finite")
    if burstiness == 0:
        return np.arange(1, count + 1) / rate_per_s
    variance = burstiness**2
    return np.cumsum(rng.gamma(1 / variance, variance / rate_per_s, size=count))


def _drifted(
    rng: np.random.Generator, ranks: np.ndarray, times: np.ndarray, period_s: float, count: int
) -> np.ndarray:
    """Models of the ranks asked for, where the order of the models changes from period to period."""
    period = np.floor_divide(times, period_s)
    starts = np.flatnonzero(np.diff(period)) + 1
    moving = min(count, max(2, round(count * _DRIFTING)))
    order = np.arange(count)
    chosen = np.empty_like(ranks)
    for first, last in zip([0, *starts], [*starts, len(ranks)], strict=True):
        if first > 0:
            places = rng.choice(count, size=moving, replace=False)
            order[places] = order[np.roll(places, 1)]
        chosen[first:last] = order[ranks[first:last]]
    return chosen


def _trace(times: np.ndarray, names: np.ndarray, source: str) -> Trace:
    return Trace.from_frame(pd.DataFrame({"time_s": times, "model": pd.Series(names, dtype=object)}), source)


def _check(source: str, key: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise InputError(source, key, value, expected)
