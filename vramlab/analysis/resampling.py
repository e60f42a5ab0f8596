"""Many series of one trace resampled together: intervals of each, and of their differences from the first.

The circular block bootstrap of :mod:`vramlab.analysis.statistics`, with the same blocks for every series, so
that what the trace does to all of them alike drops out of their differences, whatever is looked at. No
resampled series is ever built: the sums of all blocks are known beforehand, and a resample adds up some.

Where several settings are held against one, intervals that are each right in 95 of 100 cases are together
wrong more often. So those of the differences are *simultaneous*: all of them hold with 95 % (the single-step
max-t method: P. H. Westfall and S. S. Young, "Resampling-Based Multiple Testing", 1993; J. P. Romano and
M. Wolf, Journal of the American Statistical Association 100, 2005).

Measured in turn with what it replaced (one bootstrap per series and per difference, each with draws of its
own): ``tests/experiments/test_intervals.py`` bounds the memory, CHANGELOG.md has the times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vramlab.analysis.intervals import Floats
from vramlab.analysis.statistics import Interval, Statistic, block_length
from vramlab.config.errors import InputError

_AT_ONCE = 2_000_000  # sums that are gathered at once: 16 MB
_MOST_CELLS = 50_000  # longer series are resampled in cells of several requests


@dataclass(frozen=True)
class Joint:
    """What :func:`jointly` found.

    Parameters
    ----------
    each : list of Interval
        Of each series by itself.
    differences : list of Interval or None
        Of each less the first, simultaneous; None for the first, and where nothing counts in both.
    """

    each: list[Interval]
    differences: list[Interval | None]


def jointly(
    series: Sequence[Floats],
    rng: np.random.Generator,
    statistic: Statistic = "mean",
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Joint:
    """Resample several series of the same requests together.

    Parameters
    ----------
    series : sequence of ndarray, shape (requests,)
        The same measure under each setting; NaN does not count, and in a difference counts in neither.
    statistic : {"mean", "sum"}
        Of a series.

    Raises
    ------
    InputError
        Without a series, with series of different lengths, or one without a value.
    """
    if not series or len({len(one) for one in series}) != 1:
        found = ", ".join(str(len(one)) for one in series) or "none"
        raise InputError("bootstrap", "series", f"lengths {found}", "series of the same requests")
    if any(np.isnan(one).all() for one in series):
        raise InputError("bootstrap", "series", "no value", "at least one request that counts")
    first, n = series[0], len(series[0])
    apart = [one - first for one in series[1:]]
    size = max(*map(block_length, [*series, *apart]), _least(n), 1)
    totals, counts = _resampled([*series, *apart], size, resamples, rng)
    weights = counts if statistic == "mean" else np.ones_like(totals)
    found = np.divide(totals, weights, out=np.full(totals.shape, np.nan), where=weights > 0)
    estimates = [_estimate(one, statistic) for one in [*series, *apart]]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    each = []
    for place, estimate in enumerate(estimates[: len(series)]):
        low, high = np.nanquantile(found[:, place], tails).tolist()
        each.append(Interval(estimate, low, high, confidence, size, resamples))
    spread, reach = simultaneous(found[:, len(series) :], estimates[len(series) :], confidence)
    differences: list[Interval | None] = [None]
    for estimate, one in zip(estimates[len(series) :], spread, strict=True):
        far = reach * one
        interval = Interval(estimate, estimate - far, estimate + far, confidence, size, resamples)
        differences.append(None if np.isnan(estimate) else interval)
    return Joint(each, differences)


def _least(n: int) -> int:
    """Blocks no shorter than the cube root of the series, the order of the best length for a mean."""
    return int(np.ceil(np.cbrt(n))) if n >= 1000 else 1


def _estimate(series: Floats, statistic: Statistic) -> float:
    values = series[~np.isnan(series)]
    if not values.size:
        return float("nan")
    return float(values.mean() if statistic == "mean" else values.sum())


def simultaneous(found: Floats, estimates: list[float], confidence: float) -> tuple[list[float], float]:
    """Standard errors, and how many of them every estimate is within, all at once, with `confidence`."""
    if not estimates:
        return [], 0.0
    off = found - np.array(estimates)
    error = np.sqrt(np.nanmean(off**2, axis=0)) if len(off) else np.zeros(len(estimates))
    varies = error > 0
    if not varies.any():
        return [0.0] * len(estimates), 0.0
    largest = np.nanmax(np.abs(off[:, varies]) / error[varies], axis=1)
    return error.tolist(), float(np.nanquantile(largest, confidence))


def _resampled(
    series: Sequence[Floats], size: int, resamples: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Sums over resampled series, and how many values they are of; shape (resamples, series)."""
    n = len(series[0])
    cell = max(1, min(size // 8, -(-n // _MOST_CELLS)))
    edges = np.arange(0, n, cell)
    columns = []
    for one in series:
        counted = ~np.isnan(one)
        columns += [np.add.reduceat(np.where(counted, one, 0.0), edges)]
    for one in series:
        columns += [np.add.reduceat((~np.isnan(one)).astype(np.float64), edges)]
    cells = np.column_stack(columns)
    length = max(1, round(size / cell))
    blocks, rest = divmod(len(cells), length)
    until = np.vstack([np.zeros(cells.shape[1]), np.cumsum(np.vstack([cells, cells[:length]]), axis=0)])
    whole = until[length : length + len(cells)] - until[: len(cells)]
    part = until[rest : rest + len(cells)] - until[: len(cells)]
    sums = np.empty((resamples, cells.shape[1]))
    at_once = max(1, _AT_ONCE // (max(1, blocks) * cells.shape[1]))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        picked = rng.integers(0, len(cells), size=(rows, blocks))
        sums[start : start + rows] = whole[picked].sum(axis=1) + part[rng.integers(0, len(cells), size=rows)]
    return sums[:, : len(series)], sums[:, len(series) :]
