"""What model servers and gateways log, whole and damaged: what is taken, what is dropped, what is said."""

import base64
import json
import sqlite3

import numpy as np
import pytest

from tests.traces.importing import imported, refusal, written
from vramlab.config.errors import InputError
from vramlab.traces.importers import ImportOptions, make_importer
from vramlab.traces.importers.inventory import inventory_of, sizes_of_ps

# -- Ollama --------------------------------------------------------------------------------------------

SCHED = "time=2026-11-20T14:03:{:06.3f}Z level=DEBUG source=sched.go:580 msg={}"
OLLAMA = "\n".join(
    [
        "2026/11/20 14:03:00 routes.go:1173: INFO server config",
        SCHED.format(20.0, '"loading model via llama-server" model=/m/sha256-aa'),
        SCHED.format(21.0, '"waiting for room" refCount=1'),
        SCHED.format(22.0, '"loading model via llama-server" model=/m/sha256-aa'),
        SCHED.format(23.41, '"llama-server started in 3.41 seconds"'),
        SCHED.format(24.0, '"loaded" runner.vram="5.6 GiB" runner.parallel=1 runner.model=/m/sha256-aa'),
        "Nov 20 14:03:25 host ollama[7]: "
        + SCHED.format(25.0, '"evaluating already loaded" model=/m/sha256-aa'),
        SCHED.format(30.0, '"loading model via llama-server" model=/m/sha256-bb'),
        '[GIN] 2026/11/20 - 14:03:31 | 503 | 1.52s | 10.0.0.7 | POST "/api/chat"',
        SCHED.format(32.0, '"llama-server started in 2.00 seconds"'),
        SCHED.format(40.0, '"loading model via llama-server" model=/m/sha256-aa'),
        SCHED.format(44.0, '"llama-server started in 4.41 seconds"'),
    ]
)


def test_ollamas_debug_log_tells_arrivals_load_times_and_sizes(tmp_path):
    times, models, report = imported(tmp_path, OLLAMA, "ollama", name="serve.log")
    assert (times, models) == (
        [0.0, 5.0, 10.0, 20.0],
        [f"/m/sha256-{end}" for end in ("aa", "aa", "bb", "aa")],
    )
    assert report.loads_s == {"/m/sha256-aa": pytest.approx((3.41 + 4.41) / 2), "/m/sha256-bb": 2.0}
    assert report.sizes_bytes == {"/m/sha256-aa": round(5.6 * 2**30)}
    assert report.dropped == {"not about an arrival, a load or a size": 2, "another try of the same load": 1}
    assert any(note.startswith("1 access line answered 429 or 503") for note in report.notes)


def test_what_ollamas_log_tells_goes_into_the_inventory(tmp_path):
    trace, report = make_importer("ollama")(written(tmp_path, OLLAMA), ImportOptions())
    inventory = inventory_of(trace, report.sizes_bytes, 512, report.loads_s)
    assert inventory["/m/sha256-aa"].vram_size_mb == pytest.approx(5.6 * 1024, abs=1)
    assert inventory["/m/sha256-bb"].load_time_ms == 2000
    assert inventory["/m/sha256-bb"].vram_size_mb == 512


def test_access_lines_alone_cannot_tell_models(tmp_path):
    said = refusal(
        tmp_path, '[GIN] 2026/11/20 - 14:03:22 | 200 | 1.52s | 10.0.0.7 | POST "/api/chat"\n', "ollama"
    )
    assert said.startswith("found 1 access line ([GIN]), which name no model")
    assert "OLLAMA_DEBUG=1" in said
    assert "10.0.0.7" not in said
    assert refusal(tmp_path, "nothing\nof use\n", "ollama").startswith("found 2 lines that name no model")
    assert refusal(tmp_path, "", "ollama").startswith("found an empty file")


def test_a_log_of_ollama_that_was_cut_off_gives_what_it_has(tmp_path):
    cut = OLLAMA[: OLLAMA.index("sha256-bb") + 3]
    times, models, report = imported(tmp_path, cut, "ollama")
    assert (times, models) == ([0.0, 5.0, 10.0], ["/m/sha256-aa", "/m/sha256-aa", "/m/sha"])
    assert "/m/sha" not in report.loads_s


