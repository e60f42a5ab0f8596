"""Resampling together: as one by one where that can be told, right as often as it says, and small."""

import tracemalloc

import numpy as np
import pytest

from vramlab.analysis.resampling import jointly
from vramlab.analysis.statistics import bootstrap_interval
from vramlab.config.errors import InputError


def test_one_series_has_the_interval_that_it_has_by_itself():
    rng = np.random.default_rng(0)
    series = rng.normal(5, 1, 4000)
    series[::7] = np.nan
    (joint,) = jointly([series], np.random.default_rng(1)).each
    alone = bootstrap_interval(series, np.random.default_rng(1), "mean", joint.block_length)
    assert joint.estimate == pytest.approx(alone.estimate)
    assert joint.low == pytest.approx(alone.low, abs=0.01)
    assert joint.high == pytest.approx(alone.high, abs=0.01)
    (total,) = jointly([series], np.random.default_rng(1), "sum").each
    assert total.estimate == pytest.approx(np.nansum(series))


def test_differences_of_many_hold_together_as_often_as_they_say():
    """Twelve settings that differ by nothing: in about one study of twenty, one of them looks better."""
    wrong = alone = 0
    for study in range(60):
        rng = np.random.default_rng(study)
        series = [rng.normal(0, 1, 600) for _ in range(13)]
        _, *others = jointly(series, rng, resamples=500).differences
        wrong += any(not one.low <= 0 <= one.high for one in others)
        first = series[0]
        plain = [bootstrap_interval(one - first, rng, resamples=500) for one in series[1:]]
        alone += any(not one.low <= 0 <= one.high for one in plain)
    assert wrong <= 9, "0.05 * 60 are expected"
    assert alone > 2 * wrong, "one by one they are wrong far more often"


def test_a_true_difference_is_found_with_its_size():
    rng = np.random.default_rng(3)
    base = rng.normal(10, 3, 3000)
    joint = jointly([base, base - 0.5 + rng.normal(0, 0.2, 3000), base], rng)
    assert joint.differences[0] is None
    assert joint.differences[1].low < -0.5 < joint.differences[1].high < 0
    same = joint.differences[2]
    assert (same.estimate, same.low, same.high) == (0, 0, 0)


def test_long_series_take_little_memory():
    """Ten of 30,000 requests took 2.2 GB one by one."""
    rng = np.random.default_rng(4)
    series = [rng.random(30_000) for _ in range(10)]
    tracemalloc.start()
    jointly(series, rng)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 150e6


def test_series_that_do_not_go_together_are_refused():
    rng = np.random.default_rng(0)
    for series, said in (
        ([], "none"),
        ([np.ones(3), np.ones(4)], "3, 4"),
        ([np.full(3, np.nan)], "no value"),
    ):
        with pytest.raises(InputError, match=said):
            jointly(series, rng)
