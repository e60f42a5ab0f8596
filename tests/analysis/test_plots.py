"""Plots and curves: what is drawn stands where the data says, on the Axes that was given."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlab.analysis import plots
from vramlab.analysis.curves import capacity_curve, lru
from vramlab.analysis.style import bytes_unit, time_unit
from vramlab.analysis.timelines import Stay, stays
from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority
from vramlab.config.units import MIB
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, UsageRecord
from vramlab.runs.records import Records
from vramlab.traces.trace import Trace


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def policies():
    return pd.DataFrame(
        {
            "policy": ["lru", "gdsf", "fifo"],
            "load_cost_s": [30_000.0, 20_000.0, 40_000.0],
            "load_cost_s_low": [28_000.0, 19_000.0, 35_000.0],
            "load_cost_s_high": [33_000.0, 22_000.0, 45_000.0],
            "hit_rate": [0.6, 0.7, 0.5],
            "latency_p95_s": [0.3, 0.2, 0.1],
        }
    )


def drawn(ax):
    ax.figure.canvas.draw()
    return ax


def test_policy_bars_best_on_top_with_intervals_and_optimum():
    _, given_ax = plt.subplots()
    ax = drawn(plots.policy_bars(policies(), "load_cost_s", given_ax, optimum=18_000.0, title="T"))
    assert ax is given_ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["fifo", "lru", "gdsf"]
    bars = [patch.get_width() for patch in ax.patches]
    assert bars == pytest.approx([40_000 / 3600, 30_000 / 3600, 20_000 / 3600])
    assert ax.get_xlabel() == "Load cost (h)"
    assert ax.get_title("left") == "T"
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(5.0)
    ends = ax.collections[0].get_segments()[2][:, 0]
    assert ends == pytest.approx([19_000 / 3600, 22_000 / 3600])
    assert ax.get_legend().get_texts()[0].get_text() == "offline optimum 5.00"


def test_policy_bars_of_hit_rates_and_of_small_costs():
    ax = drawn(plots.policy_bars(policies(), "hit_rate"))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["fifo", "lru", "gdsf"]
    assert ax.get_xlabel() == "Hit rate (%)"
    small = policies().assign(load_cost_s=[30.0, 20.0, 40.0])
    assert plots.policy_bars(small[["policy", "load_cost_s"]]).get_xlabel() == "Load cost (s)"


def test_latency_distribution():
    ax = drawn(plots.latency_distribution({"live": [0.1, np.nan, 0.2, 0.4], "simulated": [0.0, 1.0]}))
    line = ax.lines[0]
    assert line.get_xdata() == pytest.approx([0.1, 0.2, 0.4])
    assert line.get_ydata() == pytest.approx([100 / 3, 200 / 3, 100])
    assert line.get_label() == "live (3 requests, 1 unanswered)"
    assert ax.get_xscale() == "log"
    assert ax.lines[2].get_xdata()[0] == 1e-6
    assert ax.get_xlim()[0] == pytest.approx(0.1 / 1.5)  # what took no time does not stretch the axis
    with pytest.raises(InputError, match="plot: live: found no latency"):
        plots.latency_distribution({"live": [np.nan]})


def test_zone_heat_map_frames_the_best_cell():
    grid = pd.DataFrame(
        {
            "zones.a.size_mb": [1, 1, 2, 2, 2],
            "zones.b.size_mb": [10, 20, 10, 20, 20],
            "load_cost_s": [5.0, 4.0, 1.0, 2.0, 8.0],
        }
    )
    ax = drawn(plots.zone_heat_map(grid, "zones.a.size_mb", "zones.b.size_mb"))
    assert ax.images[0].get_array().tolist() == [[5, 1], [4, 5]]
    frame = ax.patches[0]
    assert (frame.get_x(), frame.get_y()) == (0.5, -0.5)
    assert ax.get_xlabel() == "zones.a.size (MB)"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["10", "20"]


def test_threshold_curves():
    frame = pd.DataFrame({"t": [0.9, 0.1], "cold_start_rate": [0.2, 0.1], "bytes_loaded": [2**30, 2**33 * 2]})
    ax = drawn(plots.threshold_curves(frame, "t", ("cold_start_rate", "bytes_loaded")))
    assert ax.lines[0].get_xdata().tolist() == [0.1, 0.9]
    assert ax.lines[0].get_ydata() == pytest.approx([10, 20])
    other = next(axes for axes in ax.figure.axes if axes is not ax)
    assert other.lines[0].get_ydata().tolist() == [16, 1]
    assert other.get_ylabel() == "Loaded (GB)"
    by = plots.threshold_curves(frame.assign(policy=["a", "b"]), "t", by="policy")
    assert [text.get_text() for text in by.get_legend().get_texts()] == ["a", "b"]
    with pytest.raises(InputError, match="expected one figure, or two without `by`"):
        plots.threshold_curves(frame, "t", ("cold_start_rate", "bytes_loaded"), by="t")


def test_pareto_front():
    frame = pd.DataFrame(
        {"policy": list("abcd"), "load_cost_s": [1.0, 2.0, 3.0, 3.0], "latency_p95_s": [3.0, 1.0, 2.0, 1.0]}
    )
    ax = drawn(plots.pareto_front(frame))
    assert [text.get_text() for text in ax.texts] == ["a", "b"]
    assert ax.lines[0].get_xdata().tolist() == [1.0, 2.0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12), st.booleans())
def test_on_front_by_definition(points, higher):
    x, y = np.array(points, dtype=float).T
    sign = -1 if higher else 1
    expected = [
        not any(
            sign * q <= sign * p and t <= s and (sign * q < sign * p or t < s)
            for q, t in zip(x, y, strict=True)
        )
        for p, s in zip(x, y, strict=True)
    ]
    assert plots.on_front(x, y, x_higher=higher).tolist() == expected


@pytest.mark.parametrize("call", [plots.policy_bars, plots.capacity_plot, plots.pareto_front])
def test_missing_column_is_named(call):
    with pytest.raises(InputError, match=r"plot: column policy: found nothing, .*did you mean 'polcy'"):
        call(
            pd.DataFrame({"polcy": ["lru"], "load_cost_s": [1.0], "hit_rate": [0.5], "latency_p95_s": [1.0]})
        )


# -- timelines -------------------------------------------------------------------------------------------


def run():
    return Records(
        model_names=["A", "B"],
        model_codes=np.array([0, 1, 0, 0], dtype=np.int32),
        arrival_s=np.array([100.0, 110.0, 120.0, 130.0]),
        outcomes=np.array([1, 1, 1, 0], dtype=np.uint8),
        finish_s=np.array([105.0, 115.0, 125.0, 140.0]),
        zone_names=["high_priority", "flexible"],
        loads=[
            LoadRecord(100.0, 104.0, "A", "flexible", 4 * MIB),
            LoadRecord(110.0, 112.0, "B", "high_priority", 4 * MIB),
            LoadRecord(111.0, 112.0, "B", "flexible", 4 * MIB, "bypass"),
            LoadRecord(113.0, 114.0, "A", "flexible", 4 * MIB, "request", "out of memory"),
            LoadRecord(120.0, 124.0, "A", "flexible", 4 * MIB),
        ],
        evictions=[EvictionRecord(110.0, "A", "flexible", 4 * MIB)],
        usage=[
            UsageRecord(100.0, (0, 4 * MIB)),
            UsageRecord(110.0, (4 * MIB, 0)),
            UsageRecord(120.0, (4 * MIB, 4 * MIB)),
        ],
    )


def test_stays():
    assert stays(run()) == [
        Stay("A", "flexible", 100.0, 104.0, 110.0, True),
        Stay("B", "high_priority", 110.0, 112.0, 140.0, False),
        Stay("A", "flexible", 120.0, 124.0, 140.0, False),
    ]


def test_residency_timeline_marks_loads_and_evictions():
    ax = drawn(plots.residency_timeline(run()))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A", "B"]
    evictions, loads, requests = ax.lines
    assert list(evictions.get_xdata()) == [10.0]
    assert list(loads.get_xdata()) == [0.0, 10.0, 20.0]
    loading, resident = ax.collections
    spans = [(box.vertices[0, 0], box.vertices[2, 0]) for box in resident.get_paths()]
    assert (4.0, 10.0) in spans  # A resident from 104 s to 110 s, counted from the first request
    assert (0.0, 4.0) in [(box.vertices[0, 0], box.vertices[2, 0]) for box in loading.get_paths()]
    assert ax.get_xlabel() == "Time since the first request (s)"
    assert len(requests.get_xdata()) == 4


def test_vram_use():
    ax = drawn(
        plots.vram_use(
            run(), zone_caps_bytes={"high_priority": 4 * MIB, "flexible": 6 * MIB}, budget_bytes=9 * MIB
        )
    )
    assert ax.get_ylabel() == "VRAM held (MB)"
    assert [line.get_ydata()[0] for line in ax.lines] == [4, 10, 9]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "high_priority",
        "flexible",
        "budget",
    ]


def test_long_runs_are_drawn_as_means_over_time():
    records = run()
    # 4 MB for the first of every two seconds, 8 MB for the second
    records.usage = [UsageRecord(float(t), (0, (4 if t % 2 == 0 else 8) * MIB)) for t in range(4800)]
    records.finish_s = np.full(4, 4800.0)
    ax = drawn(plots.vram_use(records))
    top = ax.collections[1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(6.0)
    assert set(ax.lines[0].get_ydata()) == {8.0}


def test_memory_map():
    extents = pd.DataFrame(
        [("flexible", "ocr", 0, 3 * MIB), ("flexible", None, 3 * MIB, MIB)],
        columns=["zone", "model", "offset_bytes", "size_bytes"],
    )
    ax = drawn(plots.memory_map(extents))
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 3), (3, 1)]
    assert [text.get_text() for text in ax.texts] == ["ocr", "free"]


def test_units():
    assert time_unit(100) == (1.0, "s")
    assert time_unit(4 * 86_400) == (86_400.0, "days")
    assert bytes_unit(6 * 2**30) == (2.0**20, "MB")
    assert bytes_unit(24 * 2**30) == (2.0**30, "GB")


# -- curves ----------------------------------------------------------------------------------------------


def specs(**sizes_mb):
    return {
        name: ModelSpec(priority=Priority.MEDIUM, vram_size_mb=size, load_time_ms=1000 * size)
        for name, size in sizes_mb.items()
    }


def test_lru_by_hand():
    trace = Trace.from_frame(pd.DataFrame({"time_s": np.arange(7.0), "model": list("ABACBXC")}))
    # room for 3 MB: A(1) B(2); A hit; C(1) evicts B; B evicts A; X(9) never fits; C hit
    assert lru(trace, specs(A=1, B=2, C=1, X=9), 3 * MIB) == (2 / 7, 1 + 2 + 1 + 2 + 9)


def test_capacity_curve_orders_optimum_schedule_lru():
    rng = np.random.default_rng(0)
    trace = Trace.from_frame(
        pd.DataFrame({"time_s": np.arange(400.0), "model": rng.choice(list("ABCDE"), 400)})
    )
    curve = capacity_curve(trace, specs(A=1, B=2, C=1, D=3, E=2), [3 * MIB, 5 * MIB, 9 * MIB])
    costs = curve.pivot_table(index="capacity_bytes", columns="policy", values="load_cost_s")
    assert (costs["optimum"] <= costs["offline schedule"] + 1e-6).all()
    assert (costs["offline schedule"] <= costs["lru"] + 1e-6).all()
    assert costs.loc[9 * MIB].tolist() == pytest.approx([9.0] * 3)  # all fit: each is loaded once
    ax = drawn(plots.capacity_plot(curve, "hit_rate"))
    assert [line.get_label() for line in ax.lines] == ["lru", "offline schedule"]
    assert ax.lines[0].get_xdata().tolist() == [3, 5, 9]
    assert ax.get_xlabel() == "Memory for models (MB)"
    assert "offline optimum" in [line.get_label() for line in plots.capacity_plot(curve, "load_cost_s").lines]
