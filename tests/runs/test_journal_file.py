"""A journal on disk while the run goes on, and what is left of it when the process is killed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.test_runtime import settings, spec
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_inventory, write_config, write_inventory
from vramlab.engine.requests import Request
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.journal_writing import JournalFile
from vramlab.runs.lockstep import lockstep
from vramlab.runs.run_folder import journal_trace

# Serves one request after the other, and says on standard output when each was answered.
RECORDING = """
import asyncio, sys, time
import numpy as np
from vramlab.config.loading import load_config, load_inventory
from vramlab.live.runtime import LiveRuntime
from vramlab.live.inputs import make_inputs

config, inventory = load_config(sys.argv[1]), load_inventory(sys.argv[2])

async def main():
    rng = np.random.default_rng(0)
    inputs = {name: make_inputs(spec.path, 1, rng) for name, spec in inventory.items()}
    async with LiveRuntime(config, inventory, "cpu-emulated", sys.argv[3]) as runtime:
        while True:
            for name in inventory:
                await runtime.infer(name, inputs[name])
                print(time.time(), flush=True)

asyncio.run(main())
"""


def test_lines_go_to_the_file_and_out_of_memory(tmp_path):
    journal = JournalFile(tmp_path / "journal.jsonl")
    journal.put(0.5, 0, Request("a"), None)
    journal.write(0.75, "done", 0, None, "HIT")
    journal.flush()
    assert len(journal) == 0
    journal.put(1.0, 1, Request("b"), None)
    journal.close()
    journal.close()
    assert [line.event for line in read_journal(tmp_path / "journal.jsonl")] == ["arrival", "done", "arrival"]


def test_an_old_journal_is_not_overwritten(tmp_path):
    (tmp_path / "journal.jsonl").write_text("precious")
    with pytest.raises(InputError, match="exists"):
        JournalFile(tmp_path / "journal.jsonl")


def test_a_second_start_goes_on_under_a_number(tmp_path, caplog):
    first = JournalFile(tmp_path / "journal.jsonl", numbered=True)
    second = JournalFile(tmp_path / "journal.jsonl", numbered=True)
    third = JournalFile(tmp_path / "journal.jsonl", numbered=True)
    assert [file.path.name for file in (first, second, third)] == [
        "journal.jsonl", "journal.2.jsonl", "journal.3.jsonl"
    ]  # fmt: skip
    assert "this run's journal is" in caplog.text
    for file in (first, second, third):
        file.close()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="exists"):
        JournalFile(tmp_path / "folder", numbered=True)
    with pytest.raises(InputError, match="a new file"):
        JournalFile(tmp_path / ("n" * 300), numbered=True)


class Disk:
    """A file on a disk that takes so many bytes of what comes next, and then none; None is all."""

    def __init__(self, *takes):
        self.takes, self.there = list(takes), b""

    def write(self, data):
        take = self.takes.pop(0) if self.takes else None
        if take == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.there += data[:take]
        return len(data[:take])

    def close(self):
        pass


def full_journal(tmp_path, *takes):
    told = []
    file = JournalFile(tmp_path / "journal.jsonl", on_trouble=lambda: told.append(file.trouble))
    file._file.close()
    file._file = Disk(*takes)
    return file, told


@given(st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=40))
def test_a_disk_that_is_full_at_any_write_loses_no_line_and_breaks_none(tmp_path_factory, takes):
    file, _ = full_journal(tmp_path_factory.mktemp("full"), *takes)
    for number in range(20):
        file.put(float(number), number, Request("a"), None)
        file.flush()
        whole = file._file.there.rpartition(b"\n")[0]
        assert [json.loads(row)["task"] for row in whole.splitlines()] == list(range(whole.count(b"}")))
        assert bool(file.waiting_bytes) == bool(file.trouble)
    file._file.takes.clear()
    file.close()
    assert [json.loads(row)["task"] for row in file._file.there.splitlines()] == list(range(20))


def test_a_full_disk_is_told_once_when_it_begins_and_when_it_ends(tmp_path, caplog):
    caplog.set_level("WARNING")
    file, told = full_journal(tmp_path, None, 0, 0, 7, 0, None)
    for number in range(6):
        file.put(float(number), number, Request("a"), None)
        file.flush()
    assert told == ["no space left on device"]
    assert [record.message.partition(": ")[2][:20] for record in caplog.records] == [
        "cannot be written (n", "can be written again"
    ]  # fmt: skip
    file._file.takes = [0, 0]
    file.put(9.0, 9, Request("a"), None)
    with pytest.raises(InputError, match="no space left on device, and 1 lines that are lost"):
        file.close()
    file.close()


def test_the_writer_survives_whoever_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("vramlab.runs.journal_writing._FLUSH_EVERY_S", 0.01)
    file, _ = full_journal(tmp_path, 0)
    file.on_trouble = lambda: 1 / 0
    file.start()
    file.put(1.0, 1, Request("a"), None)
    while not file._file.there:
        time.sleep(0.01)
    file.close()


def test_a_log_rotation_by_copy_and_truncate_leaves_no_hole(tmp_path):
    file = JournalFile(tmp_path / "journal.jsonl")
    file.put(1.0, 1, Request("a"), None)
    file.flush()
    os.truncate(tmp_path / "journal.jsonl", 0)
    file.put(2.0, 2, Request("a"), None)
    file.close()
    assert [line.task for line in read_journal(tmp_path / "journal.jsonl")] == [2]


def test_a_killed_process_leaves_a_journal_that_lost_at_most_the_last_second(tmp_path):
    inventory = with_stand_ins({"a": spec(2), "b": spec(2)}, tmp_path / "stand-ins")
    config, models, path = tmp_path / "config.yaml", tmp_path / "models.yaml", tmp_path / "journal.jsonl"
    write_config(settings(3), config)
    write_inventory(inventory, models)
    process = subprocess.Popen(
        [sys.executable, "-c", RECORDING, config, models, path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    answered = []
    begin = None
    while begin is None or time.monotonic() - begin < 2.0:
        answered.append(float(process.stdout.readline()))
        begin = begin or time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    killed = time.time()
    answered += [float(row) for row in process.stdout.read().splitlines()]
    process.wait()

    lines = read_journal(path)
    done = sum(line.event == "done" for line in lines)
    assert done > 0
    lost = answered[done:]
    assert all(time_s > killed - 1.0 for time_s in lost), f"{len(lost)} of {len(answered)} answers are lost"
    # what is left can be verified, and replayed
    report = lockstep(lines, load_config(config), load_inventory(models))
    assert not report.differences
    assert len(journal_trace(lines)) >= done
