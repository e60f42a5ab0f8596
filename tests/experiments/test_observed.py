"""A profile from what a run's journal has seen."""

import pytest

from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.config.units import MIB
from vramlab.engine.journal import Line
from vramlab.experiments.observed import observed_profile
from vramlab.runs.run_folder import RunFolder, journal_trace


def line(time_s, event, task, what, duration_s=None, size_bytes=None, model="m"):
    return Line(time_s, event, task, model, what, None, size_bytes, duration_s)


def run_of(lines):
    spec = ModelSpec(priority="medium", vram_size_mb=10, workspace_mb=2, load_time_ms=1, inference_ms=1)
    environment = {"cpu_count": 4, "device": "cuda:0", "seed": 3}
    return RunFolder(None, VramConfig(), {"m": spec, "idle": spec}, lines, journal_trace(lines), environment)


def test_times_and_sizes_as_they_were_seen():
    lines = [
        Line(0.0, "arrival", 0, "m"),
        line(0.1, "end", 0, "load on gpu", 0.1, 15 * MIB),
        line(0.2, "end", 0, "infer on gpu", 0.020),
        Line(1.0, "arrival", 1, "m", detail={"items": 4}),
        line(1.1, "end", 1, "infer on gpu", 0.060),
        line(1.2, "fail", 1, "load on gpu", 9.0),
        line(1.3, "end", 1, "load on gpu", 0.3, 14 * MIB),
        line(1.4, "end", 1, "unload", 0.002),
        line(1.5, "end", 1, "infer on cpu", 0.200),
        line(1.5, "end", "monitor", "readmemory", 5.0, model=None),
    ]
    inventory, frame, notes = observed_profile(run_of(lines))
    spec = inventory["m"]
    assert (spec.load_time_ms, spec.inference_ms) == (200.0, 20.0)
    assert spec.cpu_inference_ms == 50.0  # four items took 200 ms
    assert spec.footprint_bytes == 15 * MIB
    assert spec.workspace_mb == 2
    assert notes == ["m: took 15.0 MB, 12.0 MB were reserved"]
    assert inventory["idle"].load_time_ms == 1
    assert frame.attrs == {"cpu_count": 4, "device": "cuda:0"}
    assert frame[frame.what == "infer"]["items"].tolist() == [1, 4, 4]
    assert "readmemory" not in set(frame.what)


def test_footprints_do_not_shrink():
    lines = [Line(0.0, "arrival", 0, "m"), line(0.1, "end", 0, "load on gpu", 0.1, 3 * MIB)]
    inventory, _, notes = observed_profile(run_of(lines))
    assert inventory["m"].vram_size_mb == 10
    assert notes == []
    assert inventory["m"].load_time_ms == pytest.approx(100)
