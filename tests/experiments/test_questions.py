"""Pins and hardware, by hand."""

import numpy as np
import pytest

from tests.servers.running import config_of, spec, trace_of
from vramlab.config.errors import InputError
from vramlab.experiments.case import resolve_case
from vramlab.experiments.questions import hardware, pin_cost

# a and b of 60 MB take turns in 100 MB: each request is a load of a second, and a run of 0.1 s
TURNS = [(10.0 * i, "ab"[i % 2]) for i in range(10)]
MODELS = {"a": spec(60), "b": spec(60), "c": spec(30, 2000, priority="high")}


def case(rows, memory_mb=100, **sections):
    return resolve_case(trace_of(*rows), config_of(memory_mb, **sections), MODELS)


def test_a_pin_spares_its_own_loads_and_takes_others_their_room():
    """In 120 MB a and b stand together, or one of them and c: each of six requests is a load, as the least
    recently used leaves. With c pinned a and b take turns, and c is there from the start."""
    rows = [(0, "c"), (10, "a"), (20, "b"), (30, "c"), (40, "a"), (50, "b")]
    zone = {"flexible": {"size_mb": 120, "max_models": None, "min_retention_time": 0}}
    found = pin_cost(case(rows, 120, zones=zone), ["c"])
    by = found.models.set_index("model")
    assert by["pinned"].to_dict() == {"a": False, "b": False, "c": True}
    assert by["requests"].to_dict() == {"a": 2, "b": 2, "c": 2}
    assert found.without["loads"] == 6
    assert found.pinned["loads"] == 4  # what is there from the start counts as no load
    assert by.loc["c", "load_s"] == pytest.approx(-4.0)
    assert by.loc["c", "delay_s"] == pytest.approx(-4.0)
    assert by["load_s"].sum() == pytest.approx(found.pinned["load_cost_s"] - found.without["load_cost_s"])
    groups = found.priorities.set_index("priority")
    assert groups.loc["pinned", "requests"] == 2
    assert groups["delay_s"].sum() == pytest.approx(by["delay_s"].sum())


def test_pins_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="a model of the inventory"):
        pin_cost(case(TURNS), ["x"])
    with pytest.raises(InputError, match=r"at most 0\.0 GB, so that any other model still fits"):
        pin_cost(case(TURNS), ["a"])
    with pytest.raises(InputError, match="at least one model"):
        pin_cost(case(TURNS), [])


def test_a_server_may_have_the_pin_too():
    under = case(TURNS, 200).as_server("localai")
    found = pin_cost(under, ["a"])
    assert found.without["server"] == "localai"
    assert found.pinned["loads"] <= found.without["loads"]


def test_more_memory_and_faster_loads_spare_what_they_spare():
    """Each of ten requests loads for a second in 100 MB. With 20 MB more both stay: two loads. Twice as fast,
    each of ten loads takes half a second."""
    table = hardware(case(TURNS), [20 / 1024], [2.0]).set_index("change")
    assert table["load_cost_s"].to_dict() == pytest.approx({"now": 10.0, "memory": 2.0, "loading": 5.0})
    assert table["saved_s"].to_dict() == pytest.approx({"now": 0.0, "memory": 8.0, "loading": 5.0})
    # per GB, and per GB/s: 60 MB a second now, as much again
    assert table.loc["memory", "saved_per_s"] == pytest.approx(8.0 / (20 / 1024))
    assert table.loc["loading", "saved_per_s"] == pytest.approx(5.0 / (60 / 1024))
    assert np.isnan(table.loc["now", "saved_per_s"])
    assert table.loc["loading", "gb_per_s"] == pytest.approx(120 / 1024)


def test_numbers_that_change_nothing_are_refused():
    for extra, speeds in (([0.0], [2.0]), ([1.0], [1.0]), ([float("nan")], [2.0])):
        with pytest.raises(InputError, match="numbers above"):
            hardware(case(TURNS), extra, speeds)


def test_who_is_not_served_is_no_waiting_spared():
    """In 50 MB a and b fit nowhere, and c is served. A GB more serves all: that spares."""
    rows = [*TURNS, (200.0, "c")]
    table = hardware(case(rows, 50), [1.0], [2.0]).set_index("change")
    assert table["unserved"].to_dict() == {"now": 10, "memory": 0, "loading": 10}
    # each refused: as long as the slowest (c: 2.1 s) and its price of 1.1 s on top
    assert table.loc["memory", "saved_s"] == pytest.approx(10 * (2.1 + 1.1) - 2 * 1.1 - 8 * 0.1)
    assert table.loc["loading", "saved_s"] == pytest.approx(11 * 1.0)  # of c, also as the slowest


def test_a_pin_that_shuts_others_out_is_charged_for_it():
    """Triton keeps what is there: with c pinned, 30 of 100 MB, b finds no room beside c and a either way."""
    rows = [(0, "a"), (10, "c"), (20, "b"), (30, "b")]
    found = pin_cost(case(rows, 100).as_server("triton"), ["c"])
    by = found.models.set_index("model")
    assert (found.without["refused"], found.pinned["refused"]) == (2, 2)
    # b is refused as before; the slowest is a with 1.1 s instead of c with 2.1 s
    assert by.loc["b", "delay_s"] == pytest.approx(-2.0)
    assert by.loc["c", "delay_s"] == pytest.approx(-2.0)
