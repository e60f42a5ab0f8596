"""What another setting would have come to: figures by hand, intervals by their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlab.analysis.shifts import KEYS, Series, apart, shifts
from vramlab.config.errors import InputError


def series(latency_s, hit=None):
    latency_s = np.asarray(latency_s, dtype=float)
    return Series(np.ones(len(latency_s)) if hit is None else np.asarray(hit, dtype=float), latency_s)


def moved(recorded, as_recorded, *alternatives, seed=0, **how):
    return shifts(recorded, as_recorded, alternatives, np.random.default_rng(seed), **how)


def noisy(rng, scale, n=600, hits=0.7):
    """Latencies and hits of one run; what is slow is slow in all runs."""
    hard = np.sin(np.arange(n) / 7.0) > 0
    latency_s = scale * (1.0 + 3.0 * hard) * rng.gamma(9.0, 1 / 9.0, n)
    return series(latency_s, rng.random(n) < hits)


def test_figures_are_shifted_as_by_hand():
    recorded = series([1, 2, 3, 4], [1, 1, 0, 0])
    base = [series([2, 2, 2, 2], [1, 0, 0, 0])] * 2
    other = [series([1, 1, 1, 1], [1, 1, 0, 0]), series([5, 5, 5, 5], [1, 1, 0, 0])]
    (found,) = moved(recorded, base, other)
    assert found.simulated["latency_mean_s"] == 3
    # three halves of what was recorded, and a quarter more hits
    assert found.predicted["latency_mean_s"] == pytest.approx(2.5 * 1.5)
    assert found.predicted["latency_p50_s"] == pytest.approx(2.5 * 1.5)
    assert found.predicted["hit_rate"] == pytest.approx(0.75)
    assert found.differences["hit_rate"].estimate == pytest.approx(0.25)
    assert found.differences["latency_mean_s"].estimate == pytest.approx(1.25)


def test_a_hit_rate_stays_between_none_and_all():
    low, high = series([1, 1], [0, 0]), series([1, 1], [1, 1])
    assert moved(high, [low] * 2, [high] * 2)[0].predicted["hit_rate"] == 1
    assert moved(low, [high] * 2, [low] * 2)[0].predicted["hit_rate"] == 0


@pytest.mark.parametrize("bias", [0.5, 1.3, 4.0])
def test_what_the_simulator_gets_wrong_for_both_alike_drops_out(bias):
    rng = np.random.default_rng(1)
    live, other = noisy(rng, 0.010), noisy(rng, 0.014)
    base, simulated = ([Series(one.hit, bias * one.latency_s)] * 2 for one in (live, other))
    (found,) = moved(live, base, simulated)
    for key in KEYS:
        assert found.predicted[key] == pytest.approx(other.figures()[key])


def test_an_alternative_that_changes_nothing_has_no_difference():
    rng = np.random.default_rng(2)
    live, base = noisy(rng, 0.010), [noisy(rng, 0.011) for _ in range(3)]
    (found,) = moved(live, base, base)
    assert found.predicted == live.figures()
    for one in found.differences.values():  # a second recording would differ all the same
        assert one.low < 0 == one.estimate < one.high


def test_an_interval_holds_its_estimate_and_grows_with_what_is_asked_of_it():
    rng = np.random.default_rng(3)
    live = noisy(rng, 0.010)
    base, other = ([noisy(rng, scale) for _ in range(4)] for scale in (0.010, 0.013))
    (wide,), (narrow,) = (moved(live, base, other, confidence=share) for share in (0.99, 0.5))
    for key in KEYS:
        assert wide.differences[key].low < narrow.differences[key].low < wide.differences[key].estimate
        assert wide.differences[key].high > narrow.differences[key].high > wide.differences[key].estimate


def test_several_alternatives_have_wider_intervals_than_one():
    rng = np.random.default_rng(4)
    live = noisy(rng, 0.010)
    base, *others = ([noisy(rng, scale) for _ in range(4)] for scale in (0.010, 0.012, 0.009, 0.015, 0.011))
    alone = moved(live, base, others[0])[0].differences["latency_mean_s"]
    among = moved(live, base, *others)[0].differences["latency_mean_s"]
    assert among.estimate == alone.estimate
    assert among.high - among.low > alone.high - alone.low


def test_real_differences_lie_within_the_intervals():
    held = 0
    for seed in range(40):
        rng = np.random.default_rng([5, seed])
        base, other = ([noisy(rng, scale) for _ in range(4)] for scale in (0.010, 0.012))
        live, then = noisy(rng, 0.010), noisy(rng, 0.012)
        (found,) = moved(live, base, other, seed=seed, resamples=200)
        one = found.differences["latency_mean_s"]
        held += one.low <= then.figures()["latency_mean_s"] - live.figures()["latency_mean_s"] <= one.high
    assert held >= 36


@given(
    st.lists(st.one_of(st.floats(1e-6, 1e3), st.just(float("nan"))), min_size=1, max_size=30).filter(
        lambda values: not all(np.isnan(values))
    )
)
def test_figures_are_those_of_numpy(values):
    latency_s = np.array(values)
    hit = np.where(np.isnan(latency_s), 0.0, latency_s > 1)
    found = series(latency_s, hit).figures()
    known = latency_s[~np.isnan(latency_s)]
    assert found["hit_rate"] == pytest.approx(hit.mean())
    assert found["latency_mean_s"] == pytest.approx(known.mean())
    for key, share in (("latency_p50_s", 50), ("latency_p95_s", 95), ("latency_p99_s", 99)):
        assert found[key] == pytest.approx(np.percentile(known, share))


def test_what_is_not_of_the_same_requests_is_refused():
    one, two = series([1, 2]), series([1, 2, 3])
    with pytest.raises(InputError, match="2 and 3 requests"):
        moved(one, [one] * 2, [two] * 2)
    with pytest.raises(InputError, match="at least one of each"):
        moved(one, [])
    with pytest.raises(InputError, match="as many of all"):
        moved(one, [one] * 2, [one])


def test_medians_of_nothing_are_no_division():
    """Answers from the cache take no time: a median of 0 cannot be shifted by a ratio."""
    recorded = Series(np.ones(200), np.zeros(200))
    slower = Series(np.ones(200), np.full(200, 0.5))
    (shift,) = shifts(recorded, [recorded] * 2, [[slower] * 2], np.random.default_rng(0), resamples=10)
    assert shift.predicted["latency_p50_s"] == 0.5


def test_few_draws_widen_intervals_and_ends_are_possible():
    rng = np.random.default_rng(1)

    def run(mean_s):
        return Series(
            (rng.random(400) < 0.95).astype(float), rng.gamma(2.0, mean_s / 2, 400) + rng.normal(0.2, 0.05)
        )

    recorded, base, other = run(1.0), [run(1.0) for _ in range(10)], [run(1.0) for _ in range(10)]

    def width(draws):
        (shift,) = shifts(recorded, base[:draws], [other[:draws]], np.random.default_rng(0), resamples=200)
        one = shift.differences["hit_rate"]
        assert shift.predicted["hit_rate"] + one.low - one.estimate >= 0
        assert recorded.figures()["hit_rate"] + one.high <= 1 + 1e-12
        ends = shift.differences["latency_p50_s"]
        return ends.high - ends.low

    assert width(2) > width(10)


def test_how_far_a_figure_is_off_is_relative_but_for_the_hit_rate():
    assert apart(0.75, 0.5, "hit_rate") == 0.25
    assert apart(0.75, 0.5, "latency_p50_s") == 0.5
    assert np.isnan(apart(0.75, 0.0, "latency_p50_s"))
