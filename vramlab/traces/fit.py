"""A generator spec fitted to a trace, whose twin misses where the trace does.

Popularity is that of the trace. The memory of the sequence is fitted as a discrete autoregressive process:
its weights by lag solve the Yule-Walker equations of the trace's own autocorrelation (Jacobs and Lewis 1978).
They are then scaled until the twin has the trace's distribution of reuse distances. Arrivals are a gamma
process on a clock that runs with the daily (and, from two weeks on, weekly) cycle.

What is not fitted: flash crowds, drift as such (it shows up as reuse over long lags, and makes twins differ
more from seed to seed), pipelines as such (their order is lost), and who asks for what: requesters and inputs
are drawn independently of the model.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from vramlab.config.schema import Priority
from vramlab.traces.arrivals import WEEK_S
from vramlab.traces.describe import DAY_S, burstiness_of, daily_cycle, zipf_exponent
from vramlab.traces.popularity import draw, reused
from vramlab.traces.reuse import hit_rates_by_models
from vramlab.traces.spec import Cycle, Labels, Reuse, Stream, TraceSpec
from vramlab.traces.trace import Trace

# The sequence is fitted on so many requests from the start, up to this lag.
_FITTED_REQUESTS, _LONGEST_LAG = 50_000, 2_048

# The longest lag must fit into them so many times: slow chance fluctuations would pass for reuse.
_LAGS_IN_TRACE = 64

_SCALES = np.linspace(0.4, 1.1, 15)
_TILTS = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
_TWINS = 4  # a candidate is judged by so many twins

# Standard errors that a correlation must be above 0.
_SURE = 4

_MOST_ITEM_SIZES = 64


def twin_names(trace: Trace) -> dict[str, str]:
    """Name in a twin of each model of a trace: ``model_01`` is the most requested."""
    counts = np.bincount(trace.model_codes)
    width = len(str(len(counts)))
    ranked = np.argsort(-counts, kind="stable")
    known = trace.model_names
    return {known[code]: f"model_{rank:0{width}}" for rank, code in enumerate(ranked, 1)}


def fit(trace: Trace, seed: int = 0) -> TraceSpec:
    """Return the spec of a synthetic trace like this one, which names neither its models nor its source.

    Parameters
    ----------
    trace : Trace
        From one request on; little can be learned of few.
    seed : int
        Of the spec, and of the twins that it is fitted with.
    """
    names, known = twin_names(trace), trace.model_names
    times_s = trace.times_s - trace.times_s[0]
    duration_s = trace.duration_s
    counts = np.bincount(trace.model_codes)
    cycle = _cycle(times_s, duration_s)
    stream = Stream(
        rate_per_s=len(trace) / duration_s if duration_s > 0 else float(len(trace)),
        burstiness=_burstiness(times_s, cycle),
        cycle=cycle,
        models={names[known[code]]: float(counts[code]) for code in np.argsort(-counts, kind="stable")},
        reuse=_reuse(trace.model_codes, counts, seed),
        items=_items(trace),
        requesters=_labels(trace.requesters),
        input_keys=_labels(trace.input_keys),
        priority=_priority(trace),
    )
    return TraceSpec(title="a twin", seed=seed, requests=len(trace), streams=(stream,))


# -- the sequence of models --------------------------------------------------------------------------


def _reuse(codes: np.ndarray, counts: np.ndarray, seed: int) -> tuple[Reuse, ...]:
    codes = codes[:_FITTED_REQUESTS]
    longest = min(_LONGEST_LAG, len(codes) // _LAGS_IN_TRACE)
    if longest < 1 or len(counts) < 2:
        return ()
    octaves = (2**power for power in range(longest.bit_length()))
    lags = [(first, min(2 * first - 1, longest)) for first in octaves]
    weights = _yule_walker(codes, counts, lags)
    if not weights.any():
        return ()
    target = hit_rates_by_models(codes, len(counts))

    def error(scale: float, tilt: float) -> float:
        rules = _rules(lags, weights, scale, tilt)
        twins = []
        for number in range(_TWINS):
            rng = np.random.default_rng([seed, number])
            twins.append(hit_rates_by_models(reused(rng, draw(rng, counts, len(codes)), rules), len(counts)))
        return float(np.abs(np.mean(twins, axis=0) - target).max())

    # one after the other: the scale matters most, and the tilt shifts it little
    scale = min(_SCALES, key=lambda scale: error(scale, 0.0))
    tilt = min(_TILTS, key=lambda tilt: error(scale, tilt))
    scale = min(
        scale + (_SCALES[1] - _SCALES[0]) * np.linspace(-1, 1, 5), key=lambda scale: error(scale, tilt)
    )
    return _rules(lags, weights, scale, tilt)


def _yule_walker(codes: np.ndarray, counts: np.ndarray, lags: list[tuple[int, int]]) -> np.ndarray:
    """Return the probability of copying a model over each range of lags, by least squares, none negative."""
    longest = 2 * lags[-1][1]
    shares = np.bincount(codes, minlength=len(counts)) / len(codes)
    chance = float(shares @ shares)
    same = [1.0, *(float((codes[lag:] == codes[:-lag]).mean()) for lag in range(1, longest + 1))]
    correlation = (np.array(same) - chance) / (1 - chance)
    # r(k) = sum over j of a(j) r(|k - j|), with one a for all j of a range
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([correlation[:0:-1], correlation]))])
    at = np.arange(1, longest + 1)

    def mean_over(first: int, last: int) -> np.ndarray:
        low, high = at - last + longest, at - first + longest
        return np.asarray((sums[high + 1] - sums[low]) / (last - first + 1))

    # a range whose correlation is no more than chance would give copies nothing but noise
    error = np.sqrt(chance * (1 - chance) / len(codes)) / (1 - chance)
    real = np.array(
        [
            correlation[first : last + 1].mean() > _SURE * error / np.sqrt(last - first + 1)
            for first, last in lags
        ]
    )
    weights = np.zeros(len(lags))
    if real.any():
        from scipy.optimize import nnls

        equations = np.stack([mean_over(*lags[place]) for place in np.flatnonzero(real)], axis=1)
        octaves = 1 / np.sqrt(at)  # each octave of lags counts alike, roughly
        weights[real] = nnls(equations * octaves[:, None], correlation[1:] * octaves)[0]
    return weights


def _rules(lags: list[tuple[int, int]], weights: np.ndarray, scale: float, tilt: float) -> tuple[Reuse, ...]:
    scaled = weights * scale * np.exp(-tilt * np.arange(len(weights)))
    scaled = np.round(scaled / max(float(scaled.sum()) / 0.99, 1.0), 4)
    return tuple(
        Reuse(probability=float(weight), lags=(int(first), int(last)))
        for (first, last), weight in zip(lags, scaled, strict=True)
        if weight > 0
    )


# -- arrivals and labels -----------------------------------------------------------------------------


def _cycle(times_s: np.ndarray, duration_s: float) -> Cycle | None:
    """Return the cycle of the whole days; time 0 of the trace is taken to be Monday, 00:00."""
    daily = daily_cycle(times_s, duration_s)
    if np.isnan(daily).any():
        return None
    weekly = np.ones(7)
    if duration_s >= 2 * WEEK_S:
        weeks = times_s[times_s < duration_s // WEEK_S * WEEK_S]
        weekly = np.bincount((weeks % WEEK_S // DAY_S).astype(int), minlength=7).astype(np.float64)
        weekly /= weekly.mean()
    return Cycle(daily=tuple(np.round(daily, 4).tolist()), weekly=tuple(np.round(weekly, 4).tolist()))


def _burstiness(times_s: np.ndarray, cycle: Cycle | None) -> float:
    """Return the burstiness of the gaps between requests, without what the cycle does to them."""
    if cycle is not None:
        week = np.outer(cycle.weekly, cycle.daily).ravel()
        ahead_s = np.concatenate([[0.0], np.cumsum(week / week.mean())]) * (WEEK_S / len(week))
        whole, within = np.divmod(times_s, WEEK_S)
        times_s = whole * WEEK_S + np.interp(within, np.linspace(0, WEEK_S, len(week) + 1), ahead_s)
    burstiness = burstiness_of(np.diff(times_s))
    return 1.0 if np.isnan(burstiness) else round(burstiness, 3)


def _items(trace: Trace) -> dict[int, float]:
    sizes, counts = np.unique(trace.items, return_counts=True)
    common = np.sort(np.argsort(-counts, kind="stable")[:_MOST_ITEM_SIZES])
    if len(common) == 1:
        return {int(sizes[common[0]]): 1.0}
    return {int(sizes[place]): float(counts[place]) for place in common}


def _labels(texts: np.ndarray | None) -> Labels | None:
    if texts is None:
        return None
    counts = pd.Series(texts).value_counts().to_numpy()
    if not len(counts):
        return None
    share = round(float(counts.sum() / len(texts)), 4)
    return Labels(distinct=len(counts), exponent=round(zipf_exponent(counts), 3), share=share)


def _priority(trace: Trace) -> Priority | None:
    if trace.priorities is None:
        return None
    found = set(trace.priorities)
    # the generator gives one to all requests of a stream, or none
    return Priority(found.pop()) if len(found) == 1 and None not in found else None
