"""Trace files: round trips, equal bytes, and one clear error for each kind of broken file."""

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vramlab.config.errors import InputError
from vramlab.traces.files import read_trace, write_trace
from vramlab.traces.trace import Trace

SUFFIXES = [".csv", ".csv.gz", ".parquet", ".parquet.gz"]

# NUL cannot stand in a CSV file, lone surrogates not in UTF-8
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
texts = texts | st.sampled_from(
    ["NA", "None", "null", "1", "007", "1.0", "a,b", '"', "a\rb", "\r\n", " x ", "é"]
)
times = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def traces(draw):
    count = draw(st.integers(1, 12))

    def column(values):
        return pd.Series(draw(st.lists(values, min_size=count, max_size=count)), dtype=object)

    frame = pd.DataFrame({"time_s": sorted(draw(st.lists(times, min_size=count, max_size=count)))})
    frame["model"] = column(texts)
    if draw(st.booleans()):
        frame["items"] = column(st.integers(1, 2**53)).astype("int64")
    for name in ("requester", "input_key"):
        if draw(st.booleans()):
            frame[name] = column(st.none() | texts)
    if draw(st.booleans()):
        frame["priority"] = column(st.sampled_from([None, "critical", "high", "medium", "low"]))
    if draw(st.booleans()):
        frame["load"] = column(times).astype("float64")
    return Trace.from_frame(frame)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(traces(), st.sampled_from(SUFFIXES))
def test_round_trip(trace, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"trace{suffix}"
        write_trace(trace, path)
        again = read_trace(path)
        assert again.source == str(path)
        assert list(again.frame.columns) == list(trace.frame.columns)
        for column in trace.frame:
            assert again.frame[column].tolist() == trace.frame[column].tolist()
        assert again.sha256 == trace.sha256
        assert list(Path(folder).iterdir()) == [path]


def small(**columns):
    return Trace.from_frame(
        pd.DataFrame({"time_s": [0.1, 0.30000000000000004], "model": ["a", "b"], **columns})
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_trace_gives_same_bytes(tmp_path, suffix):
    for name in ("one", "other"):
        write_trace(small(requester=["r", None]), tmp_path / f"{name}{suffix}")
    one, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "other"))
    assert one == other
    assert b"pandas" not in one


def test_csv_is_what_people_expect(tmp_path):
    write_trace(small(requester=["r", None]), tmp_path / "t.csv")
    expected = b"time_s,model,items,requester\n0.1,a,1,r\n0.30000000000000004,b,1,\n"
    assert (tmp_path / "t.csv").read_bytes() == expected
    write_trace(small(requester=["r", None]), tmp_path / "t.csv.gz")
    assert gzip.decompress((tmp_path / "t.csv.gz").read_bytes()) == expected


def test_numbers_as_names_and_byte_order_mark(tmp_path):
    path = tmp_path / "T.CSV"
    path.write_bytes(b"\xef\xbb\xbfmodel,time_s,requester,note\n007,1,12,NA\nNA,2,,x\n")
    trace = read_trace(path)
    assert trace.model_names == ["007", "NA"]
    assert trace.requesters.tolist() == ["12", None]
    assert trace.times_s.tolist() == [1.0, 2.0]
    assert trace.frame["note"].tolist() == ["NA", "x"]


def test_parquet_with_dictionary_column_and_float32(tmp_path):
    frame = pd.DataFrame({"time_s": np.array([0, 0.5], "float32"), "model": pd.Categorical(["a", "b"])})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_trace(tmp_path / "t.parquet").sha256 == Trace.from_frame(frame).sha256


def test_existing_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "t.parquet"
    write_trace(small(), path)
    before = path.read_bytes()
    mixed = small(odd=pd.Series([1, "x"], dtype=object))
    with pytest.raises(
        InputError, match=r"t\.parquet: found .*odd.*, expected columns that Parquet can hold"
    ):
        write_trace(mixed, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_path_that_cannot_be_written(tmp_path):
    path = tmp_path / "dir.csv"
    path.mkdir()
    with pytest.raises(InputError) as caught:
        write_trace(small(), path)
    assert str(caught.value) == f"{path}: found Is a directory, expected a path that can be written"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["t.json", "t", "t.gz", "t.csv.zip", "csv"])
