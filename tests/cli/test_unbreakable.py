"""The command line where the system fails it, or names look like something else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from vramlab.cli import output
from vramlab.cli.app import run

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")


def called(*arguments, out=subprocess.PIPE, code="from vramlab.cli import main; main()"):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_a_standard_output_that_is_full_is_one_line(json):
    with FULL.open("w") as full:
        done = called("describe", "traces/live_workload.csv", *json, out=full)
    assert done.returncode == 2
    assert done.stderr == "vramlab: standard output: no space left on device\n"


def test_a_reader_that_has_enough_is_told_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = called("describe", "traces/live_workload.csv", "--json", out=out)
    assert (done.returncode in (1, 2), done.stderr) == (True, "")  # typer has its own word for it


INTERRUPTED = """
import sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "vramlab.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from vramlab.cli import main
main()
"""


def test_an_interrupt_while_modules_are_imported_is_one_line():
    done = called(code=INTERRUPTED)
    assert (done.returncode, done.stderr) == (130, "vramlab: interrupted\n")


@pytest.mark.parametrize("name", ["[/b]", "[red]", ":cat:", "[bold]x[/bold]", "[link=x]", "a[0]"])
def test_names_are_shown_as_they_are(name, capsys):
    output.print_table(name, [name, "b"], [(name, name)], Console(width=200))
    assert capsys.readouterr().out.count(name) == 4


@pytest.mark.parametrize("policy", ["..:x", ".:x", ":x", "a:", "os.path:no", "tests.cli.raises_at_import:x"])
def test_a_policy_that_cannot_be_named_is_one_line(policy, capsys):
    assert run(["replay", str(ROOT / "traces/live_workload.csv"), "--policy", policy]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "scoring.policy" in said


def test_a_disk_that_is_full_while_results_are_written_is_one_line(tmp_path, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "out.parquet"
    status = run(
        [
            "sweep", str(ROOT / "traces/live_workload.csv"),
            "--models", str(ROOT / "config/model_config.yaml"),
            "--config", str(ROOT / "config/scenarios/tight.yaml"),
            "--policies", "lru", "--jobs", "1", "--out", str(out),
        ]
    )  # fmt: skip
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_more_items_than_memory_has_room_for_are_refused_before_a_recording(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path / "cache"))
    small = "{priority: medium, vram_size_mb: 1.3, load_time_ms: 1}"
    (tmp_path / "m.yaml").write_text(f"models: {{g: {{genderage.onnx: {small}}}}}")
    (tmp_path / "t.csv").write_text("time_s,model,items\n0,genderage.onnx,9007199254740992\n")
    command = ["record", "--workload", str(tmp_path / "t.csv"), "--out", str(tmp_path / "run")]
    command += ["--models", str(tmp_path / "m.yaml"), "--device", "cpu-emulated"]
    command += ["--config", str(ROOT / "config/scenarios/plain.yaml")]
    assert run(command) == 2
    said = capsys.readouterr().err
    assert "items of genderage.onnx: found 9007199254740992, expected inputs of a few GB at most" in said
    assert not (tmp_path / "run").exists()
