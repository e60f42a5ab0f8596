"""``monitor`` and ``journal-trace``."""

import json
import logging
import sys

import pytest
import yaml

from vramlab.live.logs import JsonLines


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Inventory of two models of 2 MB, a workload of eight requests, and the settings: room for one."""
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path / "cache"))
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
    models = tmp_path / "models.yaml"
    models.write_text(yaml.safe_dump({"models": {"group": {"a.onnx": spec, "b.onnx": spec}}}))
    workload = tmp_path / "workload.csv"
    rows = [f"{0.05 * number},{'ab'[number // 4]}.onnx" for number in range(8)]
    workload.write_text("time_s,model\n" + "\n".join(rows) + "\n")
    zone = "zones={flexible: {size_mb: 3, max_models: null, min_retention_time: 0}}"
    return (
        "--models", models, "--workload", workload, "--device", "cpu-emulated",
        "--set", "total_memory_mb=3", "--set", zone, "--set", "optimization.pressure_available_mb=0",
        "--set", "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
    )  # fmt: skip


def test_once_shows_device_zones_and_models(vramlab, inputs, tmp_path):
    status, shown, _ = vramlab("monitor", *inputs, "--once", "--log", tmp_path / "log.jsonl")
    assert status == 0
    assert "cpu-emulated" in shown
    rows = {row.split()[1]: row for row in shown.splitlines() if ".onnx" in row}
    assert "absent" in rows["a.onnx"]
    assert "resident" in rows["b.onnx"]
    messages = [json.loads(line)["message"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert messages[0] == "open on cpu-emulated"
    assert messages[-1] == "closed"


def test_json(vramlab, inputs):
    status, shown, _ = vramlab("monitor", *inputs, "--json")
    assert status == 0
    document = json.loads(shown)
    assert document["evictions"] == 1
    assert sum(document["outcomes"].values()) == 8
    (b,) = [model for model in document["models"] if model["name"] == "b.onnx"]
    assert (b["state"], b["uses"], b["footprint_bytes"]) == ("resident", 4, 2 * 2**20)


def test_a_recording_is_watched_by_its_folder(vramlab, inputs, tmp_path):
    run = tmp_path / "run"
    assert vramlab("record", *inputs, "--out", run)[0] == 0
    status, shown, _ = vramlab("monitor", run)
    assert status == 0
    assert {row.split()[1]: row.split()[3] for row in shown.splitlines() if ".onnx" in row}[
        "b.onnx"
    ] == "resident"
    status, shown, _ = vramlab("monitor", run, "--at", 0.1, "--json")
    assert [model["uses"] for model in json.loads(shown)["models"]] in ([2, 0], [3, 0])
    status, _, refused = vramlab("monitor", run / "journal.jsonl")
    assert (status, "--config and --models" in refused) == (2, True)


def test_the_live_view_ends_with_the_workload(vramlab, inputs):
    status, shown, _ = vramlab("monitor", *inputs, "--interval", "0.05", "--metrics-port", "0")
    assert status == 0
    assert "models" in shown


def test_a_killed_recordings_requests_become_a_trace(vramlab, tmp_path):
    journal = tmp_path / "journal.jsonl"
    journal.write_text(
        '{"time_s":0.5,"event":"arrival","task":0,"model":"a","detail":{"items":2}}\n'
        '{"time_s":0.75,"event":"done","task":0,"what":"HIT"}\n'
        '{"time_s":1.0,"event":"arrival","task":1,"model":"b"}\n'
        '{"time_s":1.25,"event":"do'
    )
    out = tmp_path / "trace.csv"
    status, shown, _ = vramlab("journal-trace", tmp_path, "--out", out, "--json")
    assert status == 0
    assert json.loads(shown)["requests"] == 2
    assert out.read_text().splitlines()[:2] == ["time_s,model,items", "0.5,a,2"]


def test_a_log_line_has_the_fields_and_the_exception():
    try:
        raise ValueError("no such luck")
    except ValueError:
        record = logging.LogRecord("vramlab.x", logging.ERROR, "", 0, "%s failed", ("a",), sys.exc_info())
    record.model = "a"
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"], line["model"]) == ("error", "a failed", "a")
    assert "no such luck" in line["exception"]
