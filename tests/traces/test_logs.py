"""Which rows and names are kept; JSON, Parquet and text logs."""

import gzip
import json
import lzma
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.traces.importing import WHEN, imported, refusal, written
from vramlab.config.errors import InputError
from vramlab.traces.importers import ImportOptions, make_importer
from vramlab.traces.importers.layout import find_layout

# -- conditions, counts, names -----------------------------------------------------------------------


def test_only_rows_that_are_wanted(tmp_path):
    text = "when,net,metric,ok\n1,a,http_reqs,t\n1,a,vus,t\nx,,vus,t\n2,b,http_reqs,f\n3,c,http_reqs,t\n"
    times, models, report = imported(tmp_path, text, columns=WHEN, where=("metric=http_reqs",))
    assert (times, models) == ([0.0, 1.0, 2.0], ["a", "b", "c"])
    assert report.dropped == {"not where metric=http_reqs": 2}
    where = ("metric=http_reqs", "ok!=f")
    assert imported(tmp_path, text, columns=WHEN, where=where)[1] == ["a", "c"]
    where = ("metric=http_reqs", "ok=t", "ok=f")  # of two values one
    assert imported(tmp_path, text, columns=WHEN, where=where)[1] == ["a", "b", "c"]
    said = refusal(tmp_path, text, columns=WHEN, where=("metric=http_req",))
    assert "(5 not where metric=http_req)" in said
    assert "metric is 'http_reqs', 'vus'" in said
    assert "did you mean 'metric'" in refusal(tmp_path, text, columns=WHEN, where=("metrik=x",))
    with pytest.raises(InputError, match="COLUMN=VALUE"):
        ImportOptions(where=("metric",))


def test_counts_are_spread_within_their_interval(tmp_path):
    text = "when,net,n\n2026-11-02 08:00:00,a,3\n2026-11-02 08:00:00,b,\n2026-11-02 08:01:00,a,5.0\n"
    columns = WHEN | {"count": "n"}
    times, models, report = imported(tmp_path, text, columns=columns, seed=3)
    assert models == ["a"] * 8
    assert times == imported(tmp_path, text, columns=columns, seed=3)[0]
    assert times != imported(tmp_path, text, columns=columns, seed=4)[0]
    assert max(times) < 120
    assert "counts spread at random over the 60 s from their time on (seed 3)" in report.notes
    assert max(imported(tmp_path, text, columns=columns, interval_s=1)[0]) == pytest.approx(60, abs=1)
    one = "when,net,n\n1,a,3\n"
    assert "--interval 60s" in refusal(tmp_path, one, columns=columns)
    assert refusal(tmp_path, "when,net,n\n1,a,3\n2,a,1.5\n", columns=columns).startswith("line 3 column n")


def test_names_are_trimmed_and_what_looks_wrong_is_said(tmp_path):
    text = "when,net\n0,llama\n1,llama \n2, llama\n3,LLAMA\n4,nan\n5,7\n6,7.0\n7, \n"
    said = refusal(tmp_path, text, columns=WHEN)
    assert said.startswith("line 9 column net: found ' ', expected the name of a model")
    _, models, report = imported(tmp_path, text, columns=WHEN, skip_bad_rows=1)
    assert models == ["llama", "llama", "llama", "LLAMA", "nan", "7", "7.0"]
    assert "2 cells with blanks round a name: taken off" in report.notes
    assert any(note.startswith("models called 'nan'") for note in report.notes)
    assert any("llama and LLAMA; 7 and 7.0" in note for note in report.notes)


def test_names_that_another_format_would_change(tmp_path):
    names = ["no", "null", "1e5", "007", "~", "#x", "*x", "a: b", "2026-01-01", "it's", 'q"q', "模", "-"]
    frame = pd.DataFrame({"when": range(len(names)), "net": names})
    assert imported(tmp_path, frame.to_csv(index=False), columns=WHEN)[1] == names


def test_a_foreign_tables_own_priority_is_none_of_ours(tmp_path):
    text = "when,net,priority,items\n1,a,P1,x\n2,b,P2,\n"
    assert imported(tmp_path, text, columns=WHEN)[1] == ["a", "b"]
    assert "line 2 column priority" in refusal(tmp_path, text, columns=WHEN | {"priority": "priority"})
    trace, _ = make_importer("csv")(
        written(tmp_path, text.replace("P1", "high").replace("P2", "low").replace("x", "3")),
        ImportOptions(columns=WHEN),
    )
    assert trace.priorities.tolist() == ["high", "low"]
    assert trace.items.tolist() == [3, 1]


