"""Exponentially weighted Poisson rate: a model is asked for as often as it was lately."""

from __future__ import annotations

import math
from collections.abc import Iterable

from vramlab.prediction.predictor import PRIOR_REQUESTS, PRIOR_S, gamma_poisson, require_positive


class Ewma:
    """Poisson rate from requests and seconds that both fade with a half-life.

    A request `t` seconds ago counts ``2 ** (-t / half_life_s)``, and so does a second of watching; their
    ratio is the exponentially weighted rate. The probability is that of :func:`gamma_poisson` for these
    counts, which knows how little a short past says. Source of the fading counts: J. Q. Smith and
    J. E. Miller, "A non-Gaussian state space model and application to prediction of records", Journal of the
    Royal Statistical Society B 48 (1986).

    Parameters
    ----------
    models : iterable of str
        Not needed: a model that was never asked for has no counts.
    half_life_s : float
        Time in which a request loses half of its weight; infinite for a rate over all the past.
    start_s : float, optional
        Since when requests are shown; without it, since the first.
    prior_requests : float
        See :func:`gamma_poisson`. The prior does not fade.
    prior_s : float, optional
        The same; without it, a tenth of the half-life and at most an hour, so that it takes no more than 7%
        from the rate of a steady stream.
    """

    def __init__(
        self,
        models: Iterable[str] = (),
        *,
        half_life_s: float = 900.0,
        start_s: float | None = None,
        prior_requests: float = PRIOR_REQUESTS,
        prior_s: float | None = None,
    ) -> None:
        prior_s = min(PRIOR_S, 0.1 * half_life_s) if prior_s is None else prior_s
        require_positive("ewma", half_life_s=half_life_s, prior_requests=prior_requests, prior_s=prior_s)
        self._decay = math.log(2.0) / half_life_s
        self._start_s = start_s
        self._prior = prior_requests, prior_s
        self._weights: dict[str, tuple[float, float]] = {}  # faded count, and the time it is of

    def observe(self, model: str, now_s: float) -> None:
        """Fade the count of `model`, and add one."""
        if self._start_s is None:
            self._start_s = now_s
        weight, at_s = self._weights.get(model, (0.0, now_s))
        self._weights[model] = weight * math.exp(self._decay * (at_s - now_s)) + 1.0, now_s

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Return the probability of at least one request in the horizon, if the rate stays as it is."""
        weight, at_s = self._weights.get(model, (0.0, now_s))
        requests = weight * math.exp(self._decay * (at_s - now_s))
        return gamma_poisson(requests, self._exposure_s(now_s), horizon_s, *self._prior)

    def _exposure_s(self, now_s: float) -> float:
        elapsed_s = 0.0 if self._start_s is None else now_s - self._start_s
        if self._decay == 0.0:
            return elapsed_s
        return -math.expm1(-self._decay * elapsed_s) / self._decay
