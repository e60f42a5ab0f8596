"""Time-outs from reuse gaps: by hand, against a walk through time, and against all combinations."""

import itertools

import numpy as np
import pandas as pd
import pytest

from vramlab.analysis.keep_alive import Gaps, best_timeouts, gaps_of, keep_alive_curve
from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority
from vramlab.traces.trace import Trace

MB = 2**20


def spec(size_mb=1, load_ms=1000, run_ms=0):
    return ModelSpec(
        priority=Priority.MEDIUM, vram_size_mb=size_mb, load_time_ms=load_ms, inference_ms=run_ms
    )


def trace_of(*rows):
    return Trace.from_frame(pd.DataFrame(rows, columns=["time_s", "model"]))


def test_gaps_by_hand():
    """Model a runs 2 s: it is idle from 2 to 10, and from 13 (a run that came during another) to the end."""
    trace = trace_of((0, "a"), (1, "b"), (10, "a"), (11, "a"), (33, "b"))
    a, b = gaps_of(trace, {"a": spec(run_ms=2000), "b": spec()})
    assert a.gaps_s.tolist() == [0.0, 8.0]
    assert (a.busy_s, a.tail_s) == (5.0, 20.0)
    assert b.gaps_s.tolist() == [32.0]
    assert [a.cold_starts(t) for t in (0, 7.9, 8, 100)] == [2, 2, 1, 1]
    # 5 s in use, a load or two of 1 s, and of the gap of 8 and the tail of 20 as much as the time-out allows
    assert [a.held_s(t) for t in (0, 5, 8, 100)] == [7.0, 17.0, 22.0, 34.0]


def test_a_trace_of_one_model_has_nothing_to_decide():
    with pytest.raises(InputError, match="several models"):
        gaps_of(trace_of((0, "a"), (1, "a")), {"a": spec()})


def walked(times, run_s, timeout_s, end_s):
    """Cold starts and idle seconds, request by request."""
    cold, idle, until = 1, 0.0, times[0] + run_s
    for time in times[1:]:
        gap = max(0.0, time - until)
        idle += min(gap, timeout_s)
        cold += gap > timeout_s
        until = max(until, time + run_s)
    return cold, idle + min(timeout_s, max(0.0, end_s - until))


@pytest.mark.parametrize("seed", range(5))
def test_sums_over_gaps_are_what_a_walk_through_time_finds(seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.exponential(50, 200).cumsum())
    rows = [(t, "ab"[int(k)]) for t, k in zip(times, rng.integers(0, 2, 200), strict=True)]
    trace = trace_of(*rows)
    for one in gaps_of(trace, {"a": spec(run_ms=20_000), "b": spec(run_ms=5000)}):
        mine = [t for t, name in rows if name == one.name]
        for timeout_s in (0.0, 10.0, 60.0, 1e9):
            cold, idle = walked(mine, 20.0 if one.name == "a" else 5.0, timeout_s, times[-1])
            assert one.cold_starts(timeout_s) == cold
            assert one.held_s(timeout_s) == pytest.approx(one.busy_s + idle + cold * one.load_s)


def test_the_cheapest_time_out_is_that_of_a_search():
    rng = np.random.default_rng(1)
    for _ in range(20):
        one = Gaps("m", 1000, float(rng.uniform(1, 9)), np.sort(rng.exponential(30, 40)), 5.0, 50.0)
        price = float(rng.uniform(0, 1e-3))
        tried = [0.0, *one.gaps_s]
        costs = [one.cold_starts(t) * one.load_s + price * one.size_bytes * one.held_s(t) for t in tried]
        found = one.cheapest(price)
        cost = one.cold_starts(found) * one.load_s + price * one.size_bytes * one.held_s(found)
        assert cost == pytest.approx(min(costs))


def test_no_combination_within_the_memory_has_fewer_load_seconds_than_a_convex_bound_allows():
    """Best time-outs are on the lower hull of all combinations: none has less of both."""
    rng = np.random.default_rng(2)
    models = [
        Gaps(name, size, load, np.sort(rng.exponential(40, 5)), 1.0, 10.0)
        for name, size, load in (("a", 1000, 2.0), ("b", 3000, 5.0), ("c", 500, 9.0))
    ]
    every = [
        dict(zip("abc", choice, strict=True))
        for choice in itertools.product(*([0.0, *one.gaps_s] for one in models))
    ]

    def figures(timeouts):
        held = sum(one.size_bytes * one.held_s(timeouts[one.name]) for one in models) / 200.0
        return held, sum(one.load_s * one.cold_starts(timeouts[one.name]) for one in models)

    tried = [figures(timeouts) for timeouts in every]
    for share in (0.3, 0.5, 0.7, 0.9):
        allowed = share * max(held for held, _ in tried)
        held, loads = figures(best_timeouts(models, allowed, 200.0))
        assert held <= allowed
        assert not any(h <= held and s < loads - 1e-9 for h, s in tried)
    assert best_timeouts(models, 1e12, 200.0) == {one.name: one.gaps_s[-1] for one in models}
    assert set(best_timeouts(models, 0.0, 200.0).values()) == {0.0}


def test_the_curve_has_a_row_per_model_and_time_out():
    trace = trace_of((0, "a"), (1, "b"), (100, "a"), (400, "b"))
    table = keep_alive_curve(gaps_of(trace, {"a": spec(2), "b": spec()}), (50.0, 300.0))
    assert table["cold_starts"].tolist() == [2, 1, 2, 2]
    assert table["load_s"].tolist() == [2.0, 1.0, 2.0, 2.0]