def test_items_of_nought_are_told_how_to_leave_out(tmp_path):
    text = "when,net,n\n1,a,2\n2,b,0\n"
    columns = WHEN | {"items": "n"}
    assert "--where n!=0 leaves those out" in refusal(tmp_path, text, columns=columns)
    assert imported(tmp_path, text, columns=columns, where=("n!=0",))[1] == ["a"]


def test_decimal_commas(tmp_path):
    text = "when;net\n0,5;a\n1,5;b\n"
    assert "or --decimal ," in refusal(tmp_path, text, columns=WHEN)
    assert imported(tmp_path, text, columns=WHEN, decimal=",")[0] == [0.0, 1.0]


# -- JSON, Parquet, logs -----------------------------------------------------------------------------

CALLS = [
    {"meta": {"at_ns": 1759522419154829652}, "tags": {"gen.model": "a"}},
    {"meta": {"at_ns": 1759522419654829652}, "tags": {"gen.model": "b"}},
]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, CALLS)),
        "\ufeff" + "\r\n".join(map(json.dumps, CALLS)),
        json.dumps(CALLS),
        json.dumps(CALLS, indent=2),
        "\n".join(json.dumps(call, indent=2) for call in CALLS),
    ],
    ids=["lines", "lines with a mark", "list", "list of lines", "objects in a row"],
)
def test_json_by_paths(tmp_path, text):
    columns = {"time": "meta.at_ns", "model": "tags.gen.model"}
    assert imported(tmp_path, text, columns=columns)[:2] == ([0.0, 0.5], ["a", "b"])
    assert "--columns time=meta.at_ns" in refusal(tmp_path, text)


def test_json_with_rows_in_lists(tmp_path):
    host = {"host": "h", "calls": [{"at": 1, "m": "a"}, {"at": 2, "m": "b"}]}
    columns = {"time": "calls.at", "model": "calls.m", "requester": "host"}
    for text in (json.dumps(host), json.dumps([host]), json.dumps(host, indent=1)):
        assert imported(tmp_path, text, columns=columns)[:2] == ([0.0, 1.0], ["a", "b"])
    nested = json.dumps({"data": {"rows": [["a", 1], ["b", 3]]}})
    columns = {"time": "data.rows.2", "model": "data.rows.1"}
    assert imported(tmp_path, nested, columns=columns)[:2] == ([0.0, 2.0], ["a", "b"])


def test_json_in_the_cells_of_a_table(tmp_path):
    bodies = [json.dumps({"model": name, "n": 1}) for name in ("a", "b")]
    frame = pd.DataFrame(
        {"@timestamp": ["2026-11-02 08:00:00.5", "2026-11-02 08:00:01.5"], "@message": bodies}
    )
    columns = {"time": "@timestamp", "model": "@message.model"}
    assert imported(tmp_path, frame.to_csv(index=False), columns=columns)[:2] == ([0.0, 1.0], ["a", "b"])
    frame.to_parquet(tmp_path / "calls.parquet")
    trace, _ = make_importer("csv")(tmp_path / "calls.parquet", ImportOptions(columns=columns))
    assert trace.model_names == ["a", "b"]
    said = refusal(tmp_path, frame.to_csv(index=False), columns=columns | {"model": "@message.name"})
    assert said.startswith("line 2 column @message.name: found nothing")


def test_json_that_is_none(tmp_path):
    lines = '{"when": 1, "net": "a"}\n{"when": 2,\n{"when": 3, "net": "c"}\n'
    assert refusal(tmp_path, lines, columns=WHEN).startswith(
        "line 2: found '{\"when\": 2,', expected a JSON object"
    )
    assert imported(tmp_path, lines, columns=WHEN, skip_bad_rows=1)[0] == [0.0, 2.0]
    assert refusal(tmp_path, '[{"when": 1,\n "net": }]', columns=WHEN).startswith("line 2: found no JSON (")
    mixed = '{"when": "1.5", "net": "a"}\n{"when": 2, "net": 7}\n{"when": 3.5, "net": null}\n'
    assert imported(tmp_path, mixed, columns=WHEN, skip_bad_rows=1)[:2] == ([0.0, 0.5], ["a", "7"])


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1_700_000_000, 1_700_000_002], pa.int64()),
        pa.array([1_700_000_000.0, 1_700_000_002.0]),
        pa.array([1_700_000_000_000, 1_700_000_002_000], pa.timestamp("ms")),
        pa.array([1_700_000_000, 1_700_000_002], pa.timestamp("s", "UTC")),
        pa.array([1_700_000_000, 1_700_000_002]).cast(pa.decimal128(20, 0)),
        pa.array(["2026-11-02 08:00:00", "2026-11-02 08:00:02"]),
    ],
    ids=lambda array: str(array.type),
)
def test_parquet_with_columns_of_ones_own(tmp_path, times):
    names = pa.array(["a", "b"]).dictionary_encode()
    inner = pa.StructArray.from_arrays([names], ["net"])
    pq.write_table(pa.table({"when": times, "net": names, "tags": inner}), tmp_path / "calls.parquet")
    for model in ("net", "tags.net"):
        options = ImportOptions(columns={"time": "when", "model": model})
        trace, _ = make_importer("csv")(tmp_path / "calls.parquet", options)
        assert (trace.times_s.tolist(), trace.model_names) == ([0.0, 2.0], ["a", "b"])


