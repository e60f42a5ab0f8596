"""The profiler: what each model takes to load and to run here, measured as it will be served.

Every effect hops to a worker thread, where the live driver's end too. A model that has not run for some
milliseconds runs slower than one in a tight loop (caches, clocks), by half and more for small ones: so runs
are measured after pauses of several lengths, and the inventory gets the time after the longest. Where another
model has run meanwhile, only the caches are cold: that is measured too. What effects do to each other is
measured on two models of middling size, pair by pair. Memory is in :mod:`vramlab.live.footprints`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.engine.samples import Sample, samples_frame
from vramlab.live.backend import OnnxBackend
from vramlab.live.errors import SessionError
from vramlab.live.footprints import Stage, footprint, measure_memory, memory_flags
from vramlab.live.inputs import make_inputs
from vramlab.live.interplay import PAUSES_S, Hop, Hops, middling, neighbours, serving_overheads, timed_run
from vramlab.live.loops import run_to_end
from vramlab.live.sessions import Session, make_session

_MOST_LOADS, _LOADS_S = 10, 1.0  # few loads say little of how long the longest take: more while cheap
_MS = 1000.0
_LEAST_MS = 0.001
_SLOW_FIRST_RUN = 3.0


@dataclass
class Measurements:
    """All that was measured.

    Parameters
    ----------
    samples : list of Sample
        Times.
    stages : list of Stage
        Memory at each step of a model's life.
    flags : dict of str to list of str
        Per model, what needs a look.
    failed : dict of str to dict of Target to str
        Per model that could not be measured on some target, why. Of that target it has no samples.
    machine : dict
        Device, versions and cores.
    """

    samples: list[Sample] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, dict[Target, str]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """The times, as the simulator reads them."""
        return samples_frame(self.samples, self.machine)

    def memory(self) -> pd.DataFrame:
        """The memory, one row per model, target and step."""
        return pd.DataFrame(self.stages, columns=list(Stage._fields))

    def failures(self) -> list[str]:
        """One line per model that could not be measured."""
        lines = []
        for name, causes in self.failed.items():
            same = len(causes) == len(Target) and len(set(causes.values())) == 1
            said = (
                causes.values()
                if same
                else (f"on the {target.value}: {why}" for target, why in causes.items())
            )
            lines.append(f"{name}: {'; '.join(dict.fromkeys(said))}")
        return lines

    def fail(self, name: str, target: Target, error: Exception) -> None:
        """Note why a model could not be measured, and forget the little that was."""
        self.failed.setdefault(name, {})[target] = " ".join(str(error).split())
        self.samples = [s for s in self.samples if (s.model, s.target) != (name, target.value)]
        self.stages = [s for s in self.stages if (s.model, s.target) != (name, target.value)]


def profile(
    config: VramConfig,
    inventory: Inventory,
    device: str = "auto",
    loads: int = 3,
    runs: int = 10,
    done: Callable[[], object] | None = None,
) -> tuple[Inventory, Measurements]:
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
        Measurements per model and target, runs for each of :data:`PAUSES_S`. Loads go on to ten while they
        have not taken a second yet; the first two are not counted.
    done : callable, optional
        Called after each model, and once in the end.

    Returns
    -------
    inventory : dict of str to ModelSpec
        With what was measured: medians in ``load_time_ms``, ``inference_ms``, ``cpu_load_time_ms``,
        ``cpu_inference_ms``; where the device's memory is real, ``vram_size_mb`` (what stays) and
        ``workspace_mb`` (what a run needs on top). A model that could not be measured keeps its values.
    measurements : Measurements
        All samples, memory readings, flags, and what could not be measured.
    """
    backend = OnnxBackend(config, inventory, device)
    found = Measurements(machine=backend.describe())
    others = middling(config, inventory, inventory)

    async def measure() -> None:
        hops = Hops(backend.cores)
        try:
            for name, spec in inventory.items():
                flags = found.flags[name] = []
                for target in Target:
                    try:
                        another = next((one for one in others if one != name), None)
                        await _measure(hops, backend, name, spec, target, another, loads, runs, found)
                    except (SessionError, InputError) as error:
                        found.fail(name, target, error)
                flags += _slow_first_runs(name, found.samples)
                if done is not None:
                    done()
            pair = middling(config, inventory, [name for name in inventory if name not in found.failed])
            if pair:
                one, other = pair
                try:
                    found.samples += await neighbours(hops, backend, one, other, runs)
                    both = {name: inventory[name] for name in pair}
                    found.samples += await serving_overheads(config, both, device, runs)
                except SessionError as error:
                    found.flags[one].append(f"not measured beside {other}: {error}")
            if done is not None:
                done()
        finally:
            hops.close()

    run_to_end(measure())
    return {
        name: measured(spec, name, found, backend.device.keeps_ledger) for name, spec in inventory.items()
    }, found


