"""``vramlab record`` killed in the middle: what it leaves is a run that can be verified."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from vramlab.experiments.verification import verify

COMMAND = "import sys; from vramlab.cli.app import run; sys.exit(run(sys.argv[1:]))"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_killed_recording_verifies(tmp_path):
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
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()

    assert not (run / "trace.csv").exists()
    environment = json.loads((run / "environment.json").read_text())
    assert environment["backend"] == "cpu-emulated"
    assert environment["ended"] is False
    found = verify(run)
    assert found.lockstep.decisions > 50
    assert not found.lockstep.differences
    assert found.live["requests"] == found.simulated["requests"] == len(found.run.trace)

    shown = subprocess.run(
        [sys.executable, "-c", COMMAND, "verify", run],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "the recording was cut off" in shown
    assert "are equal" in shown
