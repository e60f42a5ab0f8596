"""Validation, normalisation, hash and parts of a trace."""

import math
import time

import numpy as np
import pandas as pd
import pytest

from vramlab.config.errors import InputError
from vramlab.config.schema import Priority
from vramlab.traces.trace import Trace, check_times


def table(**columns):
    return pd.DataFrame({"time_s": [0.0, 1.5, 1.5, 4.0], "model": ["b", "a", "b", "c"], **columns})


def refusal(frame):
    with pytest.raises(InputError) as caught:
        Trace.from_frame(frame, "my.csv")
    return str(caught.value)


def test_required_columns_are_enough():
    trace = Trace.from_frame(table())
    assert len(trace) == 4
    assert trace.times_s.dtype == np.float64
    assert trace.times_s.tolist() == [0.0, 1.5, 1.5, 4.0]
    assert trace.items.dtype == np.int64
    assert trace.items.tolist() == [1, 1, 1, 1]
    assert trace.model_names == ["b", "a", "c"]
    assert trace.model_codes.dtype == np.int32
    assert trace.model_codes.tolist() == [0, 1, 0, 2]
    assert trace.requesters is None
    assert trace.input_keys is None
    assert trace.priorities is None
    assert trace.duration_s == 4.0
    assert trace.source == "<memory>"


def test_optional_columns_are_normalised_and_unknown_ones_kept():
    frame = table(
        extra=[1, 2, 3, 4],
        priority=["high", None, Priority.LOW, ""],
        items=[1.0, np.nan, 3.0, 2.0],
        requester=["r", np.nan, "", "s"],
        input_key=pd.array(["k", None, "l", "k"], dtype="string"),
    )
    trace = Trace.from_frame(frame.set_index(pd.Index([9, 8, 7, 6])))
    assert list(trace.frame.columns) == [
        "time_s",
        "model",
        "items",
        "requester",
        "input_key",
        "priority",
        "extra",
    ]
    assert trace.items.tolist() == [1, 1, 3, 2]
    assert trace.requesters.tolist() == ["r", None, None, "s"]
    assert trace.input_keys.tolist() == ["k", None, "l", "k"]
    assert trace.priorities.tolist() == ["high", None, "low", None]
    assert type(trace.priorities[2]) is str
    assert trace.frame["extra"].tolist() == [1, 2, 3, 4]
    assert trace.frame.index.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", ["category", "string", object])
def test_model_column_of_any_text_type(dtype):
    frame = table().astype({"model": dtype})
    assert Trace.from_frame(frame).sha256 == Trace.from_frame(table()).sha256


def test_given_frame_and_the_trace_do_not_share_state():
    frame = table()
    trace = Trace.from_frame(frame)
    frame.loc[0, "time_s"] = 99.0
    assert trace.times_s[0] == 0.0
    assert "items" not in frame
    with pytest.raises(ValueError, match="read-only"):
        trace.times_s[0] = 1.0


# each case: columns to replace, and the message after "my.csv: "
SECONDS = "expected a finite number of seconds"
WHOLE = "expected a whole number of at least 1"
NAME = "expected a model name, as text that is not empty"
PRIORITIES = "expected one of critical, high, medium, low, or nothing"
BAD_CELLS = {
    "time missing": ({"time_s": [0, 1, None, 2]}, f"row 3 column time_s: found nothing, {SECONDS}"),
    "time inf": ({"time_s": [0, 1, 2, math.inf]}, f"row 4 column time_s: found inf, {SECONDS}"),
    "time text": ({"time_s": [0, "1", "soon", 2]}, f"row 3 column time_s: found 'soon', {SECONDS}"),
    "time numeral": ({"time_s": [0, "1", 2, 2]}, f"row 2 column time_s: found '1', {SECONDS}"),
    "time switch": ({"time_s": [False, True, True, True]}, f"row 1 column time_s: found False, {SECONDS}"),
    "time date": (
        {"time_s": pd.date_range("2024-01-01", periods=4)},
        f"row 1 column time_s: found 2024-01-01 00:00:00, {SECONDS}",
    ),
    "time backwards": (
        {"time_s": [0, 5.25, 5.0, 6]},
        "row 3 column time_s: found 5.0, expected a time not before the 5.25 of the row before",
    ),
    "model empty": ({"model": ["a", "", "b", "c"]}, f"row 2 column model: found '', {NAME}"),
    "model missing": ({"model": ["a", "b", "c", None]}, f"row 4 column model: found nothing, {NAME}"),
    "model number": ({"model": ["a", "b", 7, "c"]}, f"row 3 column model: found 7, {NAME}"),
    "models numbers": ({"model": [1, 2, 3, 4]}, f"row 1 column model: found 1, {NAME}"),
    "model list": ({"model": ["a", ["b"], "c", "d"]}, f"row 2 column model: found ['b'], {NAME}"),
    "items zero": ({"items": [1, 1, 0, 1]}, f"row 3 column items: found 0, {WHOLE}"),
    "items fraction": ({"items": [1, 1.5, 1, 1]}, f"row 2 column items: found 1.5, {WHOLE}"),
    "items inf": ({"items": [1, 1, 1, math.inf]}, f"row 4 column items: found inf, {WHOLE}"),
    "items text": ({"items": [1, "two", 1, 1]}, f"row 2 column items: found 'two', {WHOLE}"),
    "priority": (
        {"priority": [None, "high", "hihg", "low"]},
        f"row 3 column priority: found 'hihg', {PRIORITIES} (did you mean 'high'?)",
    ),
    "requester": (
        {"requester": ["a", None, 5, "b"]},
        "row 3 column requester: found 5, expected text, or nothing",
    ),
}


