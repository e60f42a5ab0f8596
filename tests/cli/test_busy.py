"""``record`` on a busy machine: it says so, offers to record again, and does if it is told to."""

import json
import shlex
import time

import pytest
import typer
import yaml

from vramlab.cli import busy
from vramlab.cli.busy import Again
from vramlab.live import machine_load

POOL = "config/scenarios/one_pool.yaml"


@pytest.fixture
def others(monkeypatch):
    """Other programs that keep so many cores busy, of two."""
    state = {"cores": 0.75}
    monkeypatch.setattr(machine_load, "_busy_s", lambda: state["cores"] * time.perf_counter())
    monkeypatch.setattr(machine_load.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(busy, "CALM_S", 0.0)
    monkeypatch.setattr(machine_load.time, "sleep", lambda seconds: None)
    return state


@pytest.fixture
def command(tmp_path, monkeypatch):
    """``record`` of a second with one model, into the folder ``run``."""
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path / "cache"))
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": {"group": {"a.onnx": spec}}}))
    rows = [f"{0.05 * number:.2f},a.onnx" for number in range(12)]
    (tmp_path / "t.csv").write_text("time_s,model\n" + "\n".join(rows) + "\n")
    files = ["--workload", tmp_path / "t.csv", "--models", tmp_path / "models.yaml", "--config", POOL]
    return ["record", *files, "--device", "cpu-emulated", "--out", tmp_path / "run"]


def test_a_busy_recording_is_offered_again_in_one_line_that_runs(vramlab, command, others, tmp_path):
    status, _, err = vramlab(*command)
    assert status == 0
    [line] = [line for line in err.splitlines() if "When it is idle" in line]
    assert "other programs kept 0.7" in line or "other programs kept 0.8" in line
    assert "of 2 cores busy while this was recorded: its times are longer for that" in line
    offered = shlex.split(line.partition("When it is idle: ")[2])
    assert offered[0] == "vramlab"
    assert offered[-2:] == ["--retry-busy", "2"]
    others["cores"] = 0.0
    status, _, err = vramlab(*offered[1:])
    assert status == 0
    assert "other programs" not in err
    assert (tmp_path / "run2" / "trace.csv").exists()

    _, said, _ = vramlab("verify", tmp_path / "run")
    assert "busy while this was recorded: live times are longer for that" in said
    _, said, _ = vramlab("verify", tmp_path / "run2")
    assert "other programs" not in said


def test_it_records_again_as_often_as_it_is_told(vramlab, command, others, tmp_path):
    status, out, err = vramlab(*command, "--retry-busy", "2", "--json")
    assert status == 0
    assert err.count("recording again") == 2
    assert err.count("other programs are still busy") == 2
    assert "When it is idle: vramlab record" in err
    assert json.loads(out)["other_cores"] == pytest.approx(0.75, rel=0.1)
    assert {path.name for path in tmp_path.glob("run*")} == {"run"}


@pytest.mark.parametrize(("answer", "runs"), [(True, 2), (False, 1)])
def test_a_terminal_is_asked(vramlab, command, others, tmp_path, monkeypatch, answer, runs):
    asked = []

    def confirm(text, default, err):
        asked.append(text)
        assert default is False
        assert (tmp_path / "run" / "trace.csv").exists()  # what it is about is safe
        others["cores"] = 0.0
        return answer

    monkeypatch.setattr(typer, "confirm", confirm)
    for stream in (busy.sys.stdin, busy.sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    status, _, err = vramlab(*command)
    assert status == 0
    assert len(asked) == 1
    assert asked[0].endswith("busy while this was recorded: record again?")
    assert ("its times are longer" in err) == (runs == 1)
    cores = json.loads((tmp_path / "run" / "environment.json").read_text())["other_cores"]
    assert cores == pytest.approx(0.75 if runs == 1 else 0.0, rel=0.1)


def test_the_folder_that_one_is_in_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not Again(3, tmp_path)("other programs were busy")


def test_a_busy_profile_makes_simulated_times_longer(vramlab, command, others, tmp_path):
    profiled = tmp_path / "profiled.yaml"
    effort = ["--device", "cpu-emulated", "--loads", "1", "--runs", "1", "--limit", "0.5"]
    status, said, _ = vramlab("profile", "--models", tmp_path / "models.yaml", "--out", profiled, *effort)
    assert status == 0
    assert "look at other programs kept up to 0." in said
    assert "their times are too long, and simulated times will be" in said
    assert "# DISTURBED: other programs" in profiled.read_text()
    others["cores"] = 0.0
    assert vramlab(*command, "--models", profiled)[0] == 0
    _, said, _ = vramlab("verify", tmp_path / "run", "--service-times", "contended")
    assert "busy while this was profiled: simulated times are longer for that" in said
    _, said, _ = vramlab("verify", tmp_path / "run", "--service-times", "spec")
    assert "profiled:" not in said
    others["cores"] = 0.75
    assert vramlab(*command, "--out", tmp_path / "busy")[0] == 0
    _, said, _ = vramlab("profile", "--from-run", tmp_path / "busy", "--out", tmp_path / "observed.yaml")
    assert "look at all times, which are too long: other programs kept" in said
