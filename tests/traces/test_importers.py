"""Importers: each publisher's columns on small files worked by hand, the options, and bad input."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vramlab.config.errors import InputError
from vramlab.traces.importers import IMPORTERS, ImportOptions, reading
from vramlab.traces.importers.azure_functions import MINUTES
from vramlab.traces.importers.inventory import inventory_of
from vramlab.traces.importers.layout import find_layout
from vramlab.traces.importers.oracle_general import RECORD
from vramlab.traces.importers.rows import RowLog

AZURE_LLM = Path(__file__).resolve().parents[3] / "shared/data/azure_llm_2023_code.csv.gz"


def written(tmp_path, text, name="source.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def imported(name, path, **options):
    return IMPORTERS[name](path, ImportOptions(**options))


def refusal(name, path, **options):
    with pytest.raises(InputError) as caught:
        imported(name, path, **options)
    return str(caught.value).removeprefix(f"{path}: ")


# -- publishers --------------------------------------------------------------------------------------

AZURE_2021 = """app,func,end_timestamp,duration
a,f,10.0,1.0
a,g,10.5,9.5
b,f,12.0,0.0
a,f,13.0,1.5
"""


def test_azure_functions_2021_arrive_at_the_end_less_the_duration(tmp_path):
    trace, report = imported("azure-functions", written(tmp_path, AZURE_2021))
    assert trace.times_s.tolist() == [0.0, 8.0, 10.5, 11.0]
    assert trace.frame["model"].tolist() == ["a/g", "a/f", "a/f", "b/f"]
    assert trace.requesters.tolist() == ["a", "a", "a", "b"]
    assert (report.rows_read, report.rows_kept, report.dropped, report.reordered) == (4, 4, {}, True)


def azure_2019(counts, owner="o", app="a", function="f"):
    cells = [str(counts.get(int(minute), 0)) for minute in MINUTES]
    return ",".join([owner, app, function, "http", *cells])


AZURE_2019_HEADER = ",".join(["HashOwner", "HashApp", "HashFunction", "Trigger", *MINUTES])


def test_azure_functions_2019_spreads_counts_within_their_minute(tmp_path):
    text = "\n".join([AZURE_2019_HEADER, azure_2019({1: 3, 1440: 2}), azure_2019({2: 4}, function="g")])
    path = written(tmp_path, text)
    trace, report = imported("azure-functions", path, seed=1)
    assert (report.rows_read, report.rows_kept, report.reordered) == (2, 9, False)
    minutes = ((trace.times_s + 1e-9) // 60).astype(int)  # from the first request, which is in minute 1
    assert trace.frame["model"].tolist() == ["a/f"] * 3 + ["a/g"] * 4 + ["a/f"] * 2
    assert set(minutes[:3]) == {0}
    assert set(minutes[3:7]) <= {0, 1}
    assert trace.sha256 == imported("azure-functions", path, seed=1)[0].sha256
    assert trace.sha256 != imported("azure-functions", path, seed=2)[0].sha256
    # a window is cut and requests are thinned before they are spread
    cut, report = imported("azure-functions", path, start_s=60, end_s=120)
    assert cut.model_names == ["a/g"]
    assert report.dropped == {"outside the time window": 5}
    assert refusal("azure-functions", path, models=("m",), mapping="zipf").startswith(
        "mapping: found counts per minute, expected top or round_robin"
    )


def test_azure_functions_2019_folder_of_days(tmp_path):
    for day in (1, 3):
        text = "\n".join([AZURE_2019_HEADER, azure_2019({1: 1}, function=f"f{day}")])
        written(tmp_path, text, f"invocations_per_function_md.anon.d{day:02}.csv")
    trace, _ = imported("azure-functions", tmp_path)
    assert trace.frame["model"].tolist() == ["a/f1", "a/f3"]
    assert trace.duration_s == pytest.approx(2 * 86_400, abs=60)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found no CSV file"):
        imported("azure-functions", tmp_path / "empty")


def test_azure_functions_2019_thinning_is_binomial(tmp_path):
    path = written(tmp_path, "\n".join([AZURE_2019_HEADER, azure_2019({5: 40_000})]))
    trace, report = imported("azure-functions", path, thin=0.25)
    assert len(trace) == pytest.approx(10_000, rel=0.05)
    assert report.dropped == {"thinned out": 40_000 - len(trace)}


def test_azure_functions_2019_too_many(tmp_path):
    path = written(tmp_path, "\n".join([AZURE_2019_HEADER, azure_2019({5: 10**9})]))
    assert refusal("azure-functions", path).startswith("found 1,000,000,000 requests, expected at most")


def test_burstgpt(tmp_path):
    head = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    path = written(tmp_path, head + "5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1,2,3,API log\n")
    trace, _ = imported("burstgpt", path)
    assert trace.times_s.tolist() == [0.0, 40.0]
    assert trace.frame["model"].tolist() == ["ChatGPT", "GPT-4"]
    assert trace.requesters is None
    newer = "Timestamp,Session ID,Elapsed time,Model,Request tokens\n1,7,0.5,GPT-4,3\n"
    assert imported("burstgpt", written(tmp_path, newer))[0].requesters.tolist() == ["7"]


def test_azure_llm(tmp_path):
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"
    path = written(tmp_path, text + "2023-11-16 18:17:04.0319601,1,2\n")
    trace, _ = imported("azure-llm", path)
    assert trace.times_s.tolist() == [0.0, 0.0520001]
    assert trace.model_names == ["llm"]
    assert imported("azure-llm", path, model_name="gpt")[0].model_names == ["gpt"]


@pytest.mark.skipif(not AZURE_LLM.exists(), reason=f"the real trace is not at {AZURE_LLM}")
def test_real_azure_llm():
    trace, report = imported("azure-llm", AZURE_LLM, models=("a", "b", "c"), mapping="zipf")
    assert report.rows_read == len(trace) == 8_819
    gaps = np.diff(trace.times_s)
    assert gaps.std() / gaps.mean() == pytest.approx(13.2, abs=0.1)
    shares = trace.frame["model"].value_counts(normalize=True)
    weights = np.arange(1, 4) ** -0.9
    assert shares[["a", "b", "c"]].to_numpy() == pytest.approx(weights / weights.sum(), abs=0.02)


@pytest.mark.parametrize(
    "text", ["time,obj_id,obj_size\n3,7,100\n4,8,50\n4,7,120\n", "3,7,100\n4,8,50\n4,7,120\n"]
)
def test_libcachesim_csv_with_and_without_header(tmp_path, text):
    trace, report = imported("libcachesim-csv", written(tmp_path, text))
    assert trace.times_s.tolist() == [0.0, 1.0, 1.0]
    assert trace.frame["model"].tolist() == ["7", "8", "7"]
    assert report.sizes_bytes == {"7": 120, "8": 50}
    assert report.rows_read == 3


@pytest.mark.parametrize("suffix", ["", ".zst", ".gz"])
def test_oracle_general(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("vramlab.traces.importers.oracle_general.RECORDS_PER_CHUNK", 2)
    records = np.array([(5, 2**63, 10, 3), (5, 1, 20, -1), (9, 2**63, 11, -1)], dtype=RECORD)
    assert records.nbytes == 72
    path = tmp_path / f"trace.oracleGeneral{suffix}"
    with pa.output_stream(str(path), compression={"": None, ".zst": "zstd", ".gz": "gzip"}[suffix]) as stream:
        stream.write(records.tobytes())
    trace, report = imported("oracle-general", path)
    assert trace.times_s.tolist() == [0.0, 0.0, 4.0]
    assert trace.frame["model"].tolist() == [str(2**63), "1", str(2**63)]
    assert report.sizes_bytes == {str(2**63): 11, "1": 20}
    if not suffix:
        path.write_bytes(records.tobytes()[:-4])
        assert refusal("oracle-general", path) == "row 3: found 20 bytes, expected whole records of 24 bytes"
        path.write_bytes(b"")
        assert refusal("oracle-general", path) == "found an empty file, expected at least one record"


def test_perf_analyzer_profile_export(tmp_path):
    zero = 1_700_000_000_000_000_001
    requests = [
        {"timestamp": zero + offset, "response_timestamps": []} for offset in (0, 1_500, 2_000_000_000)
    ]
    export = {"experiments": [{"experiment": {}, "requests": requests}], "version": "2"}
    path = written(tmp_path, json.dumps(export), "profile.json")
    trace, _ = imported("perf-analyzer", path, model_name="bert")
    assert trace.times_s.tolist() == [0.0, 1.5e-6, 2.0]
    assert trace.model_names == ["bert"]
    requests[1]["timestamp"] = "soon"
    path.write_text(json.dumps(export))
    assert refusal("perf-analyzer", path).startswith("row 2 column timestamp: found 'soon', expected a whole")
    assert imported("perf-analyzer", path, skip_bad_rows=1)[1].dropped == {"malformed": 1}
    for text, message in (
        ("{", "found no JSON"),
        ("{}", "found no 'experiments'"),
        ("", "found no requests"),
    ):
        path.write_text(text)
        assert refusal("perf-analyzer", path).startswith(message)


def test_perf_analyzer_intervals(tmp_path):
    path = written(tmp_path, "1000\n500000\n0\n", "intervals.txt")
    assert imported("perf-analyzer", path)[0].times_s.tolist() == [0.0, 0.5, 0.5]
    assert refusal("perf-analyzer", written(tmp_path, "1\n-2\n")).startswith("row 2: found '-2', expected an")


def test_csv_with_mapping(tmp_path):
    text = "when,net,who,n,input,prio\n2024-01-01T10:00:00Z,a,u,2,k1,high\n2024-01-01T10:00:00.25Z,b,,,k1,\n"
    columns = {
        "time": "when",
        "model": "net",
        "requester": "who",
        "items": "n",
        "input_key": "input",
        "priority": "prio",
    }
    trace, _ = imported("csv", written(tmp_path, text), columns=columns)
    assert trace.times_s.tolist() == [0.0, 0.25]
    assert trace.items.tolist() == [2, 1]
    assert trace.requesters.tolist() == ["u", None]
    assert trace.input_keys.tolist() == ["k1", "k1"]
    assert trace.priorities.tolist() == ["high", None]


def test_csv_defaults_units_and_one_model(tmp_path):
    path = written(tmp_path, "time_s,model,other\n1000,a,x\n2500,b,y\n")
    assert imported("csv", path)[0].times_s.tolist() == [0.0, 1500.0]
    assert imported("csv", path, time_unit="ms")[0].times_s.tolist() == [0.0, 1.5]
    path = written(tmp_path, "time_s\n1\n2\n")
    assert imported("csv", path, model_name="only")[0].model_names == ["only"]
    assert refusal("csv", path) == (
        "column model: found only time_s, expected that column, or --columns model=NAME, "
        "or --model-name NAME if all are for one model"
    )
    assert "expected that column, or --columns time=time_s" in refusal(
        "csv", path, columns={"time": "t"}, model_name="only"
    )
    assert refusal("csv", path, columns={"tme": "t"}).startswith(
        "columns: tme: found an unknown role, expected one of time, model"
    )


# -- options -----------------------------------------------------------------------------------------


def by_popularity(tmp_path):
    """x three times, y twice, z once; z comes first."""
    rows_ = "".join(f"{time},{name}\n" for time, name in enumerate("zxyxyx"))
    return written(tmp_path, "time_s,model\n" + rows_)


def models_of(path, **options):
    trace, report = imported("csv", path, **options)
    return "".join(trace.frame["model"]), report


def test_mapping_of_functions(tmp_path):
    path = by_popularity(tmp_path)
    assert models_of(path)[0] == "zxyxyx"
    names, report = models_of(path, top=2)
    assert (names, report.dropped) == ("xyxyx", {"not of the 2 most requested": 1})
    names, report = models_of(path, models=("A", "B"))
    assert (names, report.dropped) == ("ABABA", {"not of the 2 most requested": 1})
    assert report.lines()[-1] == "3 functions given to 2 models by popularity"
    # in turn, by first appearance: z -> A, x -> B, y -> A
    names, report = models_of(path, models=("A", "B"), mapping="round_robin")
    assert (names, report.dropped) == ("ABABAB", {})
    assert models_of(path, models=("A", "B"), mapping="round_robin", top=1)[0] == "AAA"
    assert models_of(path, models=tuple("ABCDE"))[0] == "CABABA"


def test_window_speed_and_thinning(tmp_path):
    path = by_popularity(tmp_path)
    trace, report = imported("csv", path, start_s=1, end_s=4, speed=2)
    assert trace.times_s.tolist() == [0.0, 0.5, 1.0]
    assert report.dropped == {"outside the time window": 3}
    assert report.lines()[-1] == "played 2 times faster"
    with pytest.raises(InputError, match=r"no request that can be kept \(6 outside the time window\)"):
        imported("csv", path, start_s=100)
    many = written(tmp_path, "time_s,model\n" + "".join(f"{n},m\n" for n in range(4_000)))
    trace, report = imported("csv", many, thin=0.3, seed=5)
    assert len(trace) == pytest.approx(1_200, rel=0.1)
    assert report.dropped == {"thinned out": 4_000 - len(trace)}
    assert trace.sha256 == imported("csv", many, thin=0.3, seed=5)[0].sha256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": 0}, "speed: found 0, expected more than 0"),
        ({"thin": 1.5}, "thin: found 1.5, expected more than 0, at most 1"),
        (
            {"mapping": "round-robin"},
            "mapping: found 'round-robin', expected one of top, round_robin, zipf (did",
        ),
        ({"mapping": "zipf"}, "models: found none, expected names, as mapping is zipf"),
        ({"models": ("a", "a")}, "models: found a,a, expected different names"),
        ({"top": 0}, "top: found 0, expected at least 1"),
        ({"start_s": 5, "end_s": 5}, "end_s: found 5, expected more than start_s (5)"),
        ({"end_s": float("nan")}, "end_s: found nan, expected a finite number"),
        ({"skip_bad_rows": -1}, "skip_bad_rows: found -1, expected 0 or more"),
        ({"seed": -1}, "seed: found -1, expected 0 or more"),
        ({"time_unit": "min"}, "time_unit: found 'min', expected one of s, ms, us, ns"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError) as caught:
        ImportOptions(**options)
    assert str(caught.value).startswith(f"import options: {message}")


# -- chunks and bad input ----------------------------------------------------------------------------


def test_chunks_make_no_difference(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    times = np.round(np.cumsum(rng.exponential(1, 3_000)), 3)
    text = "time_s,model,requester,items\n" + "".join(
        f"{time},m{rng.integers(9)},{'' if rng.random() < 0.3 else 'u1'},{rng.integers(1, 4)}\n"
        for time in times
    )
    path = written(tmp_path, text)
    options = {"thin": 0.5, "models": ("a", "b", "c"), "mapping": "round_robin"}
    whole, report = imported("csv", path, **options)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 2_000)
    options_ = ImportOptions()
    layout = find_layout(path, options_)
    sizes = [len(chunk.good) for chunk in reading.chunks(path, RowLog(path, 0), ["time_s"], layout, options_)]
    assert max(sizes) < 200
    assert sum(sizes) == 3_000
    again, other = imported("csv", path, **options)
    assert again.sha256 == whole.sha256
    assert other == report


BAD = """time_s,model
0,a
x,b
2,c,d
3,
4,e
inf,f
5,g
"""


def test_bad_rows_are_named_and_bounded(tmp_path):
    path = written(tmp_path, BAD)
    trace, report = imported("csv", path, skip_bad_rows=4)
    assert trace.frame["model"].tolist() == ["a", "e", "g"]
    assert report.dropped == {"malformed": 4}
    assert report.rows_read == 7
    assert report.lines()[-1].startswith("the first malformed row: line ")
    for allowed, said in ((1, "1 bad row"), (3, "3 bad rows")):
        hint = f"({said} dropped before it; --skip-bad-rows N drops up to N)"
        assert refusal("csv", path, skip_bad_rows=allowed).endswith(hint)
    assert refusal("csv", path).endswith("(--skip-bad-rows N drops up to N)")
    for text, message in (
        ("time_s,model\n0,a\nx,b\n", "line 3 column time_s: found 'x', expected a finite number"),
        ("time_s,model\n0,a\n1,b,c\n", "line 3: found 3 fields, expected the 2 of the header"),
        ("time_s,model\n0,a\n1\n", "line 3: found 1 fields, expected the 2 of the header"),
        ("time_s,model\n0,a\n,b\n", "line 3 column time_s: found nothing, expected a finite number"),
        ("time_s,model\n0,a\nnan,b\n", "line 3 column time_s: found 'nan', expected a finite number"),
        ("time_s,model\n0,a\n1,\n", "line 3 column model: found nothing, expected the name of a model"),
        ("time_s,model,items\n0,a,\n1,b,0\n", "line 3 column items: found '0', expected a whole number"),
        ("time_s,model,priority\n0,a,\n1,b,top\n", "line 3 column priority: found 'top', expected one of"),
        ("time_s,model\n2024-01-01,a\n7,b\n", "line 3 column time_s: found '7', expected a date such as"),
    ):
        assert refusal("csv", written(tmp_path, text)).startswith(message)


def test_row_numbers_count_the_rows_that_were_skipped(tmp_path):
    text = "time_s,model\n0,a\n1\n2,b\n3,c,d\n4,e\nx,f\n"
    assert refusal("csv", written(tmp_path, text), skip_bad_rows=2).startswith(
        "line 7 column time_s: found 'x'"
    )
    text = "time_s,model\n0\nx,b\n"
    assert refusal("csv", written(tmp_path, text), skip_bad_rows=1).startswith(
        "line 3 column time_s: found 'x'"
    )


def test_bad_durations_and_counts(tmp_path):
    path = written(tmp_path, "app,func,end_timestamp,duration\na,f,1,-1\n")
    said = refusal("azure-functions", path)
    assert said.startswith("line 2 column duration: found '-1', expected seconds, 0 or more (")
    path = written(tmp_path, "\n".join([AZURE_2019_HEADER, azure_2019({7: -1})]))
    said = refusal("azure-functions", path)
    assert said.startswith("line 2 column 7: found '-1', expected a count of 0 or more (")


def test_broken_files(tmp_path):
    for name in IMPORTERS:
        with pytest.raises(InputError, match="no such file"):
            imported(name, tmp_path / "none")
    assert (
        refusal("csv", written(tmp_path, "")) == "found an empty file, expected a CSV file with a header line"
    )
    assert (
        refusal("csv", written(tmp_path, "time_s,model\n")) == "found no rows, expected at least one request"
    )
    twice = written(tmp_path, "time_s,model,model\n0,a,b\n")
    assert (
        refusal("csv", twice)
        == "column model: found the column twice, expected each column once, or its number"
    )
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"time_s,model\n0,\xe9\n")
    assert refusal("csv", latin).startswith("line 2 column model: found bytes that are not UTF-8 (")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"time_s,model\n" + b"0,a\n" * 9_999)[:-12])
    assert "what its suffix says" in refusal("csv", cut)
    plain = written(tmp_path, "time_s,model\n0,a\n", "plain.csv.gz")
    assert "what its suffix says" in refusal("csv", plain)
    other = written(tmp_path, "Timestamp,model\n0,a\n")
    assert refusal("burstgpt", other).startswith(
        "column Model: found only Timestamp, model, expected that column (did you mean 'model'?); for another"
    )
    many = written(tmp_path, ",".join(f"c{number}" for number in range(1500)) + "\n")
    assert "found only c0, c1, c2" in refusal("burstgpt", many)
    assert "c11 and 1,488 more, expected" in refusal("burstgpt", many)
    nothing = written(tmp_path, "when,what\nx,y\n")
    assert refusal("libcachesim-csv", nothing).startswith("header: found when,what, expected one of time,")


def test_one_request_and_byte_order_mark(tmp_path):
    path = tmp_path / "bom.csv"
    path.write_bytes(b'\xef\xbb\xbftime_s,model\n7,"a,b"\n')
    trace, _ = imported("csv", path)
    assert trace.frame[["time_s", "model"]].to_numpy().tolist() == [[0.0, "a,b"]]


def test_a_trace_file_of_ours_comes_back(tmp_path):
    frame = pd.DataFrame({"time_s": [0.0, 0.1 + 0.2], "model": ["a", "b"], "requester": ["r", None]})
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    assert imported("csv", path)[0].times_s.tolist() == [0.0, 0.1 + 0.2]


def test_first_inventory_has_the_sizes_of_the_source(tmp_path):
    path = written(tmp_path, f"time,obj_id,obj_size\n1,b,{3 * 2**20}\n2,a,0\n")
    trace, report = imported("libcachesim-csv", path)
    inventory = inventory_of(trace, report.sizes_bytes)
    assert list(inventory) == ["a", "b"]
    assert inventory["b"].footprint_bytes == 3 * 2**20
    assert inventory["b"].load_time_ms == 10.2
    assert inventory["a"].vram_size_mb == inventory_of(trace)["b"].vram_size_mb == 512
