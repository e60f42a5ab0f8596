"""Preloading with real sessions on the emulated device, held to lock-step."""

import asyncio

import numpy as np

from tests.live.test_runtime import settings, spec
from vramlab.live.inputs import make_inputs
from vramlab.live.runtime import LiveRuntime
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep


def test_a_live_run_with_preloading_is_equal_in_lock_step(tmp_path):
    inventory = with_stand_ins({name: spec(2) for name in "abc"}, tmp_path)
    rng = np.random.default_rng(0)
    inputs = {name: make_inputs(one.path, 1, rng) for name, one in inventory.items()}
    config = settings(
        6,
        "optimization.predictor=ewma",
        "optimization.predictor_options={half_life_s: 5.0}",
        "optimization.preload_prediction_threshold=0.01",
        "optimization.preload_interval=0.05",
        "optimization.preload_horizon_s=10",
        "optimization.unpreload_after_s=0.3",
    )
    journal = tmp_path / "journal.jsonl"

    async def session():
        async with LiveRuntime(config, inventory, "cpu-emulated", journal) as runtime:
            for name in ("a", "b"):
                await runtime.infer(name, inputs[name])
            predicted = {model.name: model.predicted_use for model in runtime.status().models}
            assert 0 <= predicted["c"] < predicted["a"] <= 1
            assert await runtime.unload("a") == ""
            for _ in range(100):  # the loop brings it back
                await asyncio.sleep(0.02)
                if runtime.engine.allocator.models["a"].state.value == "resident":
                    break
            await runtime.infer("a", inputs["a"])
            await asyncio.sleep(0.6)  # the others are taken back
            return runtime.records()

    records = asyncio.run(session())
    fates = {(preload.model, preload.fate) for preload in records.preloads}
    assert ("a", "useful") in fates
    lines = read_journal(journal)
    report = lockstep(lines, config, inventory)
    assert report.differences == []
    assert [p[1:5] for p in report.records.preloads] == [p[1:5] for p in records.preloads]