def test_sizes_that_ollama_tells_of_what_is_loaded(tmp_path):
    answer = {"models": [{"name": "qwen:7b", "size": 9 * 2**30, "size_vram": 6 * 2**30, "digest": "d"}]}
    path = written(tmp_path, json.dumps(answer), "ps.json")
    assert sizes_of_ps(path, ["ollama/qwen:7b", "other"]) == {"ollama/qwen:7b": 6 * 2**30}
    with pytest.raises(InputError, match="found qwen:7b, expected a model of the trace"):
        sizes_of_ps(path, ["other"])
    with pytest.raises(InputError, match="as /api/ps answers"):
        sizes_of_ps(written(tmp_path, "[]", "ps.json"), ["other"])


# -- llama-swap ----------------------------------------------------------------------------------------


def activity(number, stamp, model, status=200, took_ms=1000):
    return {
        "id": number, "timestamp": f"2026-11-20T14:03:{stamp:02}Z", "model": model, "req_path": "/v1/chat",
        "resp_status_code": status, "duration_ms": took_ms, "metadata": {},
    }  # fmt: skip


def test_llama_swaps_activity_counts_who_was_refused_and_keeps_them(tmp_path):
    calls = [activity(1, 20, "a"), activity(2, 21, "b", 429, 0), activity(3, 22, "c", 503, 500)]
    times, models, report = imported(tmp_path, json.dumps(calls), "llama-swap", name="activity.json")
    assert (times, models) == ([0.0, 2.0, 2.5], ["a", "b", "c"])
    assert "1 request answered 429 there: kept, as each wanted its model" in report.notes
    assert "1 request answered 503 there: kept, as each wanted its model" in report.notes


def test_llama_swaps_database_is_read_as_its_api_is(tmp_path):
    calls = [activity(1, 20, "a"), activity(2, 25, "b", took_ms=2500)]
    path = tmp_path / "swap.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (x)")
        database.execute(
            "CREATE TABLE activity (id, timestamp, model, req_path, resp_status_code, duration_ms)"
        )
        rows = [[call[key] for key in list(call)[:6]] for call in calls]
        database.executemany("INSERT INTO activity VALUES (?, ?, ?, ?, ?, ?)", rows)
    trace, _ = make_importer("llama-swap")(path, ImportOptions())
    asked, _ = make_importer("llama-swap")(written(tmp_path, json.dumps(calls), "a.json"), ImportOptions())
    assert trace.sha256 == asked.sha256
    assert trace.times_s.tolist() == [0.0, 3.5]
    options = ImportOptions(columns={"time": "timestamp", "model": "model"})
    with pytest.raises(InputError, match="the tables activity, other, expected one of them: --table NAME"):
        make_importer("csv")(path, options)
    named = ImportOptions(columns=options.columns, table="activity")
    assert make_importer("csv")(path, named)[0].times_s.tolist() == [0.0, 5.0]
    with pytest.raises(InputError, match="did you mean 'activity'"):
        make_importer("csv")(path, ImportOptions(columns=options.columns, table="activty"))


def test_a_field_that_is_missing_makes_its_row_malformed(tmp_path):
    calls = [activity(1, 20, "a"), activity(2, 21, "b")]
    del calls[1]["duration_ms"]
    said = refusal(tmp_path, json.dumps(calls), "llama-swap", name="a.json")
    assert said.startswith("row 2 column duration_ms: found nothing")
    assert imported(tmp_path, json.dumps(calls), "llama-swap", name="a.json", skip_bad_rows=1)[1] == ["a"]


# -- LiteLLM, LocalAI, Open WebUI ----------------------------------------------------------------------

SPENT = (
    "request_id,call_type,startTime,endTime,completionStartTime,model,cache_hit,status,session_id,end_user\n"
)


