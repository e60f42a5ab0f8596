"""What the engine, the allocator and the driver add to a hit over a bare ``session.run`` of its model."""

import asyncio
import time

import numpy as np
import pytest

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.effects import Target
from vramlab.live.runtime import LiveRuntime
from vramlab.live.sessions import make_inputs
from vramlab.live.stand_ins import with_stand_ins

ROUNDS, PER_ROUND = 30, 100


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(event loop, open runtime, inputs) with one small resident model."""
    spec = ModelSpec(priority="medium", vram_size_mb=2, load_time_ms=10)
    inventory = with_stand_ins({"small.onnx": spec}, tmp_path_factory.mktemp("stand-ins"))
    loop = asyncio.new_event_loop()
    runtime = LiveRuntime(load_config(), inventory, "cpu-emulated")
    loop.run_until_complete(runtime.__aenter__())
    inputs = make_inputs(inventory["small.onnx"].path, 1, np.random.default_rng(0))
    loop.run_until_complete(runtime.infer("small.onnx", inputs))
    yield loop, runtime, inputs
    loop.run_until_complete(runtime.__aexit__(None, None, None))
    loop.close()


@pytest.mark.benchmark(group="a hit, one caller")
def test_bare_session_run(benchmark, served):
    _, runtime, inputs = served
    session = runtime.driver.sessions["small.onnx", Target.GPU]
    benchmark.pedantic(lambda: session.run(inputs), rounds=ROUNDS, iterations=PER_ROUND, warmup_rounds=2)


@pytest.mark.benchmark(group="a hit, one caller")
def test_live_runtime(benchmark, served):
    loop, runtime, inputs = served

    async def some():
        for _ in range(PER_ROUND):
            await runtime.infer("small.onnx", inputs)

    benchmark.pedantic(lambda: loop.run_until_complete(some()), rounds=ROUNDS, warmup_rounds=2)
    benchmark.extra_info["requests per round"] = PER_ROUND


def test_overhead_of_a_hit(benchmark, served):
    """The difference itself, alternating both within one run: median and 99th percentile in `extra_info`."""
    loop, runtime, inputs = served
    session = runtime.driver.sessions["small.onnx", Target.GPU]

    async def alternate():
        bare, live = [], []
        for _ in range(2000):
            begin = time.perf_counter()
            session.run(inputs)
            middle = time.perf_counter()
            await runtime.infer("small.onnx", inputs)
            live.append(time.perf_counter() - middle)
            bare.append(middle - begin)
        return np.array(bare), np.array(live)

    bare, live = benchmark.pedantic(lambda: loop.run_until_complete(alternate()), rounds=1)
    added_us = 1e6 * (live - np.median(bare))
    benchmark.extra_info["bare median us"] = round(1e6 * float(np.median(bare)))
    for name, value in (("median", np.median(added_us)), ("p99", np.percentile(added_us, 99))):
        benchmark.extra_info[f"added {name} us"] = round(float(value))
        print(f"added to a hit, {name}: {value:.0f} us")
    assert np.median(live) > np.median(bare)
