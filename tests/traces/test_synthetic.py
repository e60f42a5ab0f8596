"""Synthetic workloads have the rate, burstiness, popularity and order that was asked for."""

import time

import numpy as np
import pytest

from vramlab.config.errors import InputError
from vramlab.traces.synthetic import pipeline_trace, zipf_trace

MODELS = [f"m{number:02}" for number in range(20)]


def rng(seed=1):
    return np.random.default_rng(seed)


def zipf(seed=1, **changes):
    return zipf_trace(rng(seed), **{"models": MODELS, "requests": 50_000, "rate_per_s": 10.0, **changes})


def shares(trace):
    counts = dict(zip(trace.model_names, np.bincount(trace.model_codes), strict=True))
    return np.array([counts.get(name, 0) for name in MODELS]) / len(trace)


def test_same_generator_state_same_trace():
    assert zipf(7, repeat=0.2, drift_period_s=60).sha256 == zipf(7, repeat=0.2, drift_period_s=60).sha256
    assert zipf(7).sha256 != zipf(8).sha256


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 3.0])
def test_rate_and_burstiness(burstiness):
    gaps = np.diff(zipf(burstiness=burstiness).times_s)
    assert gaps.mean() == pytest.approx(0.1, rel=0.08)
    assert gaps.std() / gaps.mean() == pytest.approx(burstiness, rel=0.08)


def test_no_burstiness_is_a_clock():
    assert np.diff(zipf(burstiness=0, requests=100).times_s) == pytest.approx(0.1)


def test_very_bursty_times_stay_in_order():
    assert (np.diff(zipf(burstiness=12).times_s) >= 0).all()


def test_popularity_is_zipf():
    weights = np.arange(1, 21) ** -0.9
    assert shares(zipf()) == pytest.approx(weights / weights.sum(), abs=0.01)
    assert shares(zipf(exponent=0.0)) == pytest.approx(np.full(20, 0.05), abs=0.01)


def test_repeat():
    def repeated(trace):
        return (np.diff(trace.model_codes) == 0).mean()

    by_chance = repeated(zipf())
    assert repeated(zipf(repeat=0.6)) == pytest.approx(0.6 + 0.4 * by_chance, abs=0.02)
    assert zipf(repeat=1.0, requests=100).model_names[1:] == []
    # repeating makes runs longer and leaves popularity alone
    assert shares(zipf(repeat=0.6)) == pytest.approx(shares(zipf()), abs=0.03)


def test_drift_moves_popularity_between_periods_only():
    trace = zipf(drift_period_s=500.0, exponent=1.5)
    still = zipf(exponent=1.5)
    assert trace.times_s.tolist() == still.times_s.tolist()
    first = trace.times_s < 500
    assert (trace.frame["model"][first] == still.frame["model"][first]).all()
    tops = {trace.between(a, a + 500).frame["model"].mode()[0] for a in range(0, 4500, 500)}
    assert len(tops) > 1
    # within a period the mapping of ranks to models is one to one
    second = (trace.times_s >= 500) & (trace.times_s < 1000)
    both = set(zip(trace.frame["model"][second], still.frame["model"][second], strict=True))
    assert len(both) == len({a for a, _ in both}) == len({b for _, b in both})
    # a quarter of the ranks moves at a time
    assert sum(a != b for a, b in both) == 5


def test_one_model_and_drift():
    assert zipf(models=["only"], drift_period_s=1.0, requests=100).model_names == ["only"]


def pipeline(seed=1, **changes):
    stages = [("detect", 1.0), ("read", 0.5), ("look_up", 0.25)]
    return pipeline_trace(rng(seed), **{"stages": stages, "arrivals": 20_000, "rate_per_s": 2.0, **changes})


def times_of(trace, model):
    return trace.times_s[(trace.frame["model"] == model).to_numpy()]


def test_pipeline_stages():
    trace = pipeline(gap_s=0.25, burstiness=2.0)
    detect, read, look_up = (times_of(trace, model) for model in ("detect", "read", "look_up"))
    assert len(detect) == 20_000
    assert len(read) / 20_000 == pytest.approx(0.5, abs=0.02)
    assert len(look_up) / 20_000 == pytest.approx(0.25, abs=0.02)
    assert np.isin(read, detect + 0.25).all()
    assert np.isin(look_up, detect + 0.5).all()
    assert len(trace) == len(detect) + len(read) + len(look_up)


def test_pipeline_without_gap_keeps_stages_in_order():
    trace = pipeline(stages=[("z", 1.0), ("a", 1.0)], arrivals=50, burstiness=0.0)
    firsts = [trace.between(t, t + 0.1).frame["model"].tolist() for t in np.unique(trace.times_s)]
    assert firsts == [["z", "a"]] * 50


def test_pipeline_background():
    trace = pipeline(background={"x": 3.0, "read": 1.0, "never": 0.0})
    rate = len(times_of(trace, "x")) / trace.duration_s
    assert rate == pytest.approx(3.0, rel=0.03)
    assert len(times_of(trace, "read")) / trace.duration_s == pytest.approx(1.0 + 2.0 * 0.5, rel=0.05)
    assert "never" not in trace.model_names
    gaps = np.diff(times_of(trace, "x"))
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.05)
    assert pipeline(3, background={"x": 3.0}).sha256 == pipeline(3, background={"x": 3.0}).sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "zipf_trace: models: found [], expected at least one model name"),
        ({"requests": 0}, "zipf_trace: requests: found 0, expected at least 1"),
        ({"rate_per_s": 0}, "zipf_trace: rate_per_s: found 0, expected more than 0, finite"),
        ({"burstiness": -1}, "zipf_trace: burstiness: found -1, expected 0 or more, finite"),
        ({"exponent": float("nan")}, "zipf_trace: exponent: found nan, expected a finite number"),
        ({"repeat": 1.5}, "zipf_trace: repeat: found 1.5, expected a probability"),
        ({"drift_period_s": 0}, "zipf_trace: drift_period_s: found 0, expected more than 0, or None"),
    ],
)
def test_bad_zipf_arguments(changes, message):
    with pytest.raises(InputError) as caught:
        zipf(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": []}, "pipeline_trace: stages: found [], expected at least one stage"),
        ({"stages": [("a", 0.5)]}, "pipeline_trace: stages[0]: found 0.5, expected probability 1, as every"),
        ({"stages": [("a", 1), ("b", 2)]}, "pipeline_trace: stages[1]: found 2, expected a probability"),
        ({"arrivals": 0}, "pipeline_trace: arrivals: found 0, expected at least 1"),
        ({"gap_s": -1.0}, "pipeline_trace: gap_s: found -1.0, expected 0 or more, finite"),
        ({"rate_per_s": -2}, "pipeline_trace: rate_per_s: found -2, expected more than 0, finite"),
        (
            {"background": {"x": -1}},
            "pipeline_trace: background['x']: found -1, expected 0 or more per second",
        ),
    ],
)
def test_bad_pipeline_arguments(changes, message):
    with pytest.raises(InputError) as caught:
        pipeline(**changes)
    assert str(caught.value).startswith(message)


def test_speed():
    start = time.perf_counter()
    zipf(requests=300_000, drift_period_s=100.0, repeat=0.3)
    pipeline(arrivals=100_000, background={"x": 1.0})
    # in truth about 0.2 s: the limit leaves room for a busy machine, and none for a loop over requests
    assert time.perf_counter() - start < 3
