"""Streams of requests with a known law, and a stub, for the tests of prediction."""

import numpy as np


def poisson(rate_per_s, duration_s, seed, model="M"):
    rng = np.random.default_rng(seed)
    count = rng.poisson(rate_per_s * duration_s)
    return np.sort(rng.uniform(0.0, duration_s, count)), [model] * count


def merged(*streams):
    """One stream out of several ``(times, models)``."""
    rows = sorted(
        (float(t), model) for times, models in streams for t, model in zip(times, models, strict=True)
    )
    return [t for t, _ in rows], [model for _, model in rows]


def shown(predictor, times, models):
    for now_s, model in zip(times, models, strict=True):
        predictor.observe(model, float(now_s))
    return predictor


class Constant:
    """Says the same always."""

    def __init__(self, value):
        self.value = value

    def observe(self, model, now_s):
        pass

    def probability(self, model, now_s, horizon_s):
        return self.value
