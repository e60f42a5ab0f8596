"""What prediction costs: to observe a request, to ask for one model, and to ask for all of 76."""

import numpy as np
import pytest

from vramlab.prediction.registry import PREDICTORS, make_predictor

NAMES = [f"M{index:02}" for index in range(76)]


def requests(count):
    rng = np.random.default_rng(7)
    popularity = 1.0 / np.arange(1, len(NAMES) + 1) ** 1.6
    picks = rng.choice(len(NAMES), size=count, p=popularity / popularity.sum())
    return list(
        zip([NAMES[pick] for pick in picks], np.cumsum(rng.exponential(10.0, count)).tolist(), strict=True)
    )


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_observe(benchmark, name):
    """2,000 requests in five and a half hours."""
    stream = requests(2000)

    def show(predictor):
        for model, now_s in stream:
            predictor.observe(model, now_s)

    benchmark.extra_info["requests"] = len(stream)
    benchmark.pedantic(show, setup=lambda: ((make_predictor(name, NAMES),), {}), rounds=5)


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_probability_of_all_models(benchmark, name):
    """One turn of the preloading loop: 76 models, one horizon."""
    predictor = make_predictor(name, NAMES)
    stream = requests(2000)
    for model, now_s in stream:
        predictor.observe(model, now_s)
    now_s = stream[-1][1] + 5.0
    benchmark(lambda: [predictor.probability(model, now_s, 3600.0) for model in NAMES])
