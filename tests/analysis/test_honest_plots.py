"""Plots that do not mislead: what is averaged is asked for, no axis makes a cliff, bars say of what."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vramlab
from vramlab.analysis import columns, plots
from vramlab.analysis.setting_plots import knee
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config
from vramlab.experiments.sweep import sweep


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


A, B = "zones.a.size_mb", "zones.b.size_mb"


def grid(**more):
    rows = [{A: a, B: b, "load_cost_s": float(a + b)} for a in (1, 2) for b in (10, 20)]
    frame = pd.DataFrame(rows)
    return pd.concat(
        [frame.assign(**dict(zip(more, values, strict=True))) for values in zip(*more.values(), strict=False)]
        if more
        else [frame],
        ignore_index=True,
    )


def colour_label(ax):
    return ax.images[0].colorbar.ax.get_ylabel()


# -- maps ------------------------------------------------------------------------------------------------


def test_a_map_asks_before_it_averages_over_a_setting():
    frame = grid(policy=["lru", "gdsf"])
    with pytest.raises(InputError, match=r"column policy: found several values in one cell \(lru, gdsf\)"):
        plots.zone_heat_map(frame, A, B)
    ax = plots.zone_heat_map(frame, A, B, over=["policy"])
    assert colour_label(ax) == "Load cost (s), mean over policy"
    only = plots.zone_heat_map(frame[frame["policy"] == "lru"], A, B)
    assert colour_label(only) == "Load cost (s)"


def test_a_map_says_that_seeds_are_averaged():
    assert colour_label(plots.zone_heat_map(grid(seed=[0, 1, 2]), A, B)) == "Load cost (s), mean over seeds"


def test_a_setting_that_follows_from_the_cell_hides_nothing():
    frame = grid(seed=[0, 1])
    frame["total_memory_mb"] = frame[A] + frame[B]
    plots.zone_heat_map(frame, A, B)


def test_all_cells_that_look_best_are_framed():
    flat = grid().assign(load_cost_s=[7.0, 7.0, 7.0, 9.0])
    assert len(plots.zone_heat_map(flat, A, B).patches) == 3


def test_a_sweep_over_three_settings_is_asked_about(trace_file):
    config = load_config(None, ["total_memory_mb=1024", "zones={flexible: {size_mb: 40}}"])
    table = sweep(
        trace_file, config, MODELS, mode="decide", jobs=1, policies=["lru", "fifo"],
        grid={"zones.flexible.size_mb": [20, 40], "zones.flexible.max_models": [1, 2]},
    ).table  # fmt: skip
    with pytest.raises(InputError, match=r"policy"):
        plots.zone_heat_map(table, "zones.flexible.size_mb", "zones.flexible.max_models")


MODELS = {
    name: vramlab.ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=100) for name in ("a", "b", "c")
}


@pytest.fixture
def trace_file(tmp_path):
    path = tmp_path / "trace.csv"
    pd.DataFrame({"time_s": np.arange(60.0), "model": list("abcab" * 12)}).to_csv(path, index=False)
    return path


# -- axes ------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6),
    st.sampled_from(["hit_rate", "load_cost_s"]),
)
def test_no_axis_is_narrower_than_a_fifth_of_its_largest_value(values, figure):
    frame = pd.DataFrame({"t": np.arange(len(values)), figure: values})
    ax = plots.threshold_curves(frame, "t", (figure,))
    low, high = ax.get_ylim()
    shown = ax.lines[0].get_ydata()
    plt.close(ax.figure)
    assert low <= min(shown)
    assert high >= max(shown)
    assert high - low >= 0.2 * max(shown)
    assert ("axis not from 0" in ax.get_ylabel()) == (low > 0)


def test_a_step_of_half_a_percent_is_no_cliff():
    frame = pd.DataFrame({"t": [0.1, 0.5, 0.9], "hit_rate": [0.900, 0.904, 0.900]})
    ax = plots.threshold_curves(frame, "t", ("hit_rate",))
    low, high = ax.get_ylim()
    assert (90.4 - 90.0) / (high - low) < 0.03
    assert ax.get_ylabel() == "Hit rate (%), axis not from 0"


def test_gains_below_zero_keep_their_zero():
    frame = pd.DataFrame({"t": [0, 1], "cold_starts_avoided": [-3, 20]})
    low, high = plots.threshold_curves(frame, "t", ("cold_starts_avoided",)).get_ylim()
    assert low < -3 < 20 < high


# -- labels ----------------------------------------------------------------------------------------------


def test_error_bars_say_of_what():
    frame = pd.DataFrame(
        {
            "policy": ["a", "b"],
            "hit_rate": [0.5, 0.6],
            "hit_rate_low": [0.4, 0.5],
            "hit_rate_high": [0.6, 0.7],
        }
    )

    def said(ax):
        return [text.get_text() for text in ax.get_legend().get_texts()]

    assert said(plots.policy_bars(frame, "hit_rate")) == ["bars: columns hit_rate_low to hit_rate_high"]
    assert said(plots.policy_bars(frame, "hit_rate", interval="90 %, 5 seeds")) == ["bars: 90 %, 5 seeds"]
    frame.attrs["interval"] = "95 %"
    assert said(plots.policy_bars(frame, "hit_rate")) == ["bars: 95 %"]
    frame["t"] = [1, 2]
    assert said(plots.threshold_curves(frame, "t", ("hit_rate",))) == ["Hit rate (%)", "band: 95 %"]


def test_a_comparison_says_what_its_intervals_are(trace_file):
    config = load_config(None, ["total_memory_mb=1024", "zones={flexible: {size_mb: 20}}"])
    compared = vramlab.compare(trace_file, config, MODELS, ["lru", "fifo"], mode="decide", intervals=True)
    assert compared.frame().attrs["interval"] == "95 %, blocks of time resampled"


def test_refused_requests_are_seen_on_the_bar_that_they_made_short():
    frame = pd.DataFrame({"policy": ["a", "b"], "load_cost_s": [1.0, 2.0], "refused": [4171, 0]})
    ax = plots.policy_bars(frame)
    assert "1.00  (4,171 not served)" in [text.get_text() for text in ax.texts]
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True]  # the best is on top


def test_the_title_says_the_memory_where_there_is_one():
    frame = pd.DataFrame({"policy": ["a", "b"], "load_cost_s": [1.0, 2.0], "total_memory_mb": [12288, 12288]})
    assert plots.policy_bars(frame, title="T").get_title("left") == "T  ·  12 GB card"
    assert plots.policy_bars(frame.assign(total_memory_mb=[1, 2]), title="T").get_title("left") == "T"
    told = frame.assign(card_bytes=12 * 2**30, capacity_bytes=6 * 2**30)
    assert columns.memory_text(told) == "12 GB card, 6,144 MB for models"


def test_a_replay_says_what_models_can_hold(trace_file):
    config = load_config(None, ["total_memory_mb=12288", "zones={flexible: {size_mb: 6144}}"])
    figures = vramlab.replay(trace_file, config, MODELS).figures
    assert (figures["card_bytes"], figures["capacity_bytes"]) == (12288 * 2**20, 6144 * 2**20)


# -- fronts ----------------------------------------------------------------------------------------------


def test_a_front_of_one_policy_names_what_differs():
    frame = pd.DataFrame(
        {
            "policy": ["lru"] * 4,
            "zones.a.size_mb": [1, 2, 3, 4],
            "admission": ["always"] * 4,
            "load_cost_s": [1.0, 2.0, 8.0, 9.0],
            "latency_p95_s": [9.0, 2.0, 1.0, 9.0],
        }
    )
    ax = plots.pareto_front(frame)
    assert {text.get_text() for text in ax.texts} == {"size_mb 1", "size_mb 2", "size_mb 3"}
    bold = [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"]
    assert bold == ["size_mb 2"]  # the knee
    assert "beaten (1 of 4 runs)" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_crowded_front_labels_its_ends_and_its_knee_before_the_rest():
    x = np.linspace(1, 10, 60)
    frame = pd.DataFrame({"policy": [f"p{k}" for k in range(60)], "load_cost_s": x, "latency_p95_s": 1 / x})
    shown = {text.get_text() for text in plots.pareto_front(frame).texts}
    assert len(shown) <= 6
    assert {"p0", "p59", f"p{knee(x, 1 / x)}"} <= shown


def test_the_knee_by_hand():
    assert knee(np.array([0.0, 1.0, 10.0]), np.array([10.0, 1.0, 0.0])) == 1
    assert knee(np.array([0.0, 9.0, 10.0]), np.array([10.0, 9.0, 0.0])) == 0  # dearer than half of each end
    assert knee(np.array([0.0, 9.0, 10.0]), np.array([0.0, 1.0, 10.0]), x_higher=True) == 1
    assert knee(np.array([1.0]), np.array([1.0])) == 0
