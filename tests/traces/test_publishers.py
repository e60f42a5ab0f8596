"""Publishers' formats on small made-up files."""

import json

import numpy as np
import pytest

from tests.traces.importing import imported, refusal, written
from vramlab.traces.importers import ImportOptions, make_importer


def test_libcachesims_own_files(tmp_path):
    own = "# time, object, size, next_access_vtime\n0, 9001, 737, 2\n0, 9002, 248, -1\n3, 9001, 737, -1\n"
    for text in (own, own.split("\n", 1)[1]):
        times, models, report = imported(tmp_path, text, "libcachesim-csv")
        assert (times, models) == ([0.0, 0.0, 3.0], ["9001", "9002", "9001"])
        assert report.sizes_bytes == {"9001": 737, "9002": 248}
    brackets = "# timestamp (ms), op [Put:0, Get:1], object id, object size (byte)\n0,1,A,8371\n103,1,B,31\n"
    times, models, report = imported(tmp_path, brackets, "libcachesim-csv")
    assert (times, models, report.sizes_bytes) == ([0.0, 0.103], ["A", "B"], {"A": 8371, "B": 31})
    said = refusal(tmp_path, brackets.split("\n", 1)[1], "libcachesim-csv")
    assert "--columns time=1,model=3,size=4" in said
    assert imported(tmp_path, "0,alpha,100\n3,beta,50\n", "libcachesim-csv")[1] == ["alpha", "beta"]
    times, models, report = imported(tmp_path, "7\n8\n7\n", "libcachesim-csv", name="t.txt")
    assert (times, models) == ([0.0, 1.0, 2.0], ["7", "8", "7"])
    assert report.notes[-1].startswith("no times")
    assert "--delimiter space" in refusal(tmp_path, "0 7 100\n1 8 50\n", "libcachesim-csv")
    assert imported(tmp_path, "0 7 100\n1 8 50\n", "libcachesim-csv", delimiter=" ")[1] == ["7", "8"]


