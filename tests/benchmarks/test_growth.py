"""The chart of growth: its points can be measured, and what would take too long is left out and named."""

import pytest

from results.speed import growth


@pytest.mark.parametrize("call", growth.CALLS)
def test_a_point(call):
    found = growth.point(call, 300, 5, 0)
    assert found["peak_mb"] > 10
    assert 0 < found["hit_rate"] < 1
    assert found == growth.point(call, 300, 5, 0) | {
        key: found[key] for key in ("cpu_s", "wall_s", "peak_mb")
    }


def test_what_takes_too_long_is_left_out_with_all_that_is_larger(monkeypatch):
    monkeypatch.setattr(growth, "CALLS", ("decide",))
    monkeypatch.setattr(growth, "SIZES", {"requests": [100, 1000], "models": [10]})
    limits = []

    def in_a_process(arguments, seconds):
        limits.append(seconds)
        return None if arguments[:3] == ["decide", "100", "200"] else {"wall_s": 1.0}

    monkeypatch.setattr(growth, "in_a_process", in_a_process)
    table, left_out = growth.measured(30.0, 0)
    assert table.to_dict("records") == [
        {"call": "decide", "grows": "models", "requests": 20_000, "models": 10, "wall_s": 1.0}
    ]
    assert left_out == ["decide of 100 requests", "decide of 1,000 requests"]
    assert all(0 < limit <= 10 for limit in limits)
