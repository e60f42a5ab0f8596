"""A journal on disk while the run goes on, and what is left of it when the process is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.test_runtime import settings, spec
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_inventory, write_config, write_inventory
from vramlab.engine.journal import read_journal
from vramlab.engine.lockstep import lockstep
from vramlab.engine.requests import Request
from vramlab.experiments.run_folder import journal_trace
from vramlab.live.journal_file import JournalFile
from vramlab.live.stand_ins import with_stand_ins

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
    journal.arrival(0.5, 0, Request("a"))
    journal.write(0.75, "done", 0, None, "HIT")
    journal.flush()
    assert len(journal) == 0
    journal.arrival(1.0, 1, Request("b"))
    journal.close()
    journal.close()
    assert [line.event for line in read_journal(tmp_path / "journal.jsonl")] == ["arrival", "done", "arrival"]


def test_an_old_journal_is_not_overwritten(tmp_path):
    (tmp_path / "journal.jsonl").write_text("precious")
    with pytest.raises(InputError, match="exists"):
        JournalFile(tmp_path / "journal.jsonl")


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
