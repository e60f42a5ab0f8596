"""Warm-up, block bootstrap and paired comparison: worked examples, and processes whose answer is known."""

import numpy as np
import pytest

from vramlab.analysis.statistics import (
    Warmup,
    block_length,
    bootstrap_interval,
    over_seeds,
    paired_difference,
    request_series,
    warmup,
)
from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority
from vramlab.engine.outcomes import LoadRecord, Outcome
from vramlab.runs.records import Records


def autoregressive(rng, n, rho):
    noise = rng.standard_normal(n)
    values = np.empty(n)
    values[0] = noise[0] / np.sqrt(1 - rho**2)
    for index in range(1, n):
        values[index] = rho * values[index - 1] + noise[index]
    return values


def test_warmup_by_hand():
    # batch means 10, 0, 1, 0, 1, 0, 1, 0: MSER is 81.875 / 64 uncut, (12/7) / 49 without the first
    means = np.array([10, 0, 1, 0, 1, 0, 1, 0], dtype=float)
    assert warmup(np.repeat(means, 5)) == Warmup(5, True)


def test_warmup_is_the_minimum_over_all_cuts():
    rng = np.random.default_rng(3)
    series = rng.random(400) + 4 * np.exp(-np.arange(400) / 30)
    means = series.reshape(-1, 5).mean(axis=1)
    scores = [means[cut:].var() / len(means[cut:]) for cut in range(len(means) // 2 + 1)]
    assert warmup(series).requests == 5 * int(np.argmin(scores))
    assert 60 < warmup(series).requests < 200


def test_warmup_of_a_run_that_never_settles():
    assert not warmup(np.linspace(1, 0, 200)).settled
    assert warmup(np.ones(7)) == Warmup(0, False)
    assert warmup(np.ones(200)) == Warmup(0, True)


def test_warmup_counts_requests_that_do_not_count():
    series = np.repeat(np.array([10, 0, 1, 0, 1, 0, 1, 0], dtype=float), 5)
    with_gaps = np.full(80, np.nan)
    with_gaps[::2] = series
    assert warmup(with_gaps).requests == 10


def test_block_length_grows_with_dependence():
    rng = np.random.default_rng(0)
    independent = block_length(rng.standard_normal(4000))
    some, much = (block_length(autoregressive(rng, 4000, rho)) for rho in (0.5, 0.9))
    assert independent <= 5
    assert independent < some < much
    # for an AR(1) process g / spectral = 2 rho / (1 - rho^2) and the rule gives (1.5 g^2 n)^(1/3)
    assert some == pytest.approx((1.5 * (2 * 0.5 / 0.75) ** 2 * 4000) ** (1 / 3), rel=0.4)
    assert much == pytest.approx((1.5 * (2 * 0.9 / 0.19) ** 2 * 4000) ** (1 / 3), rel=0.4)
    assert block_length(np.ones(100)) == 1
    assert block_length(np.arange(5.0)) == 1


def test_interval_of_independent_values_is_the_textbook_one():
    rng = np.random.default_rng(1)
    series = (rng.random(5000) < 0.3).astype(float)
    found = bootstrap_interval(series, rng, length=1, resamples=4000)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 5000)
    assert found.estimate == series.mean()
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_interval_covers_a_dependent_mean_where_single_requests_would_not():
    rng = np.random.default_rng(2)
    covered, covered_singly = 0, 0
    for _ in range(120):
        series = autoregressive(rng, 1500, 0.8)
        blocks = bootstrap_interval(series, rng, resamples=300)
        singly = bootstrap_interval(series, rng, length=1, resamples=300)
        covered += blocks.low <= 0 <= blocks.high
        covered_singly += singly.low <= 0 <= singly.high
    assert covered >= 0.85 * 120
    assert covered_singly < 0.65 * 120


def test_fast_sums_agree_with_resampling_itself():
    series = np.array([1.0, np.nan, 4.0, 2.0, 8.0, np.nan, 3.0])
    fast = bootstrap_interval(series, np.random.default_rng(5), "mean", length=3, resamples=500)
    slow = bootstrap_interval(
        series, np.random.default_rng(5), lambda values: float(values.mean()), length=3, resamples=500
    )
    assert (fast.estimate, fast.low, fast.high) == pytest.approx((slow.estimate, slow.low, slow.high))
    total = bootstrap_interval(series, np.random.default_rng(5), "sum", length=3, resamples=500)
    assert total.estimate == 18.0
    assert total.low < 18.0 < total.high


def test_same_seed_same_interval():
    series = np.random.default_rng(0).random(500)
    first, second, other = (bootstrap_interval(series, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert first == second
    assert first != other


def test_percentile_of_latency():
    rng = np.random.default_rng(4)
    series = rng.exponential(2.0, 3000)
    found = bootstrap_interval(series, rng, lambda values: float(np.percentile(values, 95)), resamples=300)
    assert found.low < 2.0 * np.log(20) < found.high


def test_paired_difference_sees_what_unpaired_intervals_hide():
    rng = np.random.default_rng(6)
    trace = 5 * autoregressive(rng, 3000, 0.9)
    a, b = trace + rng.standard_normal(3000), trace + 0.3 + rng.standard_normal(3000)
    found = paired_difference(a, b, rng)
    assert found.verdict == "a lower"
    assert found.difference.low < -0.3 < found.difference.high < 0
    assert paired_difference(b, a, rng).verdict == "b lower"
    alone_a, alone_b = bootstrap_interval(a, rng), bootstrap_interval(b, rng)
    assert alone_a.high > alone_b.low  # the intervals of the two overlap


def test_ties():
    rng = np.random.default_rng(8)
    a = rng.random(2000)
    assert paired_difference(a, a, rng).verdict == "tie"
    assert paired_difference(a, a.copy() + rng.standard_normal(2000), rng).verdict == "tie"
    assert paired_difference(a, a + 0.001, rng).verdict == "a lower"
    assert paired_difference(a, a + 0.001, rng, same_within=0.01).verdict == "tie"


def test_over_seeds():
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.estimate == 2.0
    assert found.high - 2.0 == pytest.approx(4.302653 / np.sqrt(3))  # Student's t, 2 degrees of freedom
    assert np.isnan(over_seeds([1.0]).low)


def records():
    return Records(
        model_names=["A", "B"],
        model_codes=np.array([0, 1, 0, 0], dtype=np.int32),
        arrival_s=np.array([0.0, 1.0, 2.0, 3.0]),
        outcomes=np.array(
            [Outcome.COLD_START, Outcome.REFUSED, Outcome.CACHE_HIT, Outcome.HIT], dtype=np.uint8
        ),
        finish_s=np.array([2.5, 1.0, 2.1, 3.5]),
        zone_names=["flexible"],
        loads=[
            LoadRecord(0.0, 1.0, "B", "flexible", 1, "start"),
            LoadRecord(0.0, 1.0, "B", "flexible", 1, "preload"),
            LoadRecord(0.5, 2.5, "A", "flexible", 1),
        ],
    )


def test_request_series():
    nan = np.nan
    np.testing.assert_equal(request_series(records(), "hit"), [0, 0, nan, 1])
    np.testing.assert_allclose(request_series(records(), "latency_s"), [2.5, nan, 0.1, 0.5])
    # both loads that count began while the first request was the latest
    assert request_series(records(), "load_cost_s").tolist() == [3.0, 0, 0, 0]
    spec = ModelSpec(priority=Priority.LOW, vram_size_mb=1, load_time_ms=4000)
    stated = request_series(records(), "load_cost_s", {"A": spec, "B": spec})
    assert stated.tolist() == [8.0, 0, 0, 0]


def test_bad_input():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="series: measure: found 'speed'"):
        request_series(records(), "speed")
    with pytest.raises(InputError, match="found 2 and 3 requests, expected the same requests in both"):
        paired_difference(np.ones(2), np.ones(3), rng)
    with pytest.raises(InputError, match="bootstrap: confidence: found 95"):
        bootstrap_interval(np.ones(3), rng, confidence=95)
    with pytest.raises(InputError, match="bootstrap: series: found no value"):
        bootstrap_interval(np.array([np.nan]), rng)
    with pytest.raises(InputError, match="seeds: values: found none"):
        over_seeds([])
