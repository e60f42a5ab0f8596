"""The emulated device has cores of its own, where there are enough."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from tests.live.test_runtime import settings, spec
from vramlab.engine.effects import Target
from vramlab.live.backend import OnnxBackend
from vramlab.live.cores import Cores, keep_to, shared_out
from vramlab.live.inputs import make_inputs
from vramlab.live.onnx_sessions import Session
from vramlab.live.runtime import LiveRuntime
from vramlab.live.stand_ins import with_stand_ins

can_choose = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="threads cannot choose their cores here"
)


@can_choose
@pytest.mark.parametrize(
    ("cores", "streams", "expected"),
    [
        ({0}, 1, Cores()),
        ({0, 1}, 1, Cores(frozenset({1}), frozenset({0}))),
        ({0, 1}, 2, Cores()),
        ({2, 3, 8, 9}, 2, Cores(frozenset({8, 9}), frozenset({2, 3}))),
    ],
)
def test_the_last_cores_are_the_devices_and_at_least_one_is_the_hosts(monkeypatch, cores, streams, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    assert shared_out(streams) == expected


@can_choose
def test_where_choosing_is_forbidden_or_cores_go_away_all_run_anywhere(monkeypatch, caplog):
    keep_to(frozenset({10**4}))
    assert "a thread does not keep to cores [10000]" in caplog.text

    def forbidden(pid, cores):
        raise PermissionError("no")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert shared_out(1) == Cores()


def test_where_threads_cannot_choose_all_run_anywhere(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert shared_out(1) == Cores(None, None)
    keep_to(None)


@can_choose
@pytest.mark.skipif(shared_out(1) == Cores(), reason="no core can be had for the device")
def test_runs_on_the_device_and_all_else_keep_to_their_cores(tmp_path, monkeypatch):
    """One model fits; the other runs on the CPU, since the first is not to be evicted for it."""
    inventory = {"on gpu": spec(2, always_loaded=True, priority="critical"), "on cpu": spec(2)}
    inventory = with_stand_ins(inventory, tmp_path)
    config = settings(3, "serving.inline_run_ms=0", "serving.warm_up=false")
    mine, seen = os.sched_getaffinity(0), {}

    opened, ran = OnnxBackend.open, Session.run

    def opening(backend, model, target, *more):
        seen["load", target] = os.sched_getaffinity(0)
        return opened(backend, model, target, *more)

    def running(session, inputs):
        seen["run", session.name] = os.sched_getaffinity(0)
        return ran(session, inputs)

    monkeypatch.setattr(OnnxBackend, "open", opening)
    monkeypatch.setattr(Session, "run", running)

    async def main():
        async with LiveRuntime(config, inventory, "cpu-emulated") as runtime:
            for model, known in inventory.items():
                await runtime.infer(model, make_inputs(known.path, 1, np.random.default_rng(0)))
            return runtime.backend.cores, runtime.backend.describe()["device_cores"]

    cores, number = asyncio.run(main())
    assert number == 1
    assert len(cores.device) == 1
    assert cores.device | cores.host == mine
    gpu_file, cpu_file = (Path(known.path).name for known in inventory.values())
    assert seen == {
        ("load", Target.GPU): cores.host,
        ("run", gpu_file): cores.device,
        ("load", Target.CPU): cores.host,
        ("run", cpu_file): cores.host,
    }
    assert os.sched_getaffinity(0) == mine
