"""How sure a difference is: warm-up cut off by rule, intervals by block bootstrap, paired comparison.

All series are per request, in the order of arrival; NaN marks a request that does not count (for a hit rate:
one that the result cache answered). Requests close in time are alike, so everything here resamples blocks of
consecutive requests and never single ones.

Sources: MSER-5: White, "An effective truncation heuristic for bias reduction in simulation output",
Simulation 69 (1997), and White, Cobb and Spratt (WSC 2000). Circular block bootstrap: Politis and Romano
(1992). Block length: Politis and White, "Automatic block-length selection for the dependent bootstrap",
Econometric Reviews 23 (2004), with the correction of Patton, Politis and White (2009).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory
from vramlab.engine.outcomes import Outcome
from vramlab.runs.records import Records

Floats = npt.NDArray[np.float64]
Statistic = Literal["mean", "sum"] | Callable[[Floats], float]
Measure = Literal["hit", "latency_s", "load_cost_s"]


@dataclass(frozen=True)
class Warmup:
    """What :func:`warmup` found: `requests` to leave out, and whether the rest is `settled`.

    ``settled`` is False where the rule would cut half of the series or more: then the run never settled, and
    the cut is only the best there is.
    """

    requests: int
    settled: bool


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, and the length in requests of the blocks behind it."""

    estimate: float
    low: float
    high: float
    confidence: float
    block_length: int
    resamples: int

    def __str__(self) -> str:
        return f"{self.estimate:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Comparison:
    """Setting a less setting b on the same requests.

    ``verdict`` is ``a lower``, ``b lower`` or ``tie``: a tie where the interval holds 0, or lies wholly
    within the margin that the caller calls no difference.
    """

    difference: Interval
    verdict: Literal["a lower", "b lower", "tie"]

    def __str__(self) -> str:
        return f"{self.verdict}: difference {self.difference}"


def request_series(records: Records, measure: Measure, inventory: Inventory | None = None) -> Floats:
    """Return one number per request of a run, shape (requests,).

    ``hit`` is 1 for a hit, 0 for anything else and NaN for what the result cache answered; ``latency_s`` is
    NaN for requests without an answer; ``load_cost_s`` puts the duration of each load on the last request
    that had arrived when it began. With `inventory` that is the load time it states, for runs that take no
    time. The sum is the load cost of the run; what is always loaded was there before, and costs nothing.

    Raises
    ------
    InputError
        For an unknown measure.
    """
    if measure == "hit":
        series = np.where(records.outcomes == Outcome.HIT, 1.0, 0.0)
        series[records.outcomes == Outcome.CACHE_HIT] = np.nan
        return series
    if measure == "latency_s":
        series = records.finish_s - records.arrival_s
        unanswered = [Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED]
        return np.where(np.isin(records.outcomes, unanswered), np.nan, series)
    if measure == "load_cost_s":
        loads = [load for load in records.loads if load.reason != "start"]
        begins = np.array([load.start_s for load in loads], dtype=np.float64)
        costs = np.array(
            [
                load.end_s - load.start_s if inventory is None else inventory[load.model].load_s
                for load in loads
            ],
            dtype=np.float64,
        )
        position = np.searchsorted(records.arrival_s, begins, side="right") - 1
        sums = np.bincount(np.maximum(position, 0), weights=costs, minlength=len(records))
        return np.asarray(sums, dtype=np.float64)
    raise InputError("series", "measure", repr(measure), "one of hit, latency_s, load_cost_s")


def warmup(series: Floats, batch: int = 5) -> Warmup:
    """Find how many requests at the start to leave out, by MSER with batches of `batch`.

    The cut is the one that minimises ``var(rest) / len(rest)`` over batch means, searched in the first half
    as White advises.
    """
    values = series[~np.isnan(series)]
    count = len(values) // batch
    if count < 4:
        return Warmup(0, False)
    means = values[: count * batch].reshape(count, batch).mean(axis=1)
    left = np.arange(count, 0, -1, dtype=np.float64)
    # sums over means[d:], shifted by the grand mean to keep the difference of squares exact
    shifted = means - means.mean()
    sums = np.cumsum(shifted[::-1])[::-1]
    squares = np.cumsum(shifted[::-1] ** 2)[::-1]
    mser = (squares - sums**2 / left) / left**2
    half = count // 2
    cut = int(np.argmin(mser[: half + 1]))
    position = np.flatnonzero(~np.isnan(series))
    return Warmup(int(position[cut * batch]) if cut else 0, cut < half)


def block_length(series: Floats) -> int:
    """Return the block length for the circular bootstrap of a mean, by the rule of Politis and White.

    Never more than a third of the series, and at least 1.
    """
    values = series[~np.isnan(series)]
    n = len(values)
    if n < 8 or np.ptp(values) == 0:
        return 1
    most_lags = min(n - 1, int(np.ceil(np.sqrt(n))) + max(5, int(np.log10(n))))
    centred = values - values.mean()
    spectrum = np.fft.rfft(centred, 2 * n)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum))[: most_lags + 1] / n
    correlation = covariance / covariance[0]
    # the first lag after which so many correlations in a row are within their noise
    in_a_row = max(5, int(np.sqrt(np.log10(n))))
    small = np.abs(correlation[1:]) < 2 * np.sqrt(np.log10(n) / n)
    runs = np.convolve(small, np.ones(in_a_row), mode="valid") == in_a_row
    lag = int(np.argmax(runs)) if runs.any() else most_lags
    reach = min(2 * max(lag, 1), most_lags)
    k = np.arange(-reach, reach + 1)
    window = np.clip(2 * (1 - np.abs(k) / reach), 0, 1)  # flat-top: 1 up to half of the reach
    its = window * covariance[np.abs(k)]
    g, spectral = float((its * np.abs(k)).sum()), float(its.sum())
    if spectral <= 0:
        return 1
    best = (2 * g**2 / (4 / 3 * spectral**2)) ** (1 / 3) * n ** (1 / 3)
    longest = min(3 * np.sqrt(n), n / 3)
    return max(1, int(np.ceil(min(best, longest))))