def test_litellm_keeps_no_names_of_people(tmp_path):
    text = SPENT + "".join(
        f"r{i},acompletion,2026-11-20T14:03:{i:02}.0Z,,,m{i % 2},False,{status},{who}\n"
        for i, (status, who) in enumerate(
            [("success", "ann@x.org"), ("failure", "bob@x.org"), ("", "ann@x.org")]
        )
    )
    text = text.replace(",session_id", "")
    trace, report = make_importer("litellm")(written(tmp_path, text), ImportOptions())
    assert trace.requesters.tolist() == ["r1", "r2", "r1"]
    assert "x.org" not in trace.frame.to_csv()
    assert "1 request answered failure there: kept, as each wanted its model" in report.notes


def test_litellm_as_json_lines_cut_off_at_the_end(tmp_path):
    row = {
        "request_id": "r",
        "startTime": "2026-11-20T14:03:20Z",
        "completionStartTime": "",
        "cache_hit": "False",
    }
    lines = "\n".join(json.dumps(row | {"model": name, "startTime": f"2026-11-20T14:03:2{i}Z"})
                      for i, name in enumerate("abc"))  # fmt: skip
    times, models, report = imported(tmp_path, lines[:-20], "litellm", name="spend.jsonl")
    assert (times, models) == ([0.0, 1.0], ["a", "b"])
    assert report.dropped == {"cut off at the end of the file": 1}


def test_localais_traces_have_the_model_in_the_body(tmp_path):
    def call(at, body, status=200):
        return {"timestamp": f"2026-11-20T14:03:{at}Z", "duration": 5, "request": {"path": "/", "body": body},
                "response": {"status": status}}  # fmt: skip

    secret = json.dumps({"model": "a", "messages": [{"content": "a secret"}]})
    calls = [
        call("20", base64.b64encode(secret.encode()).decode()),
        call("20.5", json.dumps({"model": "b"}), 503),
        call("21", ""),
        call("22", "eyJ.no.json"),
    ]
    trace, report = make_importer("localai-traces")(
        written(tmp_path, json.dumps(calls), "t.json"), ImportOptions()
    )
    assert (trace.times_s.tolist(), trace.frame["model"].tolist()) == ([0.0, 0.5], ["a", "b"])
    assert report.dropped == {"no model": 2}
    assert "secret" not in trace.frame.to_csv()


def test_localais_usage_in_its_database(tmp_path):
    path = tmp_path / "usage.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE usage_records (id, requested_model, served_model, duration, created_at)"
        )
        rows = [(1, "alias", "a", 500, "2026-11-20 14:03:20.5"), (2, "b", "b", 100, "2026-11-20 14:03:21")]
        database.executemany("INSERT INTO usage_records VALUES (?, ?, ?, ?, ?)", rows)
    trace, _ = make_importer("localai")(path, ImportOptions())
    assert (trace.times_s.tolist(), trace.model_names) == ([0.0, 0.5], ["a", "b"])


ANSWERS = [
    ("u1", "user", None, 1763647400, None),
    ("u1", "assistant", "a", 1763647401, json.dumps({"load_duration": 3_410_000_000})),
    ("u1", "assistant", "b", 1763647402500, json.dumps({"load_duration": 40_000_000})),
    ("u1", "assistant", "a", 1763647404, None),
]


def test_open_webuis_database_and_its_mixed_clocks(tmp_path):
    path = tmp_path / "webui.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE user (id, name)")
        database.execute("CREATE TABLE chat_message (user_id, role, model_id, created_at, usage)")
        database.executemany("INSERT INTO chat_message VALUES (?, ?, ?, ?, ?)", ANSWERS)
    trace, report = make_importer("open-webui")(path, ImportOptions())
    assert trace.times_s.tolist() == [0.0, 1.5, 3.0]
    assert trace.frame["model"].tolist() == ["a", "b", "a"]
    assert report.dropped == {"no answer of a model": 1}
    assert report.loads_s == {"a": 3.41}  # 40 ms: it was there
    assert "u1" not in trace.frame.to_csv()


