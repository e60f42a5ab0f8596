"""Hybrid histogram of idle times: when, after its last request, is a model asked for again?

Source: M. Shahrad et al., "Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a
Large Cloud Provider", USENIX ATC 2020, section 4.2. Idle times are counted here from request to request.
Where most of them are beyond the histogram, the paper forecasts the next with an automatic ARIMA; here it is
ARIMA(0,1,1), that is exponential smoothing (J. F. Muth, JASA 55, 1960). The paper needs no probability. Here
it is the histogram's share, of the idle times that lasted so far, that end within the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from vramlab.prediction.predictor import PRIOR_REQUESTS, PRIOR_S, gamma_poisson, require_positive

# Constants of the paper: percentiles of the windows, and the margins by which the windows are widened.
HEAD, TAIL, MARGIN, FORECAST_MARGIN = 0.05, 0.99, 0.10, 0.15
# Share of a new idle time in the smoothed one.
SMOOTHING = 0.3


class Windows(NamedTuple):
    """When to have a model loaded, in seconds after its last request.

    Unload at once where `prewarm_s` is above 0, load `prewarm_s` after the last request, and keep it for
    `keep_alive_s` from then on. `basis` is ``histogram``, ``forecast`` or ``default``.
    """

    prewarm_s: float
    keep_alive_s: float
    basis: str


class _Idle:
    """Idle times of one model: bins, what is beyond them, and the smoothed idle time."""

    __slots__ = ("beyond", "beyond_s", "bins", "counted", "last_s", "smoothed_s", "squares")

    def __init__(self, n_bins: int, now_s: float) -> None:
        self.bins = [0] * n_bins
        self.counted = 0  # idle times in the bins, and the sum of the squares of the bins
        self.squares = 0
        self.beyond = 0  # idle times beyond the bins, and by how much in all
        self.beyond_s = 0.0
        self.smoothed_s = math.nan
        self.last_s = now_s

    def add(self, length_s: float, bin_s: float, range_s: float) -> None:
        """Count an idle time."""
        if length_s < range_s:
            index = int(length_s / bin_s)
            count = self.bins[index]
            self.bins[index] = count + 1
            self.counted += 1
            self.squares += 2 * count + 1
        else:
            self.beyond += 1
            self.beyond_s += length_s - range_s


class Histogram:
    """Conditional probability from each model's histogram of idle times.

    Parameters
    ----------
    models : iterable of str
        Not needed: a model that was never asked for has no idle times.
    bin_s, range_s : float
        Width of a bin, and up to where the histogram reaches (the paper: a minute, four hours).
    least_cv : float
        Coefficient of variation of the bins below which the histogram says too little for windows.
    start_s : float, optional
        Since when requests are shown; without it, since the first.
    prior_weight : float
        Idle times that those of all models together count for: what fills bins that are empty by chance.
        To these in turn the model's mean rate counts for one.
    prior_requests, prior_s : float
        Prior of that rate, see :func:`gamma_poisson`.
    """

    # These are the options that `predictor_options` may name.
    def __init__(
        self,
        models: Iterable[str] = (),
        *,
        bin_s: float = 60.0,
        range_s: float = 4 * 3600.0,
        least_cv: float = 2.0,
        start_s: float | None = None,
        prior_weight: float = 4.0,
        prior_requests: float = PRIOR_REQUESTS,
        prior_s: float = PRIOR_S,
    ) -> None:
        require_positive("histogram", bin_s=bin_s, range_s=range_s, prior_weight=prior_weight)
        require_positive("histogram", prior_requests=prior_requests, prior_s=prior_s)
        self._bin_s = bin_s
        self._n_bins = max(1, round(range_s / bin_s))
        self._range_s = self._n_bins * bin_s
        self._least_cv = least_cv
        self._start_s = start_s
        self._prior_weight = prior_weight
        self._prior = prior_requests, prior_s
        self._idle: dict[str, _Idle] = {}
        self._pooled = _Idle(self._n_bins, 0.0)

    def observe(self, model: str, now_s: float) -> None:
        """Count the idle time that ends now."""
        if self._start_s is None:
            self._start_s = now_s
        idle = self._idle.get(model)
        if idle is None:
            self._idle[model] = _Idle(self._n_bins, now_s)
            return
        length_s = now_s - idle.last_s
        idle.last_s = now_s
        idle.add(length_s, self._bin_s, self._range_s)
        self._pooled.add(length_s, self._bin_s, self._range_s)
        if idle.smoothed_s == idle.smoothed_s:
            idle.smoothed_s += SMOOTHING * (length_s - idle.smoothed_s)
        else:
            idle.smoothed_s = length_s

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Return the share, of the idle times as long as the present one, that end within the horizon."""
        elapsed_s = 0.0 if self._start_s is None else now_s - self._start_s
        idle = self._idle.get(model)
        if idle is None:
            return gamma_poisson(0.0, elapsed_s, horizon_s, *self._prior)
        age_s = now_s - idle.last_s
        mean_rate = gamma_poisson(idle.counted + idle.beyond + 1, elapsed_s, horizon_s, *self._prior)
        pooled = self._share(self._pooled, age_s, horizon_s, mean_rate, 1.0)
        return self._share(idle, age_s, horizon_s, pooled, self._prior_weight)

    def _share(self, idle: _Idle, age_s: float, horizon_s: float, prior: float, weight: float) -> float:
        at_risk = self._longer(idle, age_s)
        ending = max(0.0, at_risk - self._longer(idle, age_s + horizon_s))
        return min(1.0, (ending + weight * prior) / (at_risk + weight))

    def windows(self, model: str) -> Windows:
        """Pre-warm and keep-alive windows of `model`.

        From the histogram: the 5th percentile, rounded down to a bin and 10% less, to the 99th, rounded up
        and 10% more. Where most idle times are beyond the histogram: from 15% before the smoothed idle time
        to 15% after it. Where the histogram is flat or empty: no pre-warming, kept for the range of the
        histogram.
        """
        idle = self._idle.get(model)
        if idle is None or idle.counted + idle.beyond == 0:
            return Windows(0.0, self._range_s, "default")
        if idle.beyond > idle.counted:
            return Windows(
                (1.0 - FORECAST_MARGIN) * idle.smoothed_s, 2.0 * FORECAST_MARGIN * idle.smoothed_s, "forecast"
            )
        mean = idle.counted / self._n_bins
        deviation = math.sqrt(max(0.0, idle.squares / self._n_bins - mean * mean))
        if deviation < self._least_cv * mean:
            return Windows(0.0, self._range_s, "default")
        head_s = self._percentile_bin(idle, HEAD) * self._bin_s
        tail_s = (self._percentile_bin(idle, TAIL) + 1) * self._bin_s
        prewarm_s = (1.0 - MARGIN) * head_s
        return Windows(prewarm_s, (1.0 + MARGIN) * tail_s - prewarm_s, "histogram")

    def _percentile_bin(self, idle: _Idle, share: float) -> int:
        """Return the bin that holds the idle time at `share` of those in the bins."""
        below = 0
        for index, count in enumerate(idle.bins):
            below += count
            if below >= share * idle.counted:
                return index
        return self._n_bins - 1

    def _longer(self, idle: _Idle, age_s: float) -> float:
        """Return the number of idle times longer than `age_s`, spread evenly over their bin.

        Those beyond the bins are taken to be exponential with the mean that they have.
        """
        if age_s >= self._range_s:
            if idle.beyond_s <= 0.0:
                return 0.0
            return idle.beyond * math.exp((self._range_s - age_s) * idle.beyond / idle.beyond_s)
        position = age_s / self._bin_s
        index = int(position)
        part = idle.bins[index] * (index + 1 - position)
        return idle.beyond + sum(idle.bins[index + 1 :]) + part
