"""``vramlab memory`` and ``vramlab replay --memory-map``."""

import json
from pathlib import Path

from vramlab.cli.app import run

ROOT = Path(__file__).parents[2]
RECORDED = str(ROOT / "traces/recorded_tight")
PNG = b"\x89PNG"


def test_the_memory_of_a_recorded_run(capsys, tmp_path):
    picture = tmp_path / "map.png"
    assert run(["memory", RECORDED, "--at", "5", "--plot", str(picture), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["time_s"] <= 5
    for zone, values in document["zones"].items():
        there = [extent for extent in document["extents"] if extent["zone"] == zone]
        end = 0
        for extent in there:
            assert extent["offset_bytes"] == end
            end += extent["size_bytes"]
        assert end == values["used_bytes"] + values["free_bytes"]
        assert sum(e["size_bytes"] for e in there if e["model"] is None) == values["free_bytes"]
        assert 0 <= values["fragmentation"] < 1
    assert picture.read_bytes().startswith(PNG)


def test_a_table_without_json(capsys):
    assert run(["memory", RECORDED]) == 0
    assert "largest hole" in capsys.readouterr().out


def test_a_time_before_the_run_is_refused(capsys):
    assert run(["memory", RECORDED, "--at", "-1"]) == 2
    assert "--at" in capsys.readouterr().err


def test_the_map_of_a_replay(capsys, tmp_path):
    picture = tmp_path / "map.png"
    trace, config = str(ROOT / "traces/live_workload.csv"), str(ROOT / "config/scenarios/tight.yaml")
    given = ["replay", trace, "--config", config, "--set", "placement=contiguous", "--json"]
    assert run([*given, "--memory-map", str(picture)]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 743
    assert picture.read_bytes().startswith(PNG)
    assert run([*given, "--memory-map", str(picture), "--mode", "decide"]) == 2
    assert "--memory-map" in capsys.readouterr().err
