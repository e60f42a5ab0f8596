"""A hit served live beside onnxruntime's bare ``session.run`` of the same model, in turn within one loop.

Both see the same machine so. The model is so small that the asynchronous runtime does its runs on the event
loop itself (``serving.inline_run_ms``), unless it is told to hop. Its peer is then the bare run on another
thread and back, as anybody must who does not want to block the event loop. Two alternate, and no third: a run
is a tenth faster where the one before it was done on the same core, and left the weights in its cache.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager

import numpy as np

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.effects import Target
from vramlab.live.blocking import BlockingRuntime

try:
    from vramlab.live.hops import Hop
except ModuleNotFoundError:  # the code before, which `results/speed/remake.py --before` measures
    from vramlab.live.interplay import Hop
from vramlab.live.inputs import make_inputs
from vramlab.live.stand_ins import with_stand_ins

NAME = "small.onnx"


@contextmanager
def serving(folder, journal=None, by_workers=False):
    """(open blocking runtime, inputs) with one small resident model."""
    spec = ModelSpec(priority="medium", vram_size_mb=2, load_time_ms=10)
    inventory = with_stand_ins({NAME: spec}, folder)
    config = load_config(None, ["serving.inline_run_ms=0"] if by_workers else [])
    with BlockingRuntime(config, inventory, "cpu-emulated", journal) as runtime:
        inputs = make_inputs(inventory[NAME].path, 1, np.random.default_rng(0))
        runtime.infer(NAME, inputs)
        yield runtime, inputs


def bare(runtime):
    """The session of onnxruntime under a blocking runtime."""
    return runtime.runtime.driver.sessions[NAME, Target.GPU]._session


def blocking(runtime, inputs, requests):
    """Seconds of so many bare runs, and of as many hits of the blocking runtime."""
    session = bare(runtime)
    bare_s, live_s = [], []
    for _ in range(requests):
        begin = time.perf_counter()
        session.run(None, inputs)
        middle = time.perf_counter()
        runtime.infer(NAME, inputs)
        live_s.append(time.perf_counter() - middle)
        bare_s.append(middle - begin)
    return bare_s, live_s


def on_the_loop(runtime, inputs, requests):
    """Seconds of so many bare runs on the event loop, and of as many hits of the asynchronous runtime."""
    session = bare(runtime)

    async def alternate():
        bare_s, live_s = [], []
        for _ in range(requests):
            begin = time.perf_counter()
            session.run(None, inputs)
            middle = time.perf_counter()
            await runtime.runtime.infer(NAME, inputs)
            live_s.append(time.perf_counter() - middle)
            bare_s.append(middle - begin)
        return bare_s, live_s

    return asyncio.run_coroutine_threadsafe(alternate(), runtime._loop).result()


def by_a_worker(runtime, inputs, requests):
    """Seconds of so many bare runs on another thread, and of as many hits of the asynchronous runtime."""
    session = bare(runtime)

    async def alternate():
        hop_s, live_s = [], []
        hop = Hop()
        for _ in range(requests):
            begin = time.perf_counter()
            await hop(lambda: session.run(None, inputs))
            middle = time.perf_counter()
            await runtime.runtime.infer(NAME, inputs)
            live_s.append(time.perf_counter() - middle)
            hop_s.append(middle - begin)
        hop.close()
        return hop_s, live_s

    return asyncio.run_coroutine_threadsafe(alternate(), runtime._loop).result()
