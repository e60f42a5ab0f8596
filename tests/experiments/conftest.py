"""A cluster of real processes, for the tests that need one."""

import os
import subprocess
import sys

import pytest

from tests.experiments.studying import ROOT


@pytest.fixture
def cluster():
    """A Dask scheduler and two worker processes: (address, workers)."""
    pytest.importorskip("distributed")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        started.append(process)
        return process

    scheduler = start("dask_scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
    address = next(
        "tcp://" + line.rsplit("tcp://", 1)[1].strip() for line in scheduler.stderr if "Scheduler at:" in line
    )
    workers = [
        start(
            "dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"
        )
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert any("Registered to" in line for line in worker.stderr), "the worker did not start"
        yield address, workers
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stderr.close()
