"""Descriptions by hand, reuse distances against their definition, and what one request gives."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlab.analysis.trace_plots import plot_description
from vramlab.traces.describe import burstiness_of, daily_cycle, describe, zipf_exponent
from vramlab.traces.reuse import hit_rates_by_models, reuse_distances
from vramlab.traces.trace import Trace


def trace_of(models, times=None, **columns):
    times = np.arange(len(models), dtype=float) if times is None else times
    return Trace.from_frame(pd.DataFrame({"time_s": times, "model": list(models), **columns}), "t.csv")


def by_definition(codes):
    distances = []
    for place, code in enumerate(codes):
        before = [earlier for earlier in range(place) if codes[earlier] == code]
        distances.append(len(set(codes[before[-1] + 1 : place])) if before else -1)
    return distances


@given(st.lists(st.integers(0, 6), max_size=80))
def test_reuse_distances_are_what_they_are_defined_as(codes):
    assert reuse_distances(np.array(codes, dtype=np.int64)).tolist() == by_definition(codes)


def test_reuse_worked_by_hand():
    #          a   b   a  a  c   b  a
    codes = np.array([0, 1, 0, 0, 2, 1, 0])
    assert reuse_distances(codes).tolist() == [-1, -1, 1, 0, -1, 2, 2]
    assert hit_rates_by_models(codes, 3) * 7 == pytest.approx([1, 2, 4])


def test_description_by_hand():
    trace = trace_of(
        "aabac", [10, 10, 12, 14, 70], requester=["u", "v", "u", None, "u"], items=[1, 1, 1, 1, 6]
    )
    found = describe(trace)
    assert (found.requests, found.models, found.requesters) == (5, 3, 2)
    assert found.duration_s == 60
    assert found.rate_per_s == pytest.approx(5 / 60)
    assert found.peak_rate_per_s == pytest.approx(2.0)
    # gaps of 0, 2, 2, 56: mean 15, variance (225 + 169 + 169 + 1681) / 4
    assert found.burstiness == pytest.approx(np.sqrt(561) / 15)
    assert found.dispersion == {1.0: pytest.approx(found.dispersion[1.0])}
    assert found.model_shares == {"a": 0.6, "b": 0.2, "c": 0.2}
    assert found.repeat == pytest.approx(1 / 4)
    assert found.lru_hit_rates == pytest.approx([0.2, 0.4, 0.4])
    assert found.working_set_s[[0, 1]].tolist() == [10.0, 11.0]
    assert found.working_set[[0, 2, 4, 59]].tolist() == [1, 1, 1, 1]
    assert found.working_set_requests[[0, 2, 4, 59]].tolist() == [2, 1, 1, 1]
    assert found.working_set_requests.sum() == 5
    assert np.isnan(found.daily).all()
    assert found.items_mean == 2
    assert np.isnan(found.repeated_inputs)
    assert found.to_dict()["repeated_inputs"] is None
    assert found.table().set_index("what").value["requests whose input came before"] == "not given"


def test_dispersion_of_a_clock_and_of_pairs():
    assert describe(trace_of("a" * 1_001)).dispersion[1.0] == 0
    # 0 and 2 requests in turn: variance 1, mean 1
    assert describe(trace_of("a" * 1_000, np.repeat(np.arange(0, 1_000, 2.0), 2))).dispersion[
        1.0
    ] == pytest.approx(1, abs=0.01)


def test_zipf_exponent_is_found_again():
    counts = 1e6 * np.arange(1, 51) ** -1.3
    assert zipf_exponent(counts) == pytest.approx(1.3, abs=1e-3)
    assert zipf_exponent(np.full(20, 7)) == pytest.approx(0, abs=1e-3)
    assert zipf_exponent(np.array([9])) == 0


def test_daily_cycle():
    # three days with one request at 3 o'clock and three at 20 o'clock, and half a day that does not count
    times = [day * 86_400 + hour * 3_600 for day in range(3) for hour in (3, 20, 20, 20)]
    found = daily_cycle(np.array([*times, 3 * 86_400 + 9_000.0]), 3.5 * 86_400)
    assert found[[3, 20]].tolist() == [6.0, 18.0]
    assert found.sum() == 24


def test_repeated_inputs():
    trace = trace_of("aaba", input_key=["k", "k", "k", None])
    assert describe(trace).repeated_inputs == 0.25


def test_burstiness_of_nothing():
    assert np.isnan(burstiness_of(np.array([1.0])))
    assert np.isnan(burstiness_of(np.zeros(5)))


@pytest.mark.parametrize(
    "trace",
    [
        trace_of("a"),
        trace_of("ab", [5.0, 5.0]),
        trace_of("aba", [0.0, 1.0, 1e9]),
        trace_of("ab", [0.0, 1e15]),
        trace_of("abcab", [-5.0, 0.0, 1.0, 2.0, 9.0]),
    ],
    ids=["one", "all at once", "billion-second gap", "endless", "negative"],
)
def test_odd_traces_are_described_and_drawn(trace):
    found = describe(trace)
    assert found.working_set_requests.sum() == len(trace)
    table = found.table()
    assert table["what"].is_unique
    assert "requests" in found._repr_html_()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["requests"] == len(trace)
    assert len(plot_description(found).axes) == 4


def test_figure_of_a_trace_and_its_twin(tmp_path):
    found = describe(trace_of("abcab" * 20))
    figure = plot_description(found, twin=found)
    figure.savefig(tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 10_000
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == ["trace", "twin"]


@pytest.mark.parametrize("times_s", [[0.0], [3.0, 3.0], [0.0, 1.0], [0.0, 1.0, 60.0]])
def test_a_short_trace_in_words(times_s):
    frame = pd.DataFrame({"time_s": times_s, "model": ["a"] * len(times_s)})
    table = describe(Trace.from_frame(frame)).table()
    rows = dict(zip(table["what"], table["value"], strict=True))
    assert (
        rows["duration"] == {0.0: "0 seconds", 1.0: "1 second", 60.0: "60 seconds"}[times_s[-1] - times_s[0]]
    )
    assert "nan" not in table.to_string()
    assert "per 1 second" not in table.to_string()
    if times_s[-1] == times_s[0]:
        assert rows["mean rate"] == "all at once"
        assert not any("0 seconds" in what for what in rows)
