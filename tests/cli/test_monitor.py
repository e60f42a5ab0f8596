"""``monitor`` and ``journal-trace``."""

import gzip
import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml

from vramlab.live.logs import JsonLines

RECORDED = Path(__file__).parents[2] / "traces" / "recorded_tight"


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
    first, last = (model["uses"] for model in json.loads(shown)["models"])
    assert (first > 0, last) == (True, 0)  # b is asked for later
    status, _, refused = vramlab("monitor", run / "journal.jsonl")
    assert (status, "--config and --models" in refused) == (2, True)


def test_monitor_and_memory_show_the_same_last_moment(vramlab):
    _, watched, _ = vramlab("monitor", RECORDED, "--json")
    status = json.loads(watched)
    _, shown, _ = vramlab("memory", RECORDED, "--json")
    there = {extent["model"] for extent in json.loads(shown)["extents"] if extent["model"]}
    assert there == {model["name"] for model in status["models"] if model["state"] != "absent"} != set()
    assert (status["ended"], status["silent_s"]) == (True, 0.0)
    assert json.loads(shown)["time_s"] <= status["time_s"]
    text = vramlab("monitor", RECORDED, "--at", "1e9")[1]
    assert f"{status['time_s']:.1f} s  ended" in text
    assert "ended" not in vramlab("monitor", RECORDED, "--at", "5")[1]
    for wrong in ("inf", "nan", "-1"):
        code, _, refused = vramlab("monitor", RECORDED, "--at", wrong)
        assert (code, refused.startswith(f"vramlab: --at: found {float(wrong)}, ")) == (2, True)


def test_a_run_that_was_killed_is_said_to_be_silent(vramlab, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(RECORDED, run)
    packed = run / "journal.jsonl.gz"
    (run / "journal.jsonl").write_bytes(gzip.decompress(packed.read_bytes())[:5000])
    packed.unlink()
    os.utime(run / "journal.jsonl", (0, time.time() - 3600))
    status, text, _ = vramlab("monitor", run, "--once")
    assert (status, " s  no journal line for 3,60" in text) == (0, True)


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--workload", "w.csv", "which is played elsewhere"),
        ("--device", "cuda", "which is played elsewhere"),
        ("--speed", "2", "which is played elsewhere"),
        ("--metrics-port", "0", "which is played elsewhere"),
        ("--log", "log.jsonl", "which is played elsewhere"),
        ("--config", "c.yaml", "whose folder says it"),
        ("--models", "m.yaml", "whose folder says it"),
        ("--set", "total_memory_mb=5", "whose folder says it"),
    ],
)
def test_what_means_nothing_for_a_run_elsewhere_is_refused(vramlab, option, value, why):
    status, _, refused = vramlab("monitor", RECORDED, option, value)
    assert (status, refused.count("\n")) == (2, 1)
    assert refused.startswith(f"vramlab: {option}: found ")
    assert refused.endswith(f"{why}\n")


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
