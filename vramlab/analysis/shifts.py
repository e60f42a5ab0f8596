"""What another setting would have come to: the figures of a recording, shifted as simulations say.

A recording under A has one draw of everything that is random. Simulations of A and of B, several of each, say
how far B is from A: a ratio for latencies, points for the hit rate. The recorded figure is shifted by that,
so that what the simulator gets wrong for A and B alike drops out::

    predicted = recorded * B / A    (latencies)        predicted = recorded + B - A    (hit rate)

B and A are means over the simulations, which have the same seeds: where nothing differs, nothing is shifted.
Intervals come from resampling: the requests in blocks (the same blocks for all,
:mod:`vramlab.analysis.statistics`), and one simulation of A and one of B. So they hold the spread of single
runs and not that of their mean: a second recording under A itself would differ too, and that difference
cannot be told from none. Over several alternatives they are simultaneous
(:mod:`vramlab.analysis.resampling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vramlab.analysis.intervals import Floats, Indices
from vramlab.analysis.resampling import simultaneous
from vramlab.analysis.statistics import Interval, block_length, request_series
from vramlab.config.errors import InputError
from vramlab.runs.records import Records

KEYS = ("hit_rate", "latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s")
"""The figures that are shifted."""

_PERCENTILES = (0.5, 0.95, 0.99)
_AT_ONCE = 2_000_000  # requests that are gathered at once: 16 MB


class Series(NamedTuple):
    """One number per request, in the order of arrival; NaN does not count."""

    hit: Floats
    latency_s: Floats

    def __len__(self) -> int:
        return len(self.latency_s)

    def figures(self) -> dict[str, float]:
        """Return the figures of :data:`KEYS`; NaN where nothing counts."""
        return dict(zip(KEYS, _figures(self.hit[None], self.latency_s[None])[0].tolist(), strict=True))


def series_of(records: Records, warm_up_s: float = 0.0) -> Series:
    """Return the series of a run, without the requests of its first `warm_up_s` seconds."""
    first = int(np.searchsorted(records.arrival_s, records.arrival_s[0] + warm_up_s)) if warm_up_s else 0
    return Series(request_series(records, "hit")[first:], request_series(records, "latency_s")[first:])


@dataclass(frozen=True)
class Shift:
    """What one alternative would have come to.

    Parameters
    ----------
    predicted : dict of str to float
        Its figures.
    differences : dict of str to Interval
        Predicted less recorded.
    simulated : dict of str to float
        Means of its simulations, as they are.
    """

    predicted: dict[str, float]
    differences: dict[str, Interval]
    simulated: dict[str, float]


def apart(value: float, base: float, key: str) -> float:
    """Return how far a figure is from another: in shares for the hit rate, else relative; NaN if to 0."""
    return value - base if key == "hit_rate" else value / base - 1 if base else math.nan


def shifts(
    recorded: Series,
    as_recorded: Sequence[Series],
    alternatives: Sequence[Sequence[Series]],
    rng: np.random.Generator,
    resamples: int = 400,
    confidence: float = 0.95,
) -> list[Shift]:
    """Predict the figures of alternatives from one recording.

    Parameters
    ----------
    recorded : Series
        Of the recording.
    as_recorded : sequence of Series
        Of its simulations, one per seed.
    alternatives : sequence of sequences of Series
        Of the simulations of each alternative, with the same seeds.
    rng : numpy.random.Generator
        Draws blocks and simulations.

    Raises
    ------
    InputError
        Without a simulation, and where the series are not of the same requests.
    """
    _check(recorded, as_recorded, alternatives)
    base = _mean(as_recorded)
    own = np.array(list(recorded.figures().values()))
    means = [_mean(one) for one in alternatives]
    estimates = [_shifted(own, base, mean) - own for mean in means]
    found, size = _resampled(recorded, as_recorded, alternatives, resamples, rng)
    draws = len(as_recorded)
    # a draw is off the mean of few draws by less than off the next draw, and that mean is off itself
    few = float(np.sqrt((draws + 1) / max(1, draws - 1)))
    results = []
    for place, (mean, estimate) in enumerate(zip(means, estimates, strict=True)):
        differences = {}
        for number, key in enumerate(KEYS):
            errors, reach = simultaneous(
                found[:, :, number], [float(one[number]) for one in estimates], confidence
            )
            value, far = float(estimate[number]), few * reach * errors[place]
            low = max(value - far, -float(own[number]))  # no figure is below 0, and no hit rate above 1
            high = min(value + far, 1.0 - float(own[number]) if key == "hit_rate" else np.inf)
            differences[key] = Interval(value, low, high, confidence, size, resamples)
        predicted = dict(zip(KEYS, (own + estimate).tolist(), strict=True))
        results.append(Shift(predicted, differences, dict(zip(KEYS, mean.tolist(), strict=True))))
    return results


def _check(recorded: Series, as_recorded: Sequence[Series], alternatives: Sequence[Sequence[Series]]) -> None:
    drawn = [as_recorded, *alternatives]
    if not as_recorded or any(len(one) != len(as_recorded) for one in drawn):
        found = ", ".join(str(len(one)) for one in drawn)
        raise InputError("prediction", "simulations", found, "at least one of each, as many of all")
    lengths = {len(recorded), *(len(series) for one in drawn for series in one)}
    if len(lengths) > 1:
        found = " and ".join(map(str, sorted(lengths)))
        raise InputError("prediction", "series", f"{found} requests", "the same requests in all")


def _mean(drawn: Sequence[Series]) -> Floats:
    found: Floats = np.mean([list(one.figures().values()) for one in drawn], axis=0)
    return found


def _shifted(recorded: Floats, base: Floats, other: Floats) -> Floats:
    """Shift figures (the last axis) by what separates `other` from `base`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(base > 0, recorded * (other / base), recorded + (other - base))
    moved[..., 0] = np.clip(recorded[..., 0] + (other[..., 0] - base[..., 0]), 0.0, 1.0)
    return np.asarray(moved, dtype=np.float64)