@pytest.mark.parametrize(("columns", "message"), BAD_CELLS.values(), ids=BAD_CELLS.keys())
def test_bad_cell_is_named(columns, message):
    assert refusal(table().assign(**columns)) == f"my.csv: {message}"


def test_bad_tables_are_named():
    others = ", ".join(table().columns.drop("time_s"))
    assert refusal(table().drop(columns="time_s")) == (
        f"my.csv: column time_s: found only {others}, expected that column; "
        "`vramlab import csv --columns` reads other tables"
    )
    wrong_case = table().rename(columns={"model": "Model"})
    assert "expected that column (did you mean 'Model'?); `vramlab import csv" in refusal(wrong_case)
    assert refusal(table().iloc[:0]) == "my.csv: found no rows, expected at least one request"
    twice = pd.concat([table(), table()[["model"]]], axis="columns")
    assert refusal(twice) == "my.csv: column model: found the column twice, expected each column once"


def test_hash_is_that_of_the_content():
    trace = Trace.from_frame(table())
    # fixed for all platforms and versions: results are filed under it
    assert trace.sha256 == "3ae1292b7ab0a4b0b64757c237fe0eb95eb6f0188bc82e7f14dd8b8743dd41f6"
    same = table(items=1, note="x")[["note", "items", "model", "time_s"]]
    assert Trace.from_frame(same).sha256 == trace.sha256
    assert Trace.from_frame(table().assign(time_s=[-0.0, 1.5, 1.5, 4.0])).sha256 == trace.sha256
    different = [
        table(items=2),
        table(requester="r"),
        table(input_key="r"),
        table(priority="low"),
        table().assign(model=["b", "a", "b", "b"]),
        table().assign(time_s=[0.0, 1.5, 1.5, np.nextafter(4.0, 5.0)]),
        table().iloc[:3],
    ]
    hashes = {trace.sha256, *(Trace.from_frame(frame).sha256 for frame in different)}
    assert len(hashes) == len(different) + 1


def test_hash_keeps_cells_apart():
    one = table().assign(model=["ab", "c", "d", "e"])
    other = table().assign(model=["a", "bc", "d", "e"])
    assert Trace.from_frame(one).sha256 != Trace.from_frame(other).sha256


def test_between_takes_start_and_leaves_end():
    trace = Trace.from_frame(table(), "t")
    part = trace.between(1.5, 4.0)
    assert part.times_s.tolist() == [1.5, 1.5]
    assert part.model_names == ["a", "b"]
    assert part.frame.index.tolist() == [0, 1]
    assert part.source == "t"
    assert len(trace.between(-1, 100)) == 4
    with pytest.raises(InputError, match=r"t: time_s: found no request from 2 to 3 s, expected .* 0 to 4 s"):
        trace.between(2, 3)
    with pytest.raises(InputError):
        trace.between(3, 1)


def test_the_categories_of_a_part_are_those_that_it_has():
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 1.0, 2.0], "model": ["a", "b", "a"]}))
    assert trace.head(1).frame["model"].value_counts().to_dict() == {"a": 1}
    assert trace.between(1.0, 2.0).model_names == ["b"]


def test_head():
    trace = Trace.from_frame(table(), "t")
    assert trace.head(2).frame["model"].tolist() == ["b", "a"]
    assert len(trace.head(100)) == 4
    with pytest.raises(InputError, match="t: head: found 0, expected at least 1 request"):
        trace.head(0)


def test_html_escapes_the_source():
    text = Trace.from_frame(table(), "<b>")._repr_html_()
    assert "&lt;b&gt;</b>: 4 requests for 3 models in 4.0 s" in text
    assert "<table" in text


def test_a_million_rows_in_about_a_second():
    n = 1_000_000
    names = np.array([f"m{i}" for i in range(50)], dtype=object)
    frame = pd.DataFrame({"time_s": np.arange(n) / 7, "model": names[np.arange(n) % 50], "items": 2})
    start = time.perf_counter()
    trace = Trace.from_frame(frame)
    assert trace.model_codes[51] == 1
    # in truth 0.4 s: the limit leaves room for a busy machine, and none for a loop over rows
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("time_s", [1e308, -1e308, 2e15])
def test_times_that_no_clock_shows_can_be_kept_and_not_be_reckoned_with(time_s):
    trace = Trace.from_frame(pd.DataFrame({"time_s": sorted([0.0, time_s]), "model": "a"}))
    with pytest.raises(InputError, match=r"time_s: found .*, expected at most 1e\+15 s"):
        check_times(trace)


def test_texts_are_categories_in_order_of_appearance():
    trace = Trace.from_frame(table().assign(requester=["u", None, "", "a"]))
    codes, names = trace.texts["requester"]
    assert (codes.tolist(), names) == ([0, -1, -1, 1], ["u", "a"])
    assert trace.requesters.tolist() == ["u", None, None, "a"]
    assert trace.frame["requester"].dtype == "category"
    last = trace.head(4).between(trace.times_s[3], np.inf)
    assert last.texts["requester"].names == ["a"]
