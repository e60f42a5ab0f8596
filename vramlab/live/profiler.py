"""The profiler: what each model takes to load and to run here, measured as the live driver does it.

Every run hops to a worker thread and back, as it will when requests are served, so that the times are those
that the simulator should take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.engine.effects import Target
from vramlab.live.backend import OnnxBackend
from vramlab.live.loops import run_to_end
from vramlab.live.sessions import make_inputs

_MS = 1000.0
_LEAST_MS = 0.001


class Sample(NamedTuple):
    """One measurement."""

    model: str
    target: str
    what: str  # "load" or "infer"
    items: int
    seconds: float


def profile(
    config: VramConfig,
    inventory: Inventory,
    device: str = "auto",
    loads: int = 3,
    runs: int = 10,
    done: Callable[[], object] | None = None,
) -> tuple[Inventory, list[Sample]]:
    """Measure every model of an inventory, one at a time on an idle machine.

    Parameters
    ----------
    config : VramConfig
        As it will be served (``serving.warm_up`` counts into the load).
    inventory : dict of str to ModelSpec
        Models with their files.
    device : str
        ``auto``, ``cuda`` or ``cpu-emulated``.
    loads, runs : int
        Measurements per model and target; the first load and the first run count for nothing.
    done : callable, optional
        Called after each model.

    Returns
    -------
    inventory : dict of str to ModelSpec
        With the medians in ``load_time_ms``, ``inference_ms``, ``cpu_load_time_ms``, ``cpu_inference_ms``.
    samples : list of Sample
        All measurements.
    """
    backend = OnnxBackend(config, inventory, device)

    async def measure() -> list[Sample]:
        samples: list[Sample] = []
        for name in inventory:
            for target in Target:
                samples += await _measure(backend, name, target, loads, runs)
            if done is not None:
                done()
        return samples

    samples = run_to_end(measure())
    return {name: measured(spec, name, samples) for name, spec in inventory.items()}, samples


async def _measure(backend: OnnxBackend, name: str, target: Target, loads: int, runs: int) -> list[Sample]:
    samples = []
    for number in range(loads + 1):
        begin = time.perf_counter()
        session = await asyncio.to_thread(backend.open, name, target)
        seconds = time.perf_counter() - begin
        if number:
            samples.append(Sample(name, target.value, "load", 1, seconds))
        if number == loads:
            inputs = make_inputs(session, 1, np.random.default_rng(0))
            for run in range(runs + 1):
                begin = time.perf_counter()
                await asyncio.to_thread(session.run, inputs)
                if run:
                    samples.append(Sample(name, target.value, "infer", 1, time.perf_counter() - begin))
        await asyncio.to_thread(session.close)
    return samples


def measured(spec: ModelSpec, name: str, samples: list[Sample]) -> ModelSpec:
    """A spec with the medians of its model's samples."""

    def median_ms(target: Target, what: str) -> float:
        seconds = [s.seconds for s in samples if (s.model, s.target, s.what) == (name, target.value, what)]
        return max(round(float(np.median(seconds)) * _MS, 4), _LEAST_MS)

    changes: dict[str, Any] = {
        "load_time_ms": median_ms(Target.GPU, "load"),
        "inference_ms": median_ms(Target.GPU, "infer") / spec.performance_multiplier,
        "cpu_load_time_ms": median_ms(Target.CPU, "load"),
        "cpu_inference_ms": median_ms(Target.CPU, "infer"),
    }
    return spec.model_copy(update=changes)