def _resampled(
    recorded: Series,
    as_recorded: Sequence[Series],
    alternatives: Sequence[Sequence[Series]],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[Floats, int]:
    """Differences of resampled figures, shape (resamples, alternatives, figures), and the block length."""
    n, draws = len(recorded), len(as_recorded)
    each = [recorded, *as_recorded, *(series for one in alternatives for series in one)]
    size = max(*(block_length(one.latency_s) for one in each), int(np.ceil(np.cbrt(n))))
    found = np.empty((resamples, len(alternatives), len(KEYS)))
    drawn = rng.integers(0, draws, size=(1 + len(alternatives), resamples))
    rows = max(1, _AT_ONCE // n)
    for start in range(0, resamples, rows):
        these = drawn[:, start : start + rows]
        picked = _blocks(n, size, these.shape[1], rng)
        own = _figures(recorded.hit[picked], recorded.latency_s[picked])
        base = _of_draws(as_recorded, these[0], picked)
        for place, one in enumerate(alternatives):
            moved = _shifted(own, base, _of_draws(one, these[1 + place], picked))
            found[start : start + rows, place] = moved - own
    return found, size


def _of_draws(drawn: Sequence[Series], which: Indices, picked: Indices) -> Floats:
    hit, latency_s = (np.stack(column) for column in zip(*drawn, strict=True))
    rows = which[:, None]
    return _figures(hit[rows, picked], latency_s[rows, picked])


def _blocks(n: int, size: int, rows: int, rng: np.random.Generator) -> Indices:
    """Positions of `n` requests in blocks of `size` round the circle, shape (rows, n)."""
    starts = rng.integers(0, n, size=(rows, -(-n // size)))
    whole = (starts[:, :, None] + np.arange(size)) % n
    return np.asarray(whole.reshape(rows, -1)[:, :n], dtype=np.int64)


def _figures(hit: Floats, latency_s: Floats) -> Floats:
    """Figures of many series, one per row, shape (rows, figures)."""
    ordered = np.sort(latency_s, axis=1)  # NaN comes last
    counts = (~np.isnan(ordered)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = [np.nansum(hit, axis=1) / (~np.isnan(hit)).sum(axis=1), np.nansum(ordered, axis=1) / counts]
    rows = np.arange(len(ordered))
    for share in _PERCENTILES:
        place = share * np.maximum(counts - 1, 0)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(counts - 1, 0))
        low, high = ordered[rows, below], ordered[rows, above]
        columns.append(low + (high - low) * (place - below))
    return np.column_stack(columns)
