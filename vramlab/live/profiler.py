"""The profiler: what each model takes to load and to run here, measured as it will be served.

Every effect hops to a worker thread, where the live driver's end too. A model that has not run for some
milliseconds runs slower than one in a tight loop (caches, clocks), by half and more for small ones: so runs
are measured after pauses of several lengths, and the inventory gets the time after the longest. Memory is in
:mod:`vramlab.live.footprints`.

What is chosen per model by measurement (prepacking, and whether requests may be split) is in
:mod:`vramlab.live.choices`. Where other programs were busy meanwhile, a block of measurements is repeated.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.engine.effects import Target
from vramlab.live.backend import OnnxBackend
from vramlab.live.choices import choose
from vramlab.live.errors import SessionError
from vramlab.live.footprints import measure_often, memory_flags
from vramlab.live.gpu_state import after_silence, placement_flags, silence_flags
from vramlab.live.hops import PAUSES_S, Hops, timed_run
from vramlab.live.inputs import Recipe, make_inputs
from vramlab.live.loops import run_to_end
from vramlab.live.machine_load import OtherProcesses, busy_cores
from vramlab.live.measurements import Measurements, measured, slow_first_runs
from vramlab.live.model_files import check_model_file
from vramlab.live.onnx_sessions import Session, make_session
from vramlab.live.stand_ins import is_stand_in
from vramlab.live.values import Feeds
from vramlab.runs.samples import Sample

_MOST_LOADS, _LOADS_S = 10, 1.0  # few loads say little of how long the longest take: more while cheap
_LEAST_RUNS = 3  # of each kind, whatever the time limit; of a slow model one
_PATIENCE, _CALM_S = 2, 1.0  # for measurements that other programs disturb


# seven, and all but the first two may be left out: how long to measure, and where
def profile(
    config: VramConfig,
    inventory: Inventory,
    device: str = "auto",
    loads: int = 3,
    runs: int = 10,
    done: Callable[[str], object] | None = None,
    limit_s: float = 2.0,
) -> tuple[Inventory, Measurements]:
    """Measure every model of an inventory, one at a time on an idle machine.

    Parameters
    ----------
    config : VramConfig
        As it will be served (``serving.warm_up``: loads end with a first run).
    inventory : dict of str to ModelSpec
        Models with their files.
    device : str
        ``auto``, ``cuda``, ``cpu-emulated`` or ``cpu-arena``.
    loads, runs : int
        Measurements per model, runs for each of :data:`PAUSES_S`; half of the runs on the CPU. Loads onto the
        device go on to ten while they have not taken a second yet; the first two are not counted.
    done : callable, optional
        Called with the name of each model when it begins, and with an empty text in the end.
    limit_s : float
        Seconds of loads and runs per model and target after which three samples of each kind must do, and one
        of a slow model. Choices and memory come on top.

    Returns
    -------
    inventory : dict of str to ModelSpec
        With what was measured: medians in ``load_time_ms``, ``warm_up_ms``, ``inference_ms``,
        ``cpu_load_time_ms``, ``cpu_inference_ms``; ``vram_size_mb`` (what stays) and ``workspace_mb`` (what a
        run needs on top), but for stand-ins on the emulated device, which keep the size that they stand for;
        and what was chosen.
        A model that could not be measured keeps its values.
    measurements : Measurements
        All samples, memory readings, flags, and what could not be measured.
    """
    known = dict(inventory)
    # what is measured is each model's own, whoever shares it later
    config = config.model_copy(update={"workspace": "own"})
    backend = OnnxBackend(config, known, device)
    found = Measurements(machine=backend.describe(), specs=known)

    async def measure() -> None:
        hops = Hops(backend.cores)
        profiler = _Profiler(hops, backend, found, loads, runs, limit_s)
        try:
            await hops.of("load", Target.CPU)(_wake)
            for name in inventory:
                if done is not None:
                    done(name)
                await profiler.one(name)
            await profiler.silence()
            if done is not None:
                done("")
        finally:
            hops.close()

    run_to_end(measure())
    return {
        name: measured(spec, name, found, is_stand_in(str(spec.path)) and backend.device.keeps_ledger)
        for name, spec in known.items()
    }, found


def _wake() -> None:
    """Load something tiny: the first session of a process takes memory that stays with it."""
    import onnx.parser
    import onnxruntime

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> wake (float[n] x) => (float[n] y) { y = Relu(x) }'
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.zeros(1, np.float32)})


@dataclass
class _Profiler:
    """Measures one model after the other."""

    hops: Hops
    backend: OnnxBackend
    found: Measurements
    loads: int
    runs: int
    limit_s: float
    until_s: float = 0.0
    disturbed: int = 0
    made: dict[str, Feeds] = field(default_factory=dict)

    @property
    def late(self) -> bool:
        """Whether the time of this model is up."""
        return time.perf_counter() > self.until_s

    @property
    def least_runs(self) -> int:
        """Runs of each kind that are made even so: one, of a model whose time is up twice over."""
        return 1 if time.perf_counter() > self.until_s + self.limit_s / 2 else _LEAST_RUNS

    async def one(self, name: str) -> None:
        """Measure a model on both targets."""
        flags, given = self.found.flags.setdefault(name, []), self.found.specs[name]
        # what was declared is found out anew: where it is no longer true, no session would load
        self.found.specs[name] = given.model_copy(update={"splits": False})
        for target in Target:
            self.until_s = time.perf_counter() + self.limit_s
            try:
                await self._measure(name, target)
            except (SessionError, InputError) as error:
                self.found.fail(name, target, error)
                if target is Target.GPU:
                    self.found.specs[name] = given
            if self.late:
                flags.append(f"on the {target.value}, cut short after {self.limit_s:g} s: few samples")
        flags += slow_first_runs(name, self.found.samples)

    async def _measure(self, name: str, target: Target) -> None:
        """Choices, memory, loads, and runs of one model on one target."""
        backend, found, spec = self.backend, self.found, self.found.specs[name]
        device = backend.device if target is Target.GPU else None
        hop, run_hop = self.hops.of("load", target), self.hops.of("infer", target)
        _forget(str(spec.path))
        session, seconds = await hop(lambda: backend.open(name, target))
        with closing(session):
            recipe = backend.find_recipe(name, session)
            found.flags[name] += placement_flags(session)
        found.samples.append(Sample(name, target.value, "cold load", 1, seconds))
        if device is not None:
            chosen, _ = await run_hop(lambda: choose(spec, device, recipe))
            spec = found.specs[name] = chosen.spec
            found.flags[name] += chosen.notes
        if device is not None or not backend.device.keeps_ledger:  # where both are alike, once
            stages = measure_often(name, spec, backend.device, target, recipe)
            found.stages += stages
        if device is not None:
            found.flags[name] += memory_flags(stages, check_model_file(str(spec.path)).size_bytes)
        with closing(make_session(str(spec.path), spec, device)) as session:
            inputs = _inputs_of(session, spec, recipe)
            self.made[name] = inputs[min(inputs)]
            _, seconds = await run_hop(lambda: session.run(inputs[min(inputs)]))
            found.samples.append(Sample(name, target.value, "first infer", min(inputs), seconds))
        self.until_s = time.perf_counter() + self.limit_s
        state = backend.device.state()
        found.samples += await self._calmly(name, lambda: self._loads_and_runs(name, target, inputs))
        if device is not None and state:
            states = found.machine.setdefault("states", {})
            states[name] = {"before": state, "after": device.state()}

    async def _calmly(self, name: str, block: Callable[[], Awaitable[list[Sample]]]) -> list[Sample]:
        """Take measurements, and again if other programs were busy meanwhile; the calmer of both.

        On a machine that is busy all the time that is given up after two models.
        """
        others, most = OtherProcesses(), busy_cores()
        best = await block()
        least = others.cores() or 0.0
        if least > most and self.disturbed < _PATIENCE:
            await asyncio.sleep(_CALM_S)
            others = OtherProcesses()
            again = await block()
            busy = others.cores() or 0.0
            best, least = min((best, least), (again, busy), key=lambda one: one[1])
            self.disturbed += least > most
        if least > most:
            machine = self.found.machine
            machine["other_cores"] = max(least, machine.get("other_cores", 0.0))
            self.found.busy[name] = max(least, self.found.busy.get(name, 0.0))
        return best

    async def _loads_and_runs(self, name: str, target: Target, inputs: dict[int, Feeds]) -> list[Sample]:
        """As it is served: loaded into memory that others have left, below what others hold.

        The memory of the first two loads is still to come from the system; at the top it would go back each
        time.
        """
        hop, run_hop = self.hops.of("load", target), self.hops.of("infer", target)
        samples: list[Sample] = []

        def note(what: str, items: int, seconds: float, pause_s: float = 0.0) -> None:
            samples.append(Sample(name, target.value, what, items, seconds, pause_s))

        with ExitStack() as stack:
            session, _ = await hop(lambda: self.backend.open(name, target))
            stack.callback(lambda: session.close())
            on_device = target is Target.GPU
            taken_s, number = 0.0, -1
            most = _MOST_LOADS if on_device else self.loads
            while number < self.loads or (number < most and taken_s < _LOADS_S):
                if self.late and number > 0:
                    break
                await asyncio.sleep(PAUSES_S[-1])
                _, unload_s = await hop(session.close)
                await asyncio.sleep(PAUSES_S[-1])
                session, load_s = await hop(lambda: self.backend.load(name, target))
                _, warm_up_s = await hop(partial(self.backend.warm_up, name, session))
                if number >= 0:
                    note("unload", 1, unload_s)
                    note("load", 1, load_s + warm_up_s)
                    note("warm-up", 1, warm_up_s)
                    taken_s += load_s + warm_up_s
                number += 1
            single = min(inputs)
            each = [(single, pause_s) for pause_s in reversed(PAUSES_S)]
            several = [(items, PAUSES_S[-1]) for items in inputs if items > single]
            for number in range(self.runs if on_device else (self.runs + 1) // 2):
                for items, pause_s in each + several * (number % 2 == 0):
                    if self.late and number >= self.least_runs:
                        break
                    seconds = await timed_run(run_hop, session, inputs[items], pause_s)
                    note("infer", items, seconds, pause_s)
        return samples

    async def silence(self) -> None:
        """Measure how a GPU wakes up, on one model of middling size."""
        specs = self.found.specs
        ordered = sorted(
            (name for name in specs if name not in self.found.failed),
            key=lambda name: specs[name].footprint_bytes,
        )
        if self.backend.device.emulated or not ordered:
            return
        name = ordered[(len(ordered) - 1) // 2]
        try:
            await self._silence(name)
        except SessionError as error:
            self.found.flags[name].append(f"not measured after a silence: {error}")

    async def _silence(self, name: str) -> None:
        session, _ = await self.hops.of("load", Target.GPU)(lambda: self.backend.open(name, Target.GPU))
        with closing(session):
            hop = self.hops.of("infer", Target.GPU)
            samples = await after_silence(hop, name, session, self.made[name])
        self.found.samples += samples
        self.found.flags[name] += silence_flags(samples)


def _inputs_of(session: Session, spec: ModelSpec, recipe: Recipe) -> dict[int, Feeds]:
    """Inputs of 1, 2, 4... items, up to the batch size; of those of a file's fixed batch only."""
    axis = session.axis
    most = 1 if axis is None else session.batch_size
    if axis is not None and axis.fixed and not spec.splits:
        counts = [axis.fixed]
    else:
        counts = [2**power for power in range(most.bit_length()) if 2**power < most] + [most]
    made = {}
    for items in counts:
        made[items] = make_inputs(session, items, np.random.default_rng(0), recipe, spec)
        if items > 1 and items != (axis.fixed if axis else 1):
            try:
                session.run(made[items])
            except SessionError:  # its first axis is no batch, or none of that length
                del made[items]
                break
    return made


def _forget(path: str) -> None:
    """Ask the system to drop a file from its cache, where one can."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError), open(path, "rb") as file:  # the load says better what is wrong with it
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