def test_a_text_is_no_oracle_general_whatever_its_length(tmp_path):
    text = "when,endpoint\n" + "".join(f"{n:05},model-{n % 3}\n" for n in range(100))
    text = text[: len(text) // 24 * 24]
    assert refusal(tmp_path, text, "oracle-general").startswith(
        "found text, expected records of oracleGeneral"
    )
    noise = np.random.default_rng(0).bytes(24 * 100)
    assert refusal(tmp_path, noise, "oracle-general").startswith("found bytes that are none")


def test_a_publishers_file_is_known_by_its_columns(tmp_path):
    for kind, text in {
        "jmeter": "timeStamp,elapsed,label\n1745390589957,66,a\n",
        "azure-functions": "HashOwner,HashApp,HashFunction,1,2\no,a,f,0,1\n",
        "huawei": "day,time,0,1\n0,0,3,\n",
        "mooncake": '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0]}\n',
        "triton": '[{"id":1,"model_name":"det","model_version":1}]',
    }.items():
        assert f"it looks like {kind}: `vramlab import {kind}`" in refusal(tmp_path, text)
    # whose unit nobody would guess
    text = '{"timestamp": 2500, "input_length": 1, "output_length": 1, "hash_ids": [0]}\n'
    said = refusal(tmp_path, text, columns={"time": "timestamp"}, model_name="m")
    assert "expected --time-unit ms, or `vramlab import mooncake`" in said


def test_huawei_counts_per_minute(tmp_path):
    text = "day,time,0,1\n0,0,3,\n0,60,1.0,2\n1,0,,1\n"
    times, models, report = imported(tmp_path, text, "huawei")
    assert sorted(models) == ["0"] * 4 + ["1"] * 3
    assert times[-1] == pytest.approx(86_400, abs=60)
    assert report.rows_read == 3
    (tmp_path / "days").mkdir()
    for day in (0, 1):
        written(
            tmp_path / "days",
            f"day,time,0\n{day},{day * 86_400},1\n{day},{day * 86_400 + 60},1\n",
            f"day_{day}.csv",
        )
    trace, _ = make_importer("huawei")(tmp_path / "days", ImportOptions())
    assert len(trace) == 4
    assert trace.duration_s == pytest.approx(86_460, abs=60)


def test_azure_2019_with_other_names_of_minutes(tmp_path):
    text = "HashFunction,HashApp,HashOwner,minute_1,minute_2,minute_3\nf,a,o,2,0,1\ng,a,o,0,1,0\n"
    times, models, _ = imported(tmp_path, text, "azure-functions")
    assert sorted(models) == ["a/f"] * 3 + ["a/g"]
    assert max(times) < 180


def test_burstgpt_sessions_are_no_fractions(tmp_path):
    text = "Timestamp,Session ID,Elapsed time,Model,Log Type\n5.0,,0,a,x\n3.5,12,1.2,b,y\n3.5,12.0,1.2,b,y\n"
    trace, _ = make_importer("burstgpt")(written(tmp_path, text), ImportOptions())
    assert trace.requesters.tolist() == ["12", "12", None]


def test_rows_of_a_publisher_may_be_left_out_too(tmp_path):
    text = "Timestamp,Model,Response tokens,Log Type\n5,a,0,x\n6,b,7,y\n"
    assert imported(tmp_path, text, "burstgpt", where=("Response tokens!=0",))[1] == ["b"]
    said = refusal(tmp_path, text, "burstgpt", where=("Response token!=0",))
    assert "did you mean 'Response tokens'" in said


def test_triton_traces_interleave_and_have_ensembles(tmp_path):
    rows = [
        {"id": 1, "timestamps": [{"name": "HTTP_RECV_START", "ns": 5_000_000}]},
        {"id": 1, "model_name": "det", "model_version": 1},
        {"id": 1, "timestamps": [{"name": "REQUEST_START", "ns": 6_000_000}]},
        {"id": 2, "model_name": "ensemble", "model_version": 1},
        {"id": 2, "timestamps": [{"name": "REQUEST_START", "ns": 5_400_000}]},
        {"id": 3, "model_name": "ocr", "model_version": 1, "parent_id": 2},
        {"id": 3, "timestamps": [{"name": "REQUEST_START", "ns": 5_500_000}]},
        {"id": 4, "model_name": "lost", "model_version": 1},
    ]
    said = refusal(tmp_path, json.dumps(rows), "triton")
    assert said.startswith("row 8 column timestamps: found no REQUEST_START")
    times, models, report = imported(tmp_path, json.dumps(rows), "triton", skip_bad_rows=1)
    assert (times, models) == ([0.0, 0.0005], ["ocr", "det"])
    assert report.dropped == {"ensemble, whose steps are requests": 1, "malformed": 1}


def test_a_profile_export_names_its_models(tmp_path):
    payload = json.dumps({"model": "m1"})
    requests = [
        {"timestamp": 10**18, "request_inputs": {"payload": payload}},
        {"timestamp": 10**18 + 5 * 10**8, "request_inputs": {}},
    ]
    export = json.dumps({"experiments": [{"experiment": {}, "requests": requests}]})
    assert imported(tmp_path, export, "perf-analyzer")[:2] == ([0.0, 0.5], ["m1", "model"])
    assert imported(tmp_path, export, "perf-analyzer", model_name="x")[1] == ["x", "x"]


def test_what_a_gateway_answered_itself_is_no_request(tmp_path):
    text = (
        "startTime,completionStartTime,model,cache_hit\n"
        "2026-11-20T14:03:20.1Z,,a,False\n2026-11-20T14:03:20.6Z,,a,True\n2026-11-20T14:03:21.1Z,,b,\n"
    )
    assert imported(tmp_path, text, "litellm")[:2] == ([0.0, 1.0], ["a", "b"])


def test_spans_without_a_model_are_left_out(tmp_path):
    def span(at, model):
        key = "gen_ai.request.model" if model else "http.route"
        attributes = [{"key": key, "value": {"stringValue": model or "/"}}]
        return {"startTimeUnixNano": str(10**18 + at), "attributes": attributes}

    spans = [span(0, "a"), span(10**8, None), span(5 * 10**8, "b")]
    document = {
        "resourceSpans": [{"scopeSpans": [{"spans": spans[:2]}]}, {"scopeSpans": [{"spans": spans[2:]}]}]
    }
    times, models, report = imported(tmp_path, json.dumps(document), "otel")
    assert (times, models, report.dropped) == ([0.0, 0.5], ["a", "b"], {"no model": 1})


def test_a_log_that_stamps_the_end(tmp_path):
    calls = [
        {"timestamp": "2026-11-20T14:03:22Z", "model": "slow", "req_path": "/", "duration_ms": 1840},
        {"timestamp": "2026-11-20T14:03:21Z", "model": "fast", "req_path": "/", "duration_ms": 500},
    ]
    times, models, _ = imported(tmp_path, json.dumps(calls), "llama-swap")
    assert models == ["slow", "fast"]
    assert times == pytest.approx([0.0, 0.34])
