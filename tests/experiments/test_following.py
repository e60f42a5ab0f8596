"""A run that is followed by its journal stands where the runtime itself stands."""

import dataclasses
import gzip
import json
import os
import time

import numpy as np
import pytest

from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, write_config, write_inventory
from vramlab.config.schema import ModelSpec, ZoneConfig
from vramlab.experiments.following import Following, follow_run
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.inputs import make_inputs
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.journal_reading import read_journal

CONFIG = load_config().model_copy(
    update={"zones": {"flexible": ZoneConfig(size_mb=5, max_models=None, min_retention_time=0)}}
)


@pytest.fixture
def inventory(tmp_path):
    spec = ModelSpec(priority="medium", vram_size_mb=2, load_time_ms=10, zone="flexible")
    return with_stand_ins(dict.fromkeys(("a.onnx", "b.onnx", "c.onnx"), spec), tmp_path / "models")


def asked(runtime, inventory, names):
    for name in names:
        runtime.infer(name, make_inputs(inventory[name].path, 1, np.random.default_rng(0)))


def lasting(status):
    """All but what the clock and the device say."""
    models = [dataclasses.replace(model, last_used_s_ago=None, score=None) for model in status.models]
    memory = {"memory_used_bytes": 0, "memory_total_bytes": 0, "memory_others_bytes": None}
    return dataclasses.replace(status, time_s=0, device="", models=models, **memory)


def test_another_process_sees_what_the_runtime_sees(tmp_path, inventory):
    journal = tmp_path / "journal.jsonl"
    runtime = BlockingRuntime(CONFIG, inventory, "cpu-emulated", journal)
    with runtime:
        following = Following(journal, CONFIG, inventory)
        for names in (["a.onnx", "b.onnx", "a.onnx"], ["c.onnx"], ["b.onnx", "b.onnx"]):
            asked(runtime, inventory, names)
            runtime.runtime.journal.flush()
            seen, there = following.status(), runtime.status()
            assert lasting(seen) == lasting(there)
            assert seen.time_s == pytest.approx(there.time_s, abs=1)
        assert there.evictions == 2
        assert not following.closed
    last = following.status()
    assert following.closed
    assert lasting(last) == dataclasses.replace(lasting(there), under_way=0)  # the monitor's story has ended
    following.close()


def test_an_earlier_moment(tmp_path, inventory):
    journal = tmp_path / "journal.jsonl"
    with BlockingRuntime(CONFIG, inventory, "cpu-emulated", journal) as runtime:
        asked(runtime, inventory, ["a.onnx"])
        between_s = runtime.status().time_s
        asked(runtime, inventory, ["b.onnx", "c.onnx"])
    status = Following(journal, CONFIG, inventory, until_s=between_s).status()
    assert status.time_s == between_s
    assert [model.name for model in status.models if model.state != "absent"] == ["a.onnx"]
    assert status.memory_used_bytes == CONFIG.overhead.taken_bytes + inventory["a.onnx"].footprint_bytes


def test_a_line_that_is_still_being_written_waits(tmp_path, inventory):
    journal = tmp_path / "whole.jsonl"
    with BlockingRuntime(CONFIG, inventory, "cpu-emulated", journal) as runtime:
        asked(runtime, inventory, ["a.onnx"])
    data = journal.read_bytes()
    growing = tmp_path / "growing.jsonl"
    growing.write_bytes(b"")
    following = Following(growing, CONFIG, inventory)
    loads = set()
    for end in range(0, len(data), 7):  # cuts lines anywhere
        growing.write_bytes(data[:end])
        loads.add(following.status().loads)
    assert loads == {0, 1}


def test_settings_of_another_run_are_refused(tmp_path, inventory):
    journal = tmp_path / "journal.jsonl"
    with BlockingRuntime(CONFIG, inventory, "cpu-emulated", journal) as runtime:
        asked(runtime, inventory, ["a.onnx", "b.onnx", "c.onnx"])
    roomy = CONFIG.model_copy(
        update={"zones": {"flexible": ZoneConfig(size_mb=50, max_models=None, min_retention_time=0)}}
    )
    with pytest.raises(InputError, match=r"journal\.jsonl: line \d+: found decision"):
        Following(journal, roomy, inventory).status()


def test_a_folder_names_its_device(tmp_path, inventory):
    with BlockingRuntime(CONFIG, inventory, "cpu-emulated", tmp_path / "journal.jsonl") as runtime:
        asked(runtime, inventory, ["a.onnx"])
    with pytest.raises(InputError, match=r"environment\.json"):
        follow_run(tmp_path)
    write_config(CONFIG, tmp_path / "config.yaml")
    write_inventory(inventory, tmp_path / "models.yaml")
    (tmp_path / "environment.json").write_text(json.dumps({"device": "cpu-emulated", "ended": True}))
    status = follow_run(tmp_path).status()
    assert (status.device, status.loads) == ("cpu-emulated", 1)
    packed = gzip.compress((tmp_path / "journal.jsonl").read_bytes())
    (tmp_path / "journal.jsonl").unlink()
    with pytest.raises(InputError, match=r"no journal\.jsonl"):
        follow_run(tmp_path)
    (tmp_path / "journal.jsonl.gz").write_bytes(packed)
    assert follow_run(tmp_path).status().loads == 1
    (tmp_path / "journal.jsonl.gz").write_bytes(packed[:-9])
    assert follow_run(tmp_path).status().loads == 1  # all that matters is there
    (tmp_path / "journal.jsonl.gz").write_bytes(b"not packed")
    with pytest.raises(InputError, match="a journal that can be read"):
        follow_run(tmp_path)


def test_no_moment_beyond_the_journal(tmp_path, inventory):
    journal = tmp_path / "journal.jsonl"
    with BlockingRuntime(CONFIG, inventory, "cpu-emulated", journal) as runtime:
        asked(runtime, inventory, ["a.onnx"])
        during_s = runtime.status().time_s
    end = Following(journal, CONFIG, inventory)
    last_s = end.status().time_s
    assert during_s <= last_s <= read_journal(journal)[-1].time_s
    assert (end.ended, end.silent, end.silent_s) == (True, False, 0.0)
    late = Following(journal, CONFIG, inventory, until_s=1e9)
    assert (late.status().time_s, late.ended) == (last_s, True)
    early = Following(journal, CONFIG, inventory, until_s=during_s)
    assert (early.status().time_s, early.closed, early.ended) == (during_s, True, False)
    for wrong in (float("inf"), float("nan"), -1.0):
        with pytest.raises(InputError, match=f"^--at: found {wrong}, expected seconds since the start"):
            Following(journal, CONFIG, inventory, until_s=wrong)


def test_the_clock_of_a_killed_run_stands_still(tmp_path, inventory):
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    with BlockingRuntime(CONFIG, inventory, "cpu-emulated", whole) as runtime:
        asked(runtime, inventory, ["a.onnx"])
    lines = [line for line in whole.read_text().splitlines(keepends=True) if '"stop"' not in line]
    killed.write_text("".join(lines[:10]))
    last_s = read_journal(killed)[-1].time_s
    following = Following(killed, CONFIG, inventory)
    assert last_s <= following.status().time_s <= last_s + 5
    assert not following.silent
    os.utime(killed, (0, time.time() - 60))
    assert following.status().time_s == last_s + 10
    assert (following.silent, following.ended, following.closed) == (True, False, False)
    assert following.silent_s == pytest.approx(60, abs=5)
    assert Following(killed, CONFIG, inventory, until_s=last_s + 3).status().time_s == last_s + 3
    assert Following(killed, CONFIG, inventory, until_s=1e9).status().time_s == last_s + 10
