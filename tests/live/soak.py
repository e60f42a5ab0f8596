"""A long run of real sessions with faults at random: are memory, threads and descriptors level?

``python -m tests.live.soak 1000000``: four threads ask for eight tiny models of which five fit. One load in
fifty and one run in five thousand fail, one request in a thousand names what is not there, the disk of the
journal is full now and then. Prints a line per tenth; exit status 1 if something grows.
"""

import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, save

from tests.live.instead import Instead
from tests.live.test_runtime import settings, spec
from vramlab.config.errors import InputError
from vramlab.engine.journal import Line
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.runtime import RequestFailed, RequestRefused
from vramlab.runs.lockstep import Follower
from vramlab.runs.totals import RunningTotals

THREADS, MODELS, TENTHS = 4, 8, 10
MOST_MB, MOST_THREADS, MOST_FILES = 60, 2, 2  # from the second tenth to the last


def a_model(path):
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 4])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "g", [value], [output])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


class Failing:
    """A backend and its sessions, of which some fail."""

    def __init__(self, backend):
        self._backend, self._rng = backend, random.Random(0)

    def open(self, model, target, size_bytes=None):
        if self._rng.random() < 0.02:
            raise self._rng.choice([OSError("disk"), MemoryError("host"), ValueError("graph")])
        session = self._backend.open(model, target, size_bytes)
        run, rng = session.run, self._rng

        def sometimes(inputs):
            if rng.random() < 0.0002:
                raise RuntimeError("kernel")
            return run(inputs)

        return Instead(session, sometimes)

    def __getattr__(self, name):
        return getattr(self._backend, name)


class Disk:
    def __init__(self, file):
        self._file, self._rng, self.close = file, random.Random(1), file.close

    def write(self, data):
        if self._rng.random() < 0.2:
            raise OSError(28, "No space left on device")
        return self._file.write(data[: self._rng.randint(1, len(data))])


def figures():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        threading.active_count(),
        len(os.listdir("/proc/self/fd")),
    )


def asking(runtime, number, requests, ended):
    rng = random.Random(number)
    inputs = {"input": np.ones((1, 4), np.float32)}
    for _ in range(requests):
        name = f"m{min(int(rng.expovariate(0.9)), MODELS - 1)}"
        key = str(rng.randrange(50)) if rng.random() < 0.1 else None
        try:
            if rng.random() < 0.001:
                name = "nobody"
            outcome = runtime.submit(name, inputs, input_key=key, requester=f"r{number}").outcome.name
        except (RequestFailed, RequestRefused, InputError) as error:
            outcome = type(error).__name__
        ended[number][outcome] += 1


def soak(requests, folder):
    inventory = {
        f"m{number}": spec(
            1, path=a_model(folder / f"m{number}.onnx"), cpu_fallback=["none", "cpu_standard"][number % 2]
        )
        for number in range(MODELS)
    }
    config = settings(5, "optimization.monitoring_interval=0.5", "serving.gpu_streams=2")
    journal = folder / "journal.jsonl"
    runtime = BlockingRuntime(config, inventory, "cpu-emulated", journal, keep_records=False)
    runtime.runtime.backend = Failing(runtime.runtime.backend)
    file = runtime.runtime.journal
    file._file = Disk(file._file)
    ended = [Counter() for _ in range(THREADS)]
    rows = []
    with runtime:
        for tenth in range(TENTHS):
            begin = time.perf_counter()
            callers = [
                threading.Thread(target=asking, args=(runtime, number, requests // TENTHS // THREADS, ended))
                for number in range(THREADS)
            ]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            rows.append((*figures(), time.perf_counter() - begin))
            memory, threads, files, took_s = rows[-1]
            print(
                f"tenth {tenth}: {memory:.0f} MB, {threads} threads, {files} files, {took_s:.1f} s",
                flush=True,
            )
        file._file._rng.random = lambda: 1.0  # the last lines find room
    total = sum(ended, Counter())
    print(f"{sum(total.values()):,} requests: {dict(total)}")
    grown = [last - second for last, second in zip(rows[-1][:3], rows[1][:3], strict=True)]
    print(f"from the second tenth to the last: {grown[0]:+.0f} MB, {grown[1]:+} threads, {grown[2]:+} files")
    follower = Follower(config, inventory, RunningTotals())
    with journal.open() as rows_of_it:  # a million requests are five million lines: one after the other
        for row in rows_of_it:
            follower.follow([Line(**json.loads(row))])
    print(f"journal: {follower.lines:,} lines, {follower.difference or 'all equal in lock-step'}")
    return (
        follower.difference is None
        and grown[0] <= MOST_MB
        and grown[1] <= MOST_THREADS
        and grown[2] <= MOST_FILES
    )


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="vramlab-soak-") as folder:
        level = soak(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, Path(folder))
    sys.exit(not level)