async def _measure(
    hops: Hops,
    backend: OnnxBackend,
    name: str,
    spec: ModelSpec,
    target: Target,
    other: str | None,
    loads: int,
    runs: int,
    found: Measurements,
) -> None:
    """Memory, loads, and runs of one model on one target."""
    device = backend.device if target is Target.GPU else None

    def note(what: str, items: int, seconds: float, pause_s: float = 0.0) -> None:
        found.samples.append(Sample(name, target.value, what, items, seconds, pause_s))

    hop, run_hop = hops.of("load", target), hops.of("infer", target)
    _forget(str(spec.path))
    session, seconds = await hop(lambda: backend.open(name, target))
    note("cold load", 1, seconds)
    await hop(session.close)
    stages = measure_memory(name, spec, backend.device, target)
    found.stages += stages
    if device is not None and not device.keeps_ledger:
        found.flags[name] += memory_flags(stages)
    with closing(make_session(str(spec.path), spec, device)) as session:
        inputs = {
            items: make_inputs(session, items, np.random.default_rng(0)) for items in _batches(session, spec)
        }
        _, seconds = await run_hop(lambda: session.run(inputs[1]))
        note("first infer", 1, seconds)
    with ExitStack() as stack:
        # As it is served: loaded into memory that others have left, below what others hold. (The memory of
        # the first two loads is still to come from the system; at the top it would go back each time.)
        session, _ = await hop(lambda: backend.open(name, target))
        stack.callback(lambda: session.close())
        another = await _another(hop, backend, name, other, target)
        if another is not None:
            stack.callback(another[0].close)
        taken_s, number = 0.0, -1
        while number < loads or (number < _MOST_LOADS and taken_s < _LOADS_S):
            await asyncio.sleep(PAUSES_S[-1])
            _, unload_s = await hop(session.close)
            await asyncio.sleep(PAUSES_S[-1])
            session, load_s = await hop(lambda: backend.open(name, target))
            if number >= 0:
                note("unload", 1, unload_s)
                note("load", 1, load_s)
                taken_s += load_s
            number += 1
        if another is not None:
            for pause_s, bare_s in await _after_another(run_hop, session, inputs[1], *another, runs):
                note("bare infer after another", 1, bare_s, pause_s)
            await hop(another[0].close)  # which may be in the way of larger batches
        singles = [(1, pause_s) for pause_s in PAUSES_S * runs]
        several = [(items, PAUSES_S[-1]) for items in inputs if items > 1] * ((runs + 1) // 2)
        for items, pause_s in singles + several:
            seconds, bare_s = await timed_run(run_hop, session, inputs[items], pause_s)
            note("infer", items, seconds, pause_s)
            note("bare infer", items, bare_s, pause_s)


async def _another(
    hop: Hop, backend: OnnxBackend, name: str, other: str | None, target: Target
) -> tuple[Session, Any] | None:
    """A session of `other` that has run, and its inputs; none if there is none, or no room beside `name`."""
    if other is None or not backend.has_room_for(name, other):
        return None
    try:
        session, _ = await hop(lambda: backend.open(other, target))
        try:
            inputs = make_inputs(session, 1, np.random.default_rng(0))
            await hop(lambda: session.run(inputs))
        except BaseException:
            session.close()
            raise
    except (SessionError, InputError):  # its own measurement says what is wrong with it
        return None
    return session, inputs


async def _after_another(
    hop: Hop, session: Session, inputs: Any, another: Session, others: Any, runs: int
) -> list[tuple[float, float]]:
    """Pauses and times of runs, in seconds, before which another model ran, on `others`."""

    def run_for_long() -> None:  # as much as it takes to drive the model's weights out of the caches
        until_s = time.perf_counter() + PAUSES_S[-1]
        while time.perf_counter() < until_s:
            another.run(others)

    timed = []
    for pause_s in PAUSES_S[:-1] * runs:
        await hop(run_for_long)
        _, bare_s = await timed_run(hop, session, inputs, pause_s)
        timed.append((pause_s, bare_s))
    return timed


def _batches(session: Session, spec: ModelSpec) -> list[int]:
    """1, 2, 4... up to the batch size."""
    most = session.batch_size if session.axis else 1
    return [2**power for power in range(most.bit_length()) if 2**power < most] + [most]


def _forget(path: str) -> None:
    """Ask the system to drop a file from its cache, where one can."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError), open(path, "rb") as file:  # the load says better what is wrong with it
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# -- from measurements to an inventory -------------------------------------------------------------------


def measured(spec: ModelSpec, name: str, found: Measurements, keeps_ledger: bool) -> ModelSpec:
    """A spec with the medians of its model's samples, and its footprint where memory is real."""
    samples = [sample for sample in found.samples if sample.model == name and not sample.beside]
    changes = median_times(spec, samples)
    stages = [stage for stage in found.stages if (stage.model, stage.target) == (name, Target.GPU.value)]
    if stages and not keeps_ledger:
        true = footprint(stages)
        changes["vram_size_mb"] = round(bytes_to_mib(true.resident_bytes), 3)
        changes["workspace_mb"] = round(bytes_to_mib(true.workspace_bytes), 3)
    return spec.model_copy(update=changes)


def median_times(spec: ModelSpec, samples: Sequence[Sample]) -> dict[str, float]:
    """Times of an inventory, in ms, from a model's samples; what was not measured is left out."""
    times = {
        "load_time_ms": median_ms(samples, Target.GPU, "load"),
        "inference_ms": median_ms(samples, Target.GPU, "infer"),
        "cpu_load_time_ms": median_ms(samples, Target.CPU, "load"),
        "cpu_inference_ms": median_ms(samples, Target.CPU, "infer"),
    }
    found = {key: value for key, value in times.items() if value is not None}
    if "inference_ms" in found:
        found["inference_ms"] = round(found["inference_ms"] / spec.performance_multiplier, 4)
    return found


def median_ms(samples: Sequence[Sample], target: Target, what: str) -> float | None:
    """Median of single items after the longest measured pause, ms; None where nothing was measured."""
    chosen = [s for s in samples if (s.target, s.what) == (target.value, what)]
    if not chosen:
        return None
    fewest = min(sample.items for sample in chosen)
    chosen = [sample for sample in chosen if sample.items == fewest]
    longest_s = max(sample.pause_s for sample in chosen)
    seconds = [sample.seconds for sample in chosen if sample.pause_s == longest_s]
    return max(round(float(np.median(seconds)) * _MS / fewest, 4), _LEAST_MS)


def _slow_first_runs(name: str, samples: Sequence[Sample]) -> list[str]:
    flags = []
    for target in Target:
        own = [sample for sample in samples if (sample.model, sample.target) == (name, target.value)]
        first = [sample.seconds for sample in own if sample.what == "first infer"]
        later_ms = median_ms(own, target, "infer")
        if first and later_ms and first[0] * _MS > _SLOW_FIRST_RUN * later_ms:
            flags.append(
                f"the first run on the {target.value} takes {first[0] * _MS / later_ms:.0f} times a later one"
            )
    return flags
