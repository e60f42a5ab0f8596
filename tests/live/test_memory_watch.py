"""Monitor and defragmentation with live sessions on the emulated device."""

import asyncio

import numpy as np
import pytest

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.live.inputs import make_inputs
from vramlab.live.runtime import LiveRuntime
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep

SIZES = {"gender-a.onnx": 2.0, "gender-b.onnx": 1.5, "gender-c.onnx": 1.5, "gender-d.onnx": 2.0}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    specs = {
        name: ModelSpec.model_validate({"priority": "medium", "vram_size_mb": size, "load_time_ms": 10})
        for name, size in SIZES.items()
    }
    return with_stand_ins(specs, tmp_path_factory.mktemp("stand-ins"))


def settings(*overrides):
    return load_config(
        None,
        [
            "total_memory_mb=10",
            "overhead={cuda_context_mb: 1, framework_mb: 0, buffer_mb: 1}",
            "zones={flexible: {size_mb: 8, max_models: null, min_retention_time: 0}}",
            "optimization.monitoring_interval=0.05",
            "optimization.pressure_available_mb=1",
            *overrides,
        ],
    )


async def use(runtime, *names):
    for name in names:
        await runtime.infer(name, make_inputs(runtime.inventory[name].path, 1, np.random.default_rng(0)))


async def until(condition):
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen within four seconds")


def actions(journal):
    return {line.what for line in journal if line.event == "action"}


def test_unused_models_leave(inventory, tmp_path):
    config = settings("optimization.unused_after_s=0.3", "optimization.optimization_threshold=0.6")
    path = tmp_path / "journal.jsonl"

    async def run():
        async with LiveRuntime(config, inventory, "cpu-emulated", path) as runtime:
            await use(runtime, *SIZES)  # 7 MB and 1 of overhead: 0.8 of 10
            await until(lambda: runtime.recorder.evictions)
            await use(runtime, *SIZES)
        return runtime.recorder.evictions

    evictions = asyncio.run(run())
    journal = read_journal(path)
    assert {eviction.reason for eviction in evictions} == {"unused"}
    assert evictions[0].model in ("gender-a.onnx", "gender-d.onnx")  # the largest
    assert lockstep(journal, config, inventory).differences == []
    assert "unload: unused" in actions(journal)


def test_pressure_is_met(inventory, tmp_path):
    config = settings("optimization.optimization_threshold=1")
    path = tmp_path / "journal.jsonl"

    async def run():
        async with LiveRuntime(config, inventory, "cpu-emulated", path) as runtime:
            device = runtime.backend.device
            await use(runtime, *SIZES)
            device.lose(4 * MIB)  # another program
            await until(lambda: "pressure" in {e.reason for e in runtime.recorder.evictions})
            await until(lambda: runtime.engine.allocator.device.committed <= 4 * MIB)
            # Promises fall when a model is chosen; the device's bytes come back when its unload has ended.
            await until(lambda: device.memory().available_bytes >= 1 * MIB)
            device.lose(-4 * MIB)
            await until(lambda: runtime.engine.allocator.device.cap == 8 * MIB)
            await use(runtime, *SIZES)

    asyncio.run(run())
    journal = read_journal(path)
    assert lockstep(journal, config, inventory).differences == []
    assert {"unload: pressure", "budget"} <= actions(journal)


def test_defragmentation_reloads_sessions_and_reports_the_memory(inventory, tmp_path):
    config = settings("placement=contiguous", "optimization.optimization_threshold=1")
    path = tmp_path / "journal.jsonl"

    async def run():
        async with LiveRuntime(config, inventory, "cpu-emulated", path) as runtime:
            await use(runtime, *SIZES)  # a 2, b 1.5, c 1.5, d 2, 1 free
            session = runtime.driver.sessions
            before = dict(session)
            await runtime.unload("gender-b.onnx")  # 1.5 free between a and c: fragmentation 0.4
            await until(lambda: sum(load.reason == "defragmentation" for load in runtime.recorder.loads) == 2)
            await asyncio.sleep(0.1)
            moved = {
                name for (name, device), made in session.items() if before.get((name, device)) is not made
            }
            await use(runtime, *moved)
        return runtime, moved

    runtime, moved = asyncio.run(run())
    journal = read_journal(path)
    assert moved == {"gender-c.onnx", "gender-d.onnx"}  # both one place down
    begun, done = (
        line.detail for line in journal if line.event == "action" and line.what.startswith("defragment")
    )
    assert begun["fragmentation"] == pytest.approx(0.4)
    assert done["fragmentation"] < 0.3
    assert done["moved"] == 2
    assert done["used_bytes"] == 6.5 * MIB
    assert begun["used_bytes"] in (6.5 * MIB, 8 * MIB)  # the device may still hold b as it closes
    assert runtime.records().loads[-1].reason == "defragmentation"
    assert lockstep(journal, config, inventory).differences == []
