"""What a predictor is, and the two rules that all of them keep.

1. *No peeking.* ``probability(model, now_s, horizon_s)`` follows from what was observed, and asking changes
   nothing: only :meth:`Predictor.observe` learns.
2. *A probability.* It lies in [0, 1] and does not fall when the horizon grows.

It speaks of the window ``[now_s, now_s + horizon_s)``. Times never go back.
"""

from __future__ import annotations

from typing import Protocol

from vramlab.config.errors import InputError

PRIOR_REQUESTS, PRIOR_S = 0.1, 3600.0
"""What is taken for known of a model that was never asked for: a tenth of a request, in an hour."""


class Predictor(Protocol):
    """Foresees requests from those that it was shown. Models that it was not told of may turn up."""

    def observe(self, model: str, now_s: float) -> None:
        """Learn that `model` is asked for at `now_s`; called for each request, in order of time."""

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Return the probability of a request for `model` in ``[now_s, now_s + horizon_s)``."""


def require_positive(predictor: str, **options: float) -> None:
    """Refuse options of `predictor` that are not above 0.

    Raises
    ------
    InputError
        Naming the predictor and the option.
    """
    for name, value in options.items():
        if not value > 0:
            raise InputError(f"predictor {predictor}", name, value, "a number above 0")


def gamma_poisson(
    requests: float,
    exposure_s: float,
    horizon_s: float,
    prior_requests: float = PRIOR_REQUESTS,
    prior_s: float = PRIOR_S,
) -> float:
    """Return the probability of an event of a Poisson process whose rate is known from counting only.

    The prior is Gamma(a, b), which is conjugate. After n events in T seconds, the number of events in the
    next h seconds is negative binomial: ``P(at least one) = 1 - ((b + T) / (b + T + h)) ** (a + n)``. It
    tends to ``1 - exp(-h n / T)`` as T grows. Source: A. Gelman et al., "Bayesian Data Analysis", 3rd ed.
    (2013), 2.6.

    Parameters
    ----------
    requests, exposure_s : float
        n and T.
    horizon_s : float
        h.
    prior_requests, prior_s : float
        a and b.
    """
    known_s = prior_s + exposure_s
    if known_s <= 0.0:
        return 0.0
    return 1.0 - float((known_s / (known_s + horizon_s)) ** (prior_requests + requests))
