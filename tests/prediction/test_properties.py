"""What every predictor keeps, whatever the stream."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.prediction.streams import merged, poisson, shown
from vramlab.prediction.calibration import reliability, walk
from vramlab.prediction.registry import PREDICTORS, make_predictor

NAMES = list(PREDICTORS)
MODELS = ["A", "B", "C"]

gaps = st.one_of(st.just(0.0), st.floats(0.01, 5.0), st.floats(5.0, 5000.0), st.floats(5000.0, 400_000.0))
streams = st.lists(st.tuples(gaps, st.sampled_from([*MODELS, "unheard of"])), max_size=60)
horizons = st.lists(st.floats(0.0, 200_000.0), min_size=2, max_size=6).map(sorted)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(stream=streams, later_s=gaps, horizons_s=horizons, start_s=st.sampled_from([None, 0.0, -1000.5]))
def test_a_probability_that_grows_with_the_horizon(name, stream, later_s, horizons_s, start_s):
    # the combination learns through silence step by step: longer steps make the test quick, not another
    options = {"interval_s": 7000.0} if name == "combined" else {}
    predictor = make_predictor(name, MODELS, start_s=start_s, **options)
    now_s = 0.0
    for gap_s, model in stream:
        now_s += gap_s
        predictor.observe(model, now_s)
    now_s += later_s
    for model in [*MODELS, "never seen"]:
        values = [predictor.probability(model, now_s, horizon_s) for horizon_s in horizons_s]
        assert all(0.0 <= value <= 1.0 and math.isfinite(value) for value in values)
        assert all(low <= high + 1e-12 for low, high in itertools.pairwise(values))
        # asking changed nothing
        assert values == [predictor.probability(model, now_s, horizon_s) for horizon_s in horizons_s]


@pytest.mark.parametrize("name", NAMES)
def test_plain_numbers_before_the_first_request(name):
    value = make_predictor(name, MODELS).probability("A", 100.0, 3600.0)
    assert type(value) is float
    assert 0.0 <= value < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_moving_the_start_changes_nothing(name):
    """Only differences of time count, but for whole weeks."""
    week_s = 7 * 86_400.0
    times, models = merged(poisson(1e-3, 50_000, 1, "A"), poisson(3e-4, 50_000, 2, "B"))
    here = shown(make_predictor(name, MODELS, start_s=0.0), times, models)
    there = shown(make_predictor(name, MODELS, start_s=week_s), np.asarray(times) + week_s, models)
    for horizon_s in (60.0, 3600.0):
        expected = here.probability("A", 50_000.0, horizon_s)
        assert there.probability("A", 50_000.0 + week_s, horizon_s) == pytest.approx(expected, rel=1e-6)


OPTIONS = {"ewma": {"half_life_s": 12 * 3600.0}}


@pytest.mark.parametrize("horizon_s", [60.0, 600.0, 3600.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_poisson_stream_gives_calibrated_probabilities(name, horizon_s):
    times, models = merged(poisson(1 / 900, 10 * 86_400, 5, "A"), poisson(1 / 7200, 10 * 86_400, 6, "B"))
    predictor = make_predictor(name, ["A", "B"], start_s=0.0, **OPTIONS.get(name, {}))
    forecasts = walk(
        predictor,
        times,
        models,
        horizons_s=[horizon_s],
        interval_s=977.0,
        start_s=3 * 86_400,
        asked=["A", "B"],
    )
    for model, rate in (("A", 1 / 900), ("B", 1 / 7200)):
        part = forecasts.where(forecasts.model == model)
        truth = 1 - math.exp(-rate * horizon_s)
        assert part.probability.mean() == pytest.approx(truth, abs=0.03 + 0.1 * truth)
        # knowing the rate would give this Brier score, up to chance
        perfect = part.with_probability(np.full(len(part), truth)).brier
        assert part.brier < perfect + 0.025
    table = reliability(forecasts, bins=5)
    many = table["forecasts"] >= 60
    assert np.all(np.abs(table["mean_probability"] - table["share_true"])[many] < 0.15)
