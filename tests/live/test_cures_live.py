"""Failed runs and their cures with real sessions, in arenas that really run out; held to lock-step."""

import asyncio
from collections import Counter

import numpy as np
import pytest
from onnx import parser

import vramlab
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB, bytes_to_mib, mib_to_bytes
from vramlab.engine.effects import Target
from vramlab.engine.outcomes import Outcome
from vramlab.live.cpu_arena import CpuArenaDevice
from vramlab.live.footprints import footprint, measure_often
from vramlab.live.inputs import make_inputs
from vramlab.live.onnx_sessions import make_session
from vramlab.live.stand_ins import build_stand_ins
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep

NAMES = ("a.onnx", "b.onnx", "c.onnx", "d.onnx")


def spec(path, **more):
    values = {"vram_size_mb": 12, "load_time_ms": 1, "batch_size": 8, "splits": True, "cpu_fallback": "none"}
    return ModelSpec(priority="medium", stand_in_mb=12, path=str(path), **(values | more))


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    """Four models of 12 MB, with the workspace that batches of eight need."""
    plain = dict.fromkeys(NAMES, ModelSpec(priority="medium", vram_size_mb=12, load_time_ms=1))
    files = build_stand_ins(plain, tmp_path_factory.mktemp("models"))
    device = CpuArenaDevice(500 * MIB)
    true = footprint(measure_often("a.onnx", spec(files["a.onnx"]), device, Target.GPU))
    workspace_mb = bytes_to_mib(true.workspace_bytes)
    assert workspace_mb > 3  # 3.75 or 4.6, by the processor
    return {name: spec(path, workspace_mb=workspace_mb) for name, path in files.items()}


def settings(size_mb, *more):
    return vramlab.load_config(
        None,
        [
            f"total_memory_mb={size_mb}",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            f"zones={{flexible: {{size_mb: {size_mb}, max_models: null, min_retention_time: 0}}}}",
            "optimization.monitor=false",
            *more,
        ],
    )


def batch(spec, items):
    return {"input": make_inputs(spec.path, items, np.random.default_rng(items))["input"]}


def run(inventory, config, story, folder):
    """Let `story` use a runtime on the arena; the runtime, and its journal, which leads to the same again."""
    path = folder / "journal.jsonl"

    async def main():
        async with vramlab.LiveRuntime(config, inventory, "cpu-arena", path) as runtime:
            await story(runtime)
        return runtime

    runtime = asyncio.run(main())
    lines = read_journal(path)
    report = lockstep(lines, config, runtime.inventory)
    assert not report.differences, str(report.differences[0])
    assert runtime.backend.device.memory().process_bytes == 0
    return runtime, lines


def actions(lines):
    return [(line.what, line.model) for line in lines if line.event == "action"]


def test_requests_beyond_the_batch_size_shrink_then_reload_with_more_and_evict_nobody(tmp_path, inventory):
    whole = {name: one.model_copy(update={"splits": False}) for name, one in inventory.items()}
    answers = []

    async def story(runtime):
        for name in ("a.onnx", "b.onnx"):
            await runtime.infer(name, batch(whole[name], 1))
        answers.append(await runtime.infer("a.onnx", batch(whole["a.onnx"], 32)))
        answers.append(await runtime.infer("a.onnx", batch(whole["a.onnx"], 32)))

    runtime, lines = run(whole, settings(300), story, tmp_path)
    with make_session(whole["a.onnx"].path, whole["a.onnx"], None) as plain:
        expected = plain.run(batch(whole["a.onnx"], 32))
    for answer in answers:
        np.testing.assert_array_equal(answer[0], expected[0])
    done = actions(lines)
    assert done[:2] == [("shrink", "a.onnx"), ("grow", "a.onnx")]
    records = runtime.records()
    assert {load.reason for load in records.loads if load.model == "a.onnx"} == {"request", "larger limit"}
    assert all(e.reason in ("larger limit", "stop") for e in records.evictions)
    fails = [line for line in lines if line.event == "fail"]
    assert {line.why for line in fails} == {"own limit"}
    assert all(line.size_bytes > 0 for line in fails)


def test_a_full_device_evicts_exactly_what_is_lacking(tmp_path, inventory):
    size_mb = 4 * bytes_to_mib(inventory["a.onnx"].footprint_bytes) + 1

    async def story(runtime):
        for name in NAMES[:3]:
            await runtime.infer(name, batch(inventory[name], 1))
        runtime.backend.device.lose(mib_to_bytes(10))  # of room that the ledger still believes in
        await runtime.infer("d.onnx", batch(inventory["d.onnx"], 1))
        assert runtime.engine.allocator.device.cap <= mib_to_bytes(size_mb - 10)
        states = {name: runtime.engine.allocator.models[name].state.value for name in NAMES}
        assert Counter(states.values()) == {"resident": 3, "absent": 1}

    runtime, lines = run(inventory, settings(size_mb), story, tmp_path)
    victims = [e for e in runtime.records().evictions if e.reason != "stop"]
    assert len(victims) == 1
    assert [line.why for line in lines if line.event == "fail"] == ["out of memory"]
    assert runtime.records().outcomes.tolist().count(Outcome.COLD_START) == 4


def test_an_absurd_size_fails_its_request_and_nothing_else(tmp_path, inventory):
    path = tmp_path / "absurd.onnx"
    text = '<ir_version: 8, opset_import: ["": 17]> g (int64[1] n) => (float[m] y) { y = ConstantOfShape(n) }'
    path.write_bytes(parser.parse_model(text).SerializeToString())
    absurd = ModelSpec(
        priority="medium",
        vram_size_mb=1,
        workspace_mb=1,
        load_time_ms=1,
        path=str(path),
        inputs={"n": {"shape": [1], "range": [5, 5]}},
    )
    models = {"a.onnx": inventory["a.onnx"], "absurd": absurd}
    answers = []

    async def story(runtime):
        await runtime.infer("a.onnx", batch(models["a.onnx"], 1))
        for length in (7, 2**60, 7):
            answers.append(await runtime.submit("absurd", {"n": np.array([length], np.int64)}))

    runtime, lines = run(models, settings(100), story, tmp_path)
    assert [answer.outcome.name for answer in answers] == ["COLD_START", "FAILED", "HIT"]
    assert answers[1].why.startswith("nonsense size: ")
    assert actions(lines) == []
    assert not [e for e in runtime.records().evictions if e.reason != "stop"]


@pytest.mark.parametrize("workspace", ["own", "shared"])
def test_models_and_batches_in_every_order_under_measured_limits(tmp_path, inventory, workspace):
    rng = np.random.default_rng(3)
    config = settings(62, f"workspace={workspace}")
    understated = []

    async def story(runtime):
        device, allocator = runtime.backend.device, runtime.engine.allocator
        for _ in range(150):
            name = NAMES[rng.integers(4)]
            answer = await runtime.submit(name, batch(inventory[name], int(rng.integers(1, 9))))
            assert answer.outcome in (Outcome.HIT, Outcome.COLD_START)
            ledger = allocator.device.held + allocator.shared_bytes
            understated.append(device.memory().used_bytes / ledger - 1)

    runtime, lines = run(inventory, config, story, tmp_path)
    assert max(understated) <= 0.02
    assert not [line for line in lines if line.event == "fail"]
    evicted = [e for e in runtime.records().evictions if e.reason != "stop"]
    assert bool(evicted) == (workspace == "own")  # in the same memory all four fit if they share
