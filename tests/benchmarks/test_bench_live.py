"""What all of this adds to a hit over onnxruntime's bare ``session.run`` of its model.

Bare and served runs alternate within one loop, so that both see the same machine. For the asynchronous
runtime a third alternates with them: the bare run on another thread and back, as anybody must who does not
want to block the event loop; ``hop`` is what that alone adds. The model is so small that the runtime does its
runs on the event loop itself (``serving.inline_run_ms``), but for "by workers", where it hops too. On a busy
machine the medians move; ``best`` is the lowest median of a hundred requests in a row, which is what the code
itself costs.
"""

import asyncio
import time

import numpy as np
import pytest

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.effects import Target
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.inputs import make_inputs
from vramlab.live.interplay import Hop
from vramlab.live.stand_ins import with_stand_ins

REQUESTS, BLOCK = 2000, 100
NAME = "small.onnx"


@pytest.fixture(scope="module", params=["on the loop", "with a journal", "by workers"])
def served(request, tmp_path_factory):
    """(open runtime, inputs) with one small resident model."""
    folder = tmp_path_factory.mktemp("live")
    spec = ModelSpec(priority="medium", vram_size_mb=2, load_time_ms=10)
    inventory = with_stand_ins({NAME: spec}, folder)
    journal = folder / "journal.jsonl" if request.param == "with a journal" else None
    config = load_config(None, ["serving.inline_run_ms=0"] if request.param == "by workers" else [])
    with BlockingRuntime(config, inventory, "cpu-emulated", journal) as runtime:
        inputs = make_inputs(inventory[NAME].path, 1, np.random.default_rng(0))
        runtime.infer(NAME, inputs)
        yield runtime, inputs


def report(benchmark, bare_s, live_s, hop_s=None):
    added_us = 1e6 * (np.array(live_s) - np.median(bare_s))
    blocks = 1e6 * np.median(np.reshape(np.array(live_s) - np.array(bare_s), (-1, BLOCK)), axis=1)
    figures = {
        "bare median us": 1e6 * np.median(bare_s),
        "added median us": np.median(added_us),
        "added p99 us": np.percentile(added_us, 99),
        "added best us": blocks.min(),
        "bare p99 over median us": 1e6 * (np.percentile(bare_s, 99) - np.median(bare_s)),
    }
    if hop_s is not None:
        hop_us = 1e6 * (np.array(hop_s) - np.median(bare_s))
        figures |= {"hop median us": np.median(hop_us), "hop p99 us": np.percentile(hop_us, 99)}
        figures["over the hop, median us"] = 1e6 * (np.median(live_s) - np.median(hop_s))
    for name, value in figures.items():
        benchmark.extra_info[name] = round(float(value), 1)
    print("  ".join(f"{name} {value:.0f}" for name, value in figures.items()))
    assert np.median(live_s) > np.median(bare_s)


def test_a_hit_of_the_blocking_runtime(benchmark, served):
    runtime, inputs = served
    session = runtime.runtime.driver.sessions[NAME, Target.GPU]._session

    def alternate():
        bare_s, live_s = [], []
        for _ in range(REQUESTS):
            begin = time.perf_counter()
            session.run(None, inputs)
            middle = time.perf_counter()
            runtime.infer(NAME, inputs)
            live_s.append(time.perf_counter() - middle)
            bare_s.append(middle - begin)
        return bare_s, live_s

    report(benchmark, *benchmark.pedantic(alternate, rounds=1))


def test_a_hit_of_the_asynchronous_runtime(benchmark, served):
    blocking, inputs = served
    runtime = blocking.runtime
    session = runtime.driver.sessions[NAME, Target.GPU]._session

    async def alternate():
        bare_s, live_s, hop_s = [], [], []
        hop = Hop()
        for _ in range(REQUESTS):
            begin = time.perf_counter()
            session.run(None, inputs)
            middle = time.perf_counter()
            await runtime.infer(NAME, inputs)
            live_s.append(time.perf_counter() - middle)
            bare_s.append(middle - begin)
            begin = time.perf_counter()
            await hop(lambda: session.run(None, inputs))
            hop_s.append(time.perf_counter() - begin)
        hop.close()
        return bare_s, live_s, hop_s

    def on_its_loop():
        return asyncio.run_coroutine_threadsafe(alternate(), blocking._loop).result()

    report(benchmark, *benchmark.pedantic(on_its_loop, rounds=1))
