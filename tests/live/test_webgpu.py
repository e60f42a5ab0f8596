"""The device by way of WebGPU: a provider that is not the CPU's, behind the same protocol."""

import asyncio

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import vramlab
from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec
from vramlab.engine.outcomes import Outcome
from vramlab.live.devices import choose_device
from vramlab.live.onnx_sessions import make_session
from vramlab.live.webgpu import PROVIDER
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep

HERE = PROVIDER in onnxruntime.get_available_providers()
NAMES = ("a", "b", "c")
MB = 2**20


@pytest.mark.skipif(HERE, reason="the provider is here")
def test_without_the_provider_one_line_says_what_to_install():
    with pytest.raises(InputError, match="expected the package onnxruntime-webgpu") as caught:
        choose_device("webgpu", budget_bytes=1)
    assert "\n" not in str(caught.value)


needs_webgpu = pytest.mark.skipif(not HERE, reason="needs onnxruntime-webgpu: make webgpu")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    """Three tiny convolutions, each of which fills a third of the card by what the inventory says."""
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    models = {}
    for name in NAMES:
        kernel = numpy_helper.from_array(rng.standard_normal((4, 3, 3, 3), dtype=np.float32), "kernel")
        nodes = [helper.make_node("Conv", ["x", "kernel"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 6, 6])
        graph = helper.make_graph(nodes, name, [x], [y], [kernel])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = folder / f"{name}.onnx"
        path.write_bytes(made.SerializeToString())
        models[name] = ModelSpec(priority="medium", vram_size_mb=2, load_time_ms=1, path=str(path))
    return models


IMAGES = {"x": np.random.default_rng(1).standard_normal((2, 3, 8, 8), dtype=np.float32)}


@needs_webgpu
def test_answers_are_the_cpus_to_5e_6_and_all_nodes_are_on_the_device(inventory):
    device = choose_device("webgpu", budget_bytes=4 * MB)
    with make_session(inventory["a"].path, inventory["a"], None) as plain:
        expected = plain.run(IMAGES)
    with make_session(inventory["a"].path, inventory["a"], device) as session:
        np.testing.assert_allclose(session.run(IMAGES)[0], expected[0], atol=5e-6)
        assert session.cpu_nodes in ([], None)
        assert device.memory().used_bytes == 2 * MB
    assert device.memory().used_bytes == 0


@needs_webgpu
def test_load_run_evict_reload_fall_back_and_lock_step(tmp_path, inventory):
    zones = "zones={flexible: {size_mb: 4, max_models: null, min_retention_time: 0}}"
    none = "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}"
    config = vramlab.load_config(None, ["total_memory_mb=4", none, zones, "optimization.monitor=false"])
    models = inventory | {"large": inventory["a"].model_copy(update={"vram_size_mb": 5})}
    answers = {}

    async def main():
        path = tmp_path / "journal.jsonl"
        async with vramlab.LiveRuntime(config, models, "webgpu", path) as runtime:
            for name in ("a", "b", "c", "a", "large"):
                answer = await runtime.submit(name, IMAGES)
                answers.setdefault(name, []).append((answer.outcome, answer.outputs))
        return runtime

    runtime = asyncio.run(main())
    assert [outcome for outcome, _ in answers["a"]] == [Outcome.COLD_START] * 2
    assert answers["large"][0][0] is Outcome.FALLBACK
    for _, outputs in answers["a"]:
        np.testing.assert_allclose(outputs[0], answers["large"][0][1][0], atol=5e-6)
    evicted = [e.model for e in runtime.records().evictions if e.reason == "eviction"]
    assert evicted == ["a", "b"]
    report = lockstep(read_journal(tmp_path / "journal.jsonl"), config, runtime.inventory)
    assert not report.differences
    assert report.decisions >= 5
