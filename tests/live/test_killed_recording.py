"""``vramlab record`` killed or interrupted midway: what it leaves is a run that can be verified."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from tests.live.test_runtime import settings, spec
from vramlab.cli.live import answered
from vramlab.config.errors import InputError
from vramlab.engine.journal import Line
from vramlab.experiments.verification import verify
from vramlab.live.recording import Recording, record
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs import journal_writing
from vramlab.traces.trace import Trace

# Ctrl+C is ignored by what a shell script has started in the background, as these tests may be
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from vramlab.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_killed_or_interrupted_recording_verifies(tmp_path, how):
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
    models, workload, run = tmp_path / "models.yaml", tmp_path / "workload.csv", tmp_path / "run"
    models.write_text(yaml.safe_dump({"models": {"group": {"a.onnx": spec, "b.onnx": spec}}}))
    rows = [f"{0.01 * number},{'ab'[number // 5 % 2]}.onnx" for number in range(6000)]  # a minute
    workload.write_text("time_s,model\n" + "\n".join(rows) + "\n")
    zone = "zones={flexible: {size_mb: 3, max_models: null, min_retention_time: 0}}"
    process = subprocess.Popen(
        [
            sys.executable, "-c", COMMAND, "record", "--models", models, "--workload", workload, "--out", run,
            "--device", "cpu-emulated", "--set", "total_memory_mb=3", "--set", zone,
            "--set", "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
        ],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    journal = run / "journal.jsonl"
    until_s = time.monotonic() + 60
    while not journal.exists() or journal.stat().st_size < 50_000:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until_s
        time.sleep(0.05)
    process.send_signal(getattr(signal, how))
    _, err = process.communicate()

    assert not (run / "trace.csv").exists()
    environment = json.loads((run / "environment.json").read_text())
    assert environment["backend"] == "cpu-emulated"
    assert environment["ended"] is False
    found = verify(run)
    assert found.lockstep.decisions > 50
    assert not found.lockstep.differences
    requests = len(found.run.trace)
    assert found.split.problem or found.live["requests"] == found.simulated["requests"] < requests
    if how == "SIGINT":
        assert process.returncode == 130
        assert err == f"{requests:,} requests are in {run}: vramlab verify {run}\nvramlab: interrupted\n"

    shown = subprocess.run(
        [sys.executable, "-c", COMMAND, "verify", run],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "the recording was cut off" in shown
    assert "are equal" in shown


def test_a_recording_cut_off_with_nothing_under_way_has_no_request_without_an_answer():
    come, done = Line(0.0, "arrival", 0, "m"), Line(1.0, "done", 0)
    assert answered([come, done]) == "all 1 requests that had come are answered"
    assert answered([come, come, done]) == "1 of 2 requests have no answer"


def test_a_recording_whose_disk_is_full_ends_at_once(tmp_path, monkeypatch):
    """Not at its end, a minute later."""
    inventory = with_stand_ins({"a": spec(2)}, tmp_path / "stand-ins")
    created = journal_writing._created

    def full(path, numbered):
        place, file = created(path, numbered)
        file.close()

        def write(data):
            raise OSError(28, "No space left on device")

        return place, SimpleNamespace(write=write, close=lambda: None)

    monkeypatch.setattr(journal_writing, "_created", full)
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 60.0], "model": ["a", "a"]}))
    begin = time.monotonic()
    with pytest.raises(InputError, match="no space left on device, expected a disk with room"):
        record(Recording(trace, settings(3), inventory, "cpu-emulated"), tmp_path / "journal.jsonl")
    assert time.monotonic() - begin < 30


def test_two_recordings_do_not_share_a_journal(tmp_path):
    inventory = with_stand_ins({"a": spec(2)}, tmp_path / "stand-ins")
    (tmp_path / "journal.jsonl").write_text("of another one")
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0], "model": ["a"]}))
    with pytest.raises(InputError, match="a journal of another recording"):
        record(Recording(trace, settings(3), inventory, "cpu-emulated"), tmp_path / "journal.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl", "stand-ins"]
