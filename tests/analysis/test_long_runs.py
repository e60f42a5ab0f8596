"""Timelines of long runs: slices, shades, weekdays and bursts say what the records say."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlab.analysis import rhythm
from vramlab.analysis.density import slices, time_in_vram, width_text
from vramlab.analysis.names import display_names, shared_beginning
from vramlab.analysis.timelines import residency_timeline
from vramlab.config.errors import InputError
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome
from vramlab.runs.records import Records

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def run(times_s, outcomes=None, latency_s=0.5, models=None):
    times = np.asarray(times_s, dtype=float)
    codes = np.zeros(len(times), dtype=np.int32) if models is None else np.asarray(models, dtype=np.int32)
    return Records(
        model_names=["acme-prod-a.onnx", "acme-prod-b.onnx"],
        model_codes=codes,
        arrival_s=times,
        outcomes=np.asarray([Outcome.HIT] * len(times) if outcomes is None else outcomes, dtype=np.uint8),
        finish_s=times + latency_s,
        zone_names=["flexible"],
    )


def back_and_forth(count):
    """Two models that push each other out every second; each is there half of the time."""
    found = run(np.arange(count, dtype=float), models=np.arange(count) % 2)
    for second in range(count):
        name = found.model_names[second % 2]
        found.loads.append(LoadRecord(second, second, name, "flexible", 1, "request"))
        found.evictions.append(EvictionRecord(second + 1.0, name, "flexible", 1))
    return found


# -- names -----------------------------------------------------------------------------------------------


def test_what_all_names_begin_with_is_cut():
    assert display_names(["acme-prod-llm-small", "acme-prod-llm-large"]) == ["small", "large"]
    assert display_names(["model-1", "model-12"]) == ["1", "12"]
    assert display_names(["a-x", "a-y"]) == ["a-x", "a-y"]  # two letters save no room
    assert display_names(["face.onnx"]) == ["face"]
    assert display_names(["a", "a.onnx"]) == ["a", "a.onnx"]
    assert display_names(["abcdefghij-1", "abcdefghij-2"], most=9) == ["1", "2"]
    assert display_names(["abcdefghij", "klm"], most=7) == ["abc…hij", "klm"]


@given(st.lists(st.text("ab-/.", min_size=1, max_size=12), min_size=1, max_size=6, unique=True))
def test_displayed_names_differ_where_names_do(names):
    shown = display_names(names, 6)
    assert len(set(shown)) == len(names)
    assert all(name.startswith(shared_beginning(names)) for name in names)


# -- density ---------------------------------------------------------------------------------------------


def test_slices_have_widths_that_people_can_name():
    edges = slices(0.0, 7 * DAY)
    assert np.diff(edges) == pytest.approx(2 * HOUR)
    assert edges[-1] >= 7 * DAY
    assert len(slices(0.0, 1000 * DAY)) <= 127
    assert width_text(1800) == "30 min"


@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=12),
    st.integers(1, 7),
)
def test_time_in_vram_by_hand(lengths, width):
    """Stays and gaps of whole seconds, against a count of seconds."""
    ends = np.cumsum(lengths)
    spans = [(int(a), int(b)) for a, b in zip(ends[0::2], ends[1::2], strict=False)]
    there = np.zeros(70)
    for a, b in spans:
        there[a:b] = 1
    edges = np.arange(0, 70 // width * width + 1, width, dtype=float)
    expected = there[: len(there) // width * width].reshape(-1, width).mean(axis=1)
    stays = np.array(spans, dtype=float).reshape(-1, 2)
    assert time_in_vram(stays[:, 0], stays[:, 1], edges) == pytest.approx(expected)


def test_many_stays_become_shades_and_few_stay_bars():
    records = back_and_forth(1000)
    ax = residency_timeline(records)
    assert len(ax.images) == 2
    shades = [image.get_array()[0, :, 3] for image in ax.images]
    assert np.mean(shades[0]) == pytest.approx(0.5, abs=0.01)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "requests in 10 s (at most 5)" in labels
    near = residency_timeline(records, window_s=(100.0, 160.0))
    assert not near.images
    assert near.get_xlim() == pytest.approx((100.0, 160.0), abs=100)
    bars = next(box for box in near.collections if box.get_label() == "resident")
    assert len(bars.get_paths()) == 62  # those of the window, and no others


def test_a_window_that_is_none_is_refused():
    with pytest.raises(InputError, match="window_s"):
        residency_timeline(back_and_forth(10), window_s=(5.0, 5.0))


# -- weekdays and bursts ---------------------------------------------------------------------------------


def two_weeks():
    """Ten requests in every hour, twenty between 9:00 and 10:00; half of those are cold."""
    times, outcomes = [], []
    for hour in range(14 * 24):
        count = 20 if hour % 24 == 9 else 10
        times += list(hour * HOUR + np.arange(count) * HOUR / count)
        outcomes += [Outcome.COLD_START if count == 20 and k % 2 else Outcome.HIT for k in range(count)]
    return run([*times, 14 * DAY], [*outcomes, Outcome.HIT])


def test_weekday_hours_are_rates():
    table = rhythm.weekday_hours(two_weeks(), week_offset_s=DAY).set_index(["day", "hour"])
    assert len(table) == 7 * 24
    assert table.loc[(3, 9), "requests"] == pytest.approx(20)  # though there were two such hours
    assert table.loc[(3, 9), "hit_rate"] == pytest.approx(0.5)
    assert table.loc[(3, 9), "not_from_vram"] == pytest.approx(10)
    assert table.loc[(3, 10), "not_from_vram"] == 0
    assert table.loc[(3, 10), "latency_p95_s"] == pytest.approx(0.5)


def test_weekday_map_names_days_only_where_they_are_known():
    ax = rhythm.weekday_map(two_weeks(), "hit_rate", week_offset_s=0.0)
    assert next(label.get_text() for label in ax.get_yticklabels()) == "Mon"
    assert ax.images[0].get_array()[2, 9] == pytest.approx(50)
    ax = rhythm.weekday_map(two_weeks())
    assert next(label.get_text() for label in ax.get_yticklabels()) == "day 1"
    with pytest.raises(InputError, match="did you mean 'hit_rate'"):
        rhythm.weekday_map(two_weeks(), "hitrate")
    with pytest.raises(InputError, match="a run of a day at least"):
        rhythm.weekday_hours(run([0.0, HOUR]))


def test_a_burst_is_found_and_held_against_the_rest():
    quiet = np.arange(0, DAY, 60.0)
    burst = np.linspace(10 * HOUR, 10 * HOUR + 600, 600)
    times = np.concatenate([quiet, burst])
    outcomes = np.array([Outcome.HIT] * len(quiet) + [Outcome.REFUSED] * 300 + [Outcome.FALLBACK] * 300)
    order = np.argsort(times, kind="stable")
    records = run(times[order], outcomes[order])
    ((first, last),) = rhythm.bursts(records)
    assert first <= 10 * HOUR <= last
    table = rhythm.burst_table(records)
    assert table["requests"].sum() == len(records)
    assert table.loc["bursts", "refused or failed"] == pytest.approx(0.5, abs=0.02)
    assert table.loc["rest", "from VRAM"] > 0.99
    ax = rhythm.burst_plot(records)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bursts", "rest"]
    none = rhythm.burst_plot(run(quiet))
    assert "no burst" in none.get_xlabel()