def bootstrap_interval(
    series: Floats,
    rng: np.random.Generator,
    statistic: Statistic = "mean",
    length: int | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Return the percentile interval of `statistic` by the circular block bootstrap.

    Parameters
    ----------
    series : ndarray, shape (requests,)
        NaN does not count.
    statistic : "mean", "sum" or callable
        A callable takes the values that count and returns a number (a percentile, say).
    length : int, optional
        Requests per block; by :func:`block_length` where left out.

    Raises
    ------
    InputError
        For a series without a value, or a confidence outside 0 to 1.
    """
    if not 0 < confidence < 1:
        raise InputError("bootstrap", "confidence", confidence, "a number between 0 and 1")
    counted = ~np.isnan(series)
    if not counted.any():
        raise InputError("bootstrap", "series", "no value", "at least one request that counts")
    n = len(series)
    size = block_length(series) if length is None else min(max(1, length), n)
    if callable(statistic):
        found = _resample_any(series, statistic, size, resamples, rng)
        estimate = float(statistic(series[counted]))
    else:
        values, weights = np.where(counted, series, 0.0), counted.astype(np.float64)
        totals, counts = _resample_sums([values, weights], size, resamples, rng)
        if statistic == "sum":
            found, estimate = totals, float(values.sum())
        else:
            found = np.divide(totals, counts, out=np.full(resamples, np.nan), where=counts > 0)
            estimate = float(values.sum() / weights.sum())
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(found, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), confidence, size, resamples)


def paired_difference(
    a: Floats,
    b: Floats,
    rng: np.random.Generator,
    statistic: Literal["mean", "sum"] = "mean",
    same_within: float = 0.0,
) -> Comparison:
    """Compare two settings on the same requests: a less b, resampled together.

    The two are subtracted request by request first, so that what the trace does to both alike drops out.

    Parameters
    ----------
    a, b : ndarray, shape (requests,)
        The same measure of the same trace; requests that do not count in one (NaN) count in neither.
    same_within : float
        Differences of this size do not matter: an interval that lies within it is a tie too.

    Raises
    ------
    InputError
        If the two differ in length.
    """
    if len(a) != len(b):
        raise InputError(
            "comparison", "series", f"{len(a)} and {len(b)} requests", "the same requests in both"
        )
    interval = bootstrap_interval(a - b, rng, statistic)
    holds_zero = interval.low <= 0 <= interval.high
    negligible = -same_within <= interval.low and interval.high <= same_within
    if holds_zero or negligible:
        return Comparison(interval, "tie")
    return Comparison(interval, "a lower" if interval.estimate < 0 else "b lower")


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean over seeds with Student's interval; one seed has no interval (low and high NaN)."""
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        raise InputError("seeds", "values", "none", "one value per seed")
    low = high = np.nan
    if numbers.size > 1:
        from scipy import stats  # takes longer to load than many a command to run

        found = stats.ttest_1samp(numbers, 0.0).confidence_interval(confidence)
        low, high = float(found.low), float(found.high)
    return Interval(float(numbers.mean()), low, high, confidence, 1, int(numbers.size))


def _starts(n: int, size: int, resamples: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], int]:
    """Return the starts of whole blocks, and the length of the last one, that fill `n` requests."""
    blocks = -(-n // size)
    return rng.integers(0, n, size=(resamples, blocks)), n - (blocks - 1) * size


def _resample_sums(
    columns: list[Floats], size: int, resamples: int, rng: np.random.Generator
) -> list[Floats]:
    """Return the sums of resampled series, by prefix sums over the circle: no such series is ever built."""
    n = len(columns[0])
    starts, last = _starts(n, size, resamples, rng)
    found = []
    for column in columns:
        until = np.concatenate([[0.0], np.cumsum(np.concatenate([column, column[:size]]))])
        whole = until[starts[:, :-1] + size] - until[starts[:, :-1]]
        part = until[starts[:, -1] + last] - until[starts[:, -1]]
        found.append(whole.sum(axis=1) + part)
    return found


def _resample_any(
    series: Floats, statistic: Callable[[Floats], float], size: int, resamples: int, rng: np.random.Generator
) -> Floats:
    n = len(series)
    starts, _ = _starts(n, size, resamples, rng)
    found = np.full(resamples, np.nan)
    for index, row in enumerate(starts):
        picked = series[((row[:, None] + np.arange(size)) % n).ravel()[:n]]
        picked = picked[~np.isnan(picked)]
        if picked.size:
            found[index] = statistic(picked)
    return found
