"""Weights learned online: by hand, with their delay, and what they are for."""

import pytest

from tests.prediction.streams import Constant, merged, poisson, shown
from vramlab.prediction.calibration import walk
from vramlab.prediction.combined import Combined
from vramlab.prediction.registry import make_predictor


def two(**options):
    settings = {"horizons_s": [10.0], "interval_s": 10.0, "start_s": 0.0, "learning_rate": 1.0, "share": 0.0}
    return Combined(["A"], {"yes": Constant(0.9), "no": Constant(0.1)}, **{**settings, **options})


def test_an_outcome_counts_when_it_is_known_and_not_before():
    combined = two()
    assert combined.probability("A", 0.0, 10.0) == pytest.approx(0.5)
    combined.observe("A", 15.0)  # the forecast of 10 s for [10, 20) has come true, but is not over
    assert combined.weights(10.0) == {"yes": 0.5, "no": 0.5}
    combined.observe("B", 25.0)
    assert combined.weights(10.0) == pytest.approx({"yes": 0.9, "no": 0.1})
    assert combined.probability("A", 25.0, 10.0) == pytest.approx(0.9 * 0.9 + 0.1 * 0.1)


def test_silence_is_an_outcome():
    combined = two()
    combined.observe("B", 9.0)
    # at 10 and at 20 s the two models, A and B, were each asked about; neither came in 10 s
    combined.observe("B", 30.0)
    total = 0.1**4 + 0.9**4
    # four forecasts that said 0.9 or 0.1, and four times no
    assert combined.weights(10.0) == pytest.approx({"yes": 0.1**4 / total, "no": 0.9**4 / total})


def test_a_request_at_the_end_of_the_window_is_outside():
    combined = two()
    combined.observe("A", 10.0)  # exactly when the forecast is made: inside
    combined.observe("A", 20.0)
    assert combined.weights(10.0)["yes"] == pytest.approx(0.9)
    combined = two()
    combined.observe("A", 20.0)  # exactly when it is over: outside
    assert combined.weights(10.0)["yes"] == pytest.approx(0.1)


def test_share_keeps_everybody_alive():
    combined = two(share=0.1)
    combined.observe("A", 15.0)
    combined.observe("A", 20.0)
    assert combined.weights(10.0) == pytest.approx({"yes": 0.9 * 0.9 + 0.05, "no": 0.9 * 0.1 + 0.05})


def test_overlapping_horizons_count_for_what_is_new():
    combined = two(horizons_s=[40.0], learning_rate=1.0)  # a forecast each 10 s, over 40 s: a quarter each
    combined.observe("A", 15.0)
    combined.observe("A", 50.0)  # the one of 10 s is over
    odds = (0.9 / 0.1) ** 0.25
    assert combined.weights(40.0)["yes"] == pytest.approx(odds / (1 + odds))


def test_what_a_shorter_horizon_promised_stays_promised():
    combined = two(horizons_s=[10.0, 1000.0])
    combined.observe("A", 15.0)
    combined.observe("A", 25.0)  # for 10 s, "yes" has won; of 1000 s nothing is known
    assert combined.weights(1000.0)["yes"] == 0.5
    assert combined.probability("A", 25.0, 5000.0) == combined.probability("A", 25.0, 10.0) > 0.8


def test_the_better_expert_wins():
    times, models = merged(poisson(1 / 50, 100_000, 1, "A"), poisson(1 / 20_000, 100_000, 2, "B"))
    experts = {"good": make_predictor("ewma", ["A", "B"], half_life_s=20_000.0), "bad": Constant(0.5)}
    combined = shown(Combined(["A", "B"], experts, horizons_s=[60.0]), times, models)
    assert combined.weights(60.0)["good"] > 0.95


def test_as_good_as_its_best_expert_when_the_stream_changes():
    """First a Poisson stream, which the rate foresees, then a strict period, which the histogram foresees."""
    early = poisson(1 / 600, 400_000, 4, "A")
    late = [float(t) for t in range(400_000, 1_000_000, 3000)], ["A"] * 200
    times, models = merged(early, late)
    losses = {}
    for name in ("ewma", "histogram", "combined"):
        options = {"experts": {"ewma": {}, "histogram": {}}} if name == "combined" else {}
        predictor = make_predictor(name, ["A"], **options)
        losses[name] = walk(predictor, times, models, horizons_s=[600.0], interval_s=450.0).log_loss
    assert losses["combined"] < 1.03 * min(losses["ewma"], losses["histogram"])
