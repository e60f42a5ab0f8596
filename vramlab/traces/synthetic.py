"""The shortest way to a synthetic trace: one stream of requests for models of unequal popularity.

For mixtures, pipelines, cycles and crowds write a spec (:mod:`vramlab.traces.spec`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vramlab.traces.generate import generate
from vramlab.traces.spec import make_spec
from vramlab.traces.trace import Trace


# Users call it by keyword: a spec in one line.
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
    """Return the requests for models of unequal popularity.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
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
    stream = {
        "rate_per_s": rate_per_s,
        "burstiness": burstiness,
        "models": list(models),
        "exponent": exponent,
        "drift": None if drift_period_s is None else {"period_s": drift_period_s},
        "reuse": [{"probability": repeat}],
    }
    spec = make_spec({"requests": requests, "decimals": 9, "streams": [stream]}, "zipf_trace")
    return generate(spec, rng)