def test_packed_parquet_and_json(tmp_path):
    pq.write_table(pa.table({"when": [1, 3], "net": ["a", "b"]}), tmp_path / "plain")
    data = (tmp_path / "plain").read_bytes()
    lines = b'{"when": 1, "net": "a"}\n{"when": 3, "net": "b"}\n'
    for content in (data, lines):
        for packed in (gzip.compress(content), lzma.compress(content)):
            assert imported(tmp_path, packed, name="calls", columns=WHEN)[:2] == ([0.0, 2.0], ["a", "b"])


def test_records_of_several_builds(tmp_path):
    lines = [
        {"a": {"at": 1, "m": "x"}},
        {"a": {"at": 2, "m": "y"}},
        {"a": [{"at": 3, "m": "p"}, {"at": 4, "m": "q"}]},
        {"a.at": 5, "a": {"m": "z"}},
        {"a": {"at": 6, "m": "x"}},
    ]
    text = "\n".join(map(json.dumps, lines))
    columns = {"time": "a.at", "model": "a.m"}
    times, models, _ = imported(tmp_path, text, columns=columns)
    assert (times, models) == ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], list("xypqzx"))


LOG = """starting up
2026-11-02 08:00:00,120 INFO request model=detect took 3 ms
2026-11-02 08:00:00,200 INFO idle
2026-11-02 08:00:01,120 INFO request model=read took 5 ms
"""


def test_text_logs_by_a_pattern(tmp_path):
    pattern = r"^(?P<time>\S+ \S+) .*model=(?P<model>\S+)"
    times, models, report = imported(tmp_path, LOG, regex=pattern)
    assert (times, models) == ([0.0, 1.0], ["detect", "read"])
    assert report.dropped == {"not of the pattern": 2}
    said = refusal(tmp_path, LOG)
    guessed = re.search("--regex '(.*)'$", said)[1]
    assert imported(tmp_path, LOG, regex=guessed)[:2] == ([0.0, 1.0], ["detect", "read"])
    assert "no line that it finds; the first is 'starting up'" in refusal(
        tmp_path, LOG, regex="(?P<time>zzz)(?P<model>)"
    )
    assert "a group (?P<model>...)" in refusal(tmp_path, LOG, regex=r"^(?P<time>\S+ \S+)")
    for wrong, message in (("(", "a regular expression"), ("abc", "named groups")):
        with pytest.raises(InputError, match=message):
            ImportOptions(regex=wrong)
    gin = '[GIN] 2026/11/20 - 14:03:22 | 200 | 1.52s | 10.0.0.7 | POST "/api/chat"\n'
    options = {"regex": r"(?P<time>\d+/\d+/\d+ - \S+) .* (?P<duration>[\d.]+m?s) ", "model_name": "m"}
    assert imported(tmp_path, gin, **options)[1] == ["m"]


def test_a_log_without_times_is_said_to_be_one(tmp_path):
    text = '[INFO] Request 10.0.0.1 "POST /v1/chat HTTP/1.1" 200 58 "curl" 19.12ms\n[INFO] <m1> loaded\n'
    said = refusal(tmp_path, text)
    assert said.startswith("found lines of text without a time, such as '[INFO] Request")
    assert "/api/metrics/activity" in said


def test_the_layout_that_is_found():
    """The examples of the module, on a file that is there anyway."""
    layout = find_layout("traces/live_workload.csv", ImportOptions())
    assert (layout.kind, layout.delimiter, layout.has_header, layout.first_line) == ("table", ",", True, 1)
    assert layout.columns[:2] == ("time_s", "model")
