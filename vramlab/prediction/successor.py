"""Successors: who is asked for after whom, and how long after.

A pipeline asks for its models one after the other, and a burst for one model many times. So each request for
a model opens a *trial*. It ends with the next request for the model, or when the model is no longer watched.
Within a trial, the first request for any model (the same one included) is a success of this
pair at its lag. From lags and lengths of the trials follows the hazard of each pair by lag, the life table of
actuaries. Source: a first-order semi-Markov process with the actuarial estimator, S. J. Cutler and F. Ederer,
"Maximum utilization of the life table method in analyzing survival", Journal of Chronic Diseases 8 (1958).
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterable

from vramlab.prediction.predictor import PRIOR_REQUESTS, PRIOR_S, gamma_poisson, require_positive

# The largest share of trials that may succeed in a bin, for a hazard that is finite.
_CERTAIN = 1.0 - 1e-9


class _Trial:
    """What came after the last request for one model so far: by model, the bin of its first request."""

    __slots__ = ("begun_s", "successes")

    def __init__(self, begun_s: float) -> None:
        self.begun_s = begun_s
        self.successes: dict[str, int] = {}


class _Pair:
    """Per bin of lag: successes, and the trials no longer at risk because of an earlier success."""

    __slots__ = ("gone", "successes")

    def __init__(self, n_bins: int) -> None:
        self.successes = [0] * n_bins
        self.gone = [0.0] * n_bins


class Successor:
    """Probability from the time since each of the models asked for last, and who follows them how fast.

    Edges of the bins of lag double from `first_bin_s` to `window_s`. Each bin of a pair starts from the rate
    of the successor's visits, which counts for `prior_weight` trials; a visit is a request after a rest, as
    the mean rate of bursts promises far too much. Of the watched models the one that promises most decides;
    without one, the rate of visits does.

    Parameters
    ----------
    models : iterable of str
        Not needed: pairs are those that were seen.
    order : int
        Models asked for last that are watched at any time.
    first_bin_s, window_s : float
        Width of the first bin of lag, and the lag from where on a request says nothing any more.
    start_s : float, optional
        Since when requests are shown; without it, since the first.
    rest_s : float
        A request this long after the one before it is a visit.
    prior_weight : float
        Trials that the rate of visits counts for in each bin.
    prior_requests, prior_s : float
        Prior of that rate, see :func:`gamma_poisson`.
    """

    # These are the options that `predictor_options` may name.
    def __init__(
        self,
        models: Iterable[str] = (),
        *,
        order: int = 16,
        first_bin_s: float = 2.0,
        window_s: float = 4 * 3600.0,
        rest_s: float = 1800.0,
        start_s: float | None = None,
        prior_weight: float = 4.0,
        prior_requests: float = PRIOR_REQUESTS,
        prior_s: float = PRIOR_S,
    ) -> None:
        require_positive("successor", order=order, first_bin_s=first_bin_s, window_s=window_s)
        require_positive("successor", prior_weight=prior_weight, prior_requests=prior_requests)
        require_positive("successor", prior_s=prior_s)
        self._order = order
        self._first_bin_s = first_bin_s
        self._n_bins = max(1, math.ceil(math.log2(window_s / first_bin_s))) + 1
        self._edges = [0.0, *(first_bin_s * 2.0**k for k in range(self._n_bins))]
        self._widths = [high_s - low_s for low_s, high_s in itertools.pairwise(self._edges)]
        self._window_s = self._edges[-1]
        self._start_s = start_s
        self._prior_weight = prior_weight
        self._prior = prior_requests, prior_s
        self._rest_s = rest_s
        self._visits: dict[str, tuple[int, float]] = {}  # how many, and the time of the last request
        self._trials: OrderedDict[str, _Trial] = OrderedDict()  # the last one begun at the end
        self._at_risk: dict[str, list[float]] = {}
        self._pairs: dict[str, dict[str, _Pair]] = {}

    def observe(self, model: str, now_s: float) -> None:
        """End the trials that this request is a success of, and begin another."""
        if self._start_s is None:
            self._start_s = now_s
        visits, last_s = self._visits.get(model, (0, -math.inf))
        self._visits[model] = visits + (now_s - last_s >= self._rest_s), now_s
        for trial in self._trials.values():
            lag_s = now_s - trial.begun_s
            if lag_s < self._window_s and model not in trial.successes:
                trial.successes[model] = self._bin(lag_s)
        if model in self._trials:
            self._settle(model, self._trials.pop(model), now_s)
        self._trials[model] = _Trial(now_s)
        if len(self._trials) > self._order:
            self._settle(*self._trials.popitem(last=False), now_s)

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Return the probability of a request in the horizon, given who was asked for last and when."""
        elapsed_s = 0.0 if self._start_s is None else now_s - self._start_s
        visits, _ = self._visits.get(model, (0, 0.0))
        rate = (visits + self._prior[0]) / (elapsed_s + self._prior[1])
        # what the rate of visits alone would have of its trials succeed in each bin
        expected = [-self._prior_weight * math.expm1(-rate * width_s) for width_s in self._widths]
        most = -1.0
        for watched, trial in self._trials.items():
            pair = self._pairs.get(watched, {}).get(model)
            age_s = now_s - trial.begun_s
            if pair is not None and age_s < self._window_s:
                end_s = age_s + horizon_s
                hazard = self._hazard(self._at_risk[watched], pair, age_s, end_s, expected)
                most = max(most, hazard + rate * max(0.0, end_s - self._window_s))
        if most < 0.0:
            return gamma_poisson(visits, elapsed_s, horizon_s, *self._prior)
        return -math.expm1(-most)

    def _bin(self, lag_s: float) -> int:
        return max(0, math.frexp(lag_s / self._first_bin_s)[1])

    def _settle(self, model: str, trial: _Trial, now_s: float) -> None:
        """Enter a trial that is over into the life tables of its model."""
        length_s = now_s - trial.begun_s
        last = self._bin(length_s) if length_s < self._window_s else self._n_bins
        at_risk = self._at_risk.get(model)
        if at_risk is None:
            at_risk = self._at_risk[model] = [0.0] * (self._n_bins + 1)
        for index in range(last):
            at_risk[index] += 1.0
        # a trial that ends without success is at risk for half of its last bin
        at_risk[last] += 0.5
        pairs = self._pairs.setdefault(model, {})
        for successor, success in trial.successes.items():
            pair = pairs.get(successor)
            if pair is None:
                pair = pairs[successor] = _Pair(self._n_bins + 1)
            pair.successes[success] += 1
            gone = pair.gone
            if success == last:
                gone[last] -= 0.5
                continue
            for index in range(success + 1, last):
                gone[index] += 1.0
            gone[last] += 0.5

    def _hazard(
        self, at_risk: list[float], pair: _Pair, begin_s: float, end_s: float, expected: list[float]
    ) -> float:
        """Return the cumulated hazard of the pair between two lags, as far as the bins reach."""
        edges, widths, weight = self._edges, self._widths, self._prior_weight
        successes, gone = pair.successes, pair.gone
        hazard = 0.0
        for index in range(self._bin(begin_s), self._n_bins):
            low_s, width_s = edges[index], widths[index]
            if low_s >= end_s:
                break
            share = (successes[index] + expected[index]) / (at_risk[index] - gone[index] + weight)
            bin_hazard = -math.log1p(-min(share, _CERTAIN))
            if begin_s > low_s or end_s < low_s + width_s:
                bin_hazard *= (min(end_s, low_s + width_s) - max(begin_s, low_s)) / width_s
            hazard += bin_hazard
        return hazard