def test_unknown_suffix(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"time_s,model\n0,a\n")
    for act in (lambda: read_trace(path), lambda: write_trace(small(), path)):
        with pytest.raises(
            InputError, match=r"expected \.parquet, \.csv, \.parquet\.gz or \.csv\.gz"
        ) as caught:
            act()
        assert str(caught.value).startswith(f"{path}: found suffix ")


BROKEN = {
    "empty": ("t.csv", b"", "found an empty file, expected a CSV file with a header line"),
    "header only": ("t.csv", b"time_s,model\n", "found no rows, expected at least one request"),
    "surplus field": (
        "t.csv",
        b"time_s,model\n0,a\n1,b,c\n",
        "found Expected 2 fields in line 3, saw 3, expected",
    ),
    "surplus first": (
        "t.csv",
        b"time_s,model\n0,a,x\n1,b,c\n",
        "row 1: found 3 fields under 2 column names, expected one field per column",
    ),
    "column twice": (
        "t.csv",
        b"time_s,model,model\n0,a,b\n",
        "column model: found the column twice, expected each",
    ),
    "open quote": ("t.csv", b'time_s,model\n0,"a\n', "found EOF inside string starting at row 1, expected"),
    "latin-1": ("t.csv", b"time_s,model\n0,\xe9\n", "found bytes that are not UTF-8, expected"),
    "short row": (
        "t.csv",
        b"time_s,model\n0,a\n1\n",
        "row 2 column model: found nothing, expected a model name",
    ),
    "bad time": (
        "t.csv",
        b"time_s,model\n0,a\n1,b\nx1,c\n",
        "row 3 column time_s: found 'x1', expected a finite number of seconds",
    ),
    "nan": ("t.csv", b"time_s,model\n0,a\nnan,b\n", "row 2 column time_s: found 'nan', expected"),
    "inf": ("t.csv", b"time_s,model\n0,a\ninf,b\n", "row 2 column time_s: found inf, expected"),
    "fraction": (
        "t.csv",
        b"time_s,model,items\n0,a,1\n1,b,2.5\n",
        "row 2 column items: found 2.5, expected",
    ),
    "huge cell": ("t.csv", b"time_s,model\n0," + b"x" * 200_000, "found field larger than field limit"),
    "no column": (
        "t.csv",
        b"time,model\n0,a\n",
        "column time_s: found only time, model, expected that column (did you",
    ),
    "no gzip": ("t.csv.gz", b"time_s,model\n0,a\n", "found broken gzip data (Not a gzipped file"),
    "cut gzip": ("t.csv.gz", gzip.compress(b"time_s,model\n0,a\n" * 9)[:-12], "found broken gzip data ("),
    "no parquet": ("t.parquet", b"time_s,model\n0,a\n", "expected a Parquet file that is whole"),
    "empty parquet": ("t.parquet", b"", "expected a Parquet file that is whole"),
    "no parquet gz": ("t.parquet.gz", gzip.compress(b"PAR1"), "expected a Parquet file that is whole"),
}


@pytest.mark.parametrize(("name", "data", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_one_clear_error(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text


def test_cut_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    write_trace(small(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="expected a Parquet file that is whole"):
        read_trace(path)


def test_missing_file_and_folder(tmp_path):
    path = tmp_path / "none.parquet"
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert (
        str(caught.value)
        == f"{path}: found no such file or directory, expected a trace file that can be read"
    )
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(InputError, match="expected a trace file that can be read"):
        read_trace(tmp_path / "dir.csv")


def test_a_row_is_told_by_its_line_too(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text('time_s,model\n\n0,"a\nb"\n\nx,c\n')
    with pytest.raises(InputError, match=r"row 2 column time_s: found 'x', .* \(line 6 of the file\)$"):
        read_trace(path)