def test_open_webuis_export_of_chats(tmp_path):
    messages = {
        "1": {"role": "user", "content": "a secret", "timestamp": 1763647400},
        "2": {"role": "assistant", "model": "a", "timestamp": 1763647401, "content": "x"},
        "3": {"role": "assistant", "model": "b", "timestamp": 1763647403, "info": {"load_duration": 10**9}},
    }
    export = [{"id": "c", "user_id": "u", "chat": {"title": "t", "history": {"messages": messages}}}]
    times, models, report = imported(tmp_path, json.dumps(export), "open-webui", name="chats.json")
    assert (times, models, report.loads_s) == ([0.0, 2.0], ["a", "b"], {"b": 1.0})
    said = refusal(tmp_path, '[{"x": 1}]', "open-webui", name="chats.json")
    assert said.startswith("found no chats")
    said = refusal(tmp_path, "a,b\n1,2\n", "open-webui")
    assert said.startswith("column created_at: found only a, b")


# -- access logs, clocks, sizes of logs ----------------------------------------------------------------


def test_access_logs_tell_models_by_their_paths_only(tmp_path):
    line = '10.0.0.7 - ann [20/Nov/2026:14:03:{:02} +0000] "POST {} HTTP/1.1" {} 12 "-" "curl"\n'
    text = line.format(20, "/v2/models/det/infer", 200) + line.format(
        21, "/v2/models/ocr/versions/1/infer", 429
    )
    trace, report = make_importer("nginx")(written(tmp_path, text), ImportOptions())
    assert (trace.times_s.tolist(), trace.model_names) == ([0.0, 1.0], ["det", "ocr"])
    assert trace.requesters is None
    assert "1 request answered 429 there: kept, as each wanted its model" in report.notes
    said = refusal(tmp_path, line.format(20, "/v1/chat/completions", 200), "nginx")
    assert "expected paths that name the model: OpenAI's routes do not" in said


def test_a_clock_that_was_set_back_is_said(tmp_path):
    text = "when,net\n" + "".join(f"{t},m{t % 2}\n" for t in (7200, 7201, 3600, 3601))
    columns = {"time": "when", "model": "net"}
    times, _, report = imported(tmp_path, text, columns=columns)
    assert times == [0.0, 1.0, 3600.0, 3601.0]
    assert report.reordered
    assert "the clock goes back 1 time, by up to 3,601 s: was it set?" in report.notes
    _, _, report = imported(tmp_path, "when,net\n5,a\n4,b\n", columns=columns)
    assert report.reordered
    assert not report.notes


def test_rotated_files_of_several_versions_are_read_by_what_they_have(tmp_path):
    rows = [activity(1, 20, "a"), {"timestamp": "2026-11-20T14:03:22Z", "model": "b", "duration_ms": 500}]
    text = "\n".join(map(json.dumps, rows))
    times, models, _ = imported(tmp_path, text, "llama-swap", name="a.jsonl")
    assert (times, models) == ([0.0, 2.5], ["a", "b"])


def test_a_long_log_of_ollama_is_read_in_one_pass_whatever_stands_between(tmp_path):
    rng = np.random.default_rng(7)
    names = [f"/m/sha256-{i:04x}" for i in range(20)]
    picked = rng.integers(0, 20, 3000)
    lines = [
        f"time=2026-11-20T14:{i // 60 % 60:02}:{i % 60:02}Z level=DEBUG source=sched.go:580 "
        f'msg="evaluating already loaded" model={names[k]}\ntime=x level=DEBUG msg="key not found" key=a'
        for i, k in enumerate(picked)
    ]
    _, models, report = imported(tmp_path, "\n".join(lines), "ollama")
    assert sorted(models) == sorted(names[k] for k in picked)
    assert report.rows_read == 6000


def test_fields_that_the_first_row_lacks_are_found_in_the_others(tmp_path):
    """Rotated by a newer version: the first row has no model, and only the second has a status."""
    first = {"id": 1, "timestamp": "2026-11-20T14:00:05Z", "req_path": "/", "duration_ms": 5}
    second = first | {"id": 2, "model": "b", "resp_status_code": 503}
    text = json.dumps([first, second])
    assert refusal(tmp_path, text, "llama-swap").startswith("row 1 column model: found nothing")
    _, models, report = imported(tmp_path, text, "llama-swap", skip_bad_rows=1)
    assert models == ["b"]
    assert any("answered 503" in note for note in report.notes)


@pytest.mark.parametrize("text", ["[]", "{}"])
def test_a_log_without_requests_says_so(tmp_path, text):
    assert refusal(tmp_path, text, "llama-swap") == "found no rows, expected at least one request"
