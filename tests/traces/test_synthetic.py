"""Synthetic workloads have the rate, burstiness, popularity and order that was asked for."""

import numpy as np
import pytest

from vramlab.config.errors import InputError
from vramlab.traces.synthetic import zipf_trace

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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "streams.0: found a mapping, expected either models or a pipeline"),
        ({"requests": 0}, "requests: found 0, expected greater than or equal to 1"),
        ({"rate_per_s": 0}, "streams.0.rate_per_s: found 0, expected greater than 0"),
        ({"burstiness": -1}, "streams.0.burstiness: found -1, expected greater than or equal to 0"),
        ({"exponent": float("nan")}, "streams.0.exponent: found nan, expected a finite number"),
        ({"repeat": 1.5}, "streams.0.reuse.0.probability: found 1.5, expected less than or equal to 1"),
        ({"drift_period_s": 0}, "streams.0.drift.period_s: found 0, expected greater than 0"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(InputError) as caught:
        zipf(**changes)
    assert str(caught.value) == f"zipf_trace: {message}"
