"""What a model truly takes: memory at each step of its life, and what an estimate from its file cannot see.

On CUDA this process's memory on the device is read where the driver says it, else the whole device's. On the
emulated device, as on the CPU, it is the memory that this process shares with nobody: so a budget there is a
budget of real memory. Only with ``serving.heap: returned`` is that what the model takes; else it is also what
others have left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.engine.effects import Target
from vramlab.live.device_facts import Device
from vramlab.live.errors import SessionError
from vramlab.live.heap import private_bytes, trim_heap
from vramlab.live.inputs import Recipe, make_inputs
from vramlab.live.onnx_sessions import Session, make_session

_POLL_S = 0.001
_STEADY_RUNS = 4
_ARENAS = 4
_SLOW_S = 0.15  # a first run; fewer of them must do then
# A difference below this is the allocator's rounding, or another process's doing.
_NOISE_BYTES = 2 * MIB
_FAR_ABOVE, _MUCH_BYTES = 1.5, 32 * MIB
_T = TypeVar("_T")


class Stage(NamedTuple):
    """Memory at one step of a model's life, above what was taken before it was loaded; bytes.

    ``load peak`` and ``run peak`` are the highest readings while it was loaded and run; ``run 2``, ``run 3``
    and so on follow ``first run at batch 1``, with the largest batch.
    """

    model: str
    target: str
    stage: str
    device_bytes: int
    process_bytes: int | None


class Footprint(NamedTuple):
    """What stays while a model is loaded, and what its runs need on top; bytes."""

    resident_bytes: int
    workspace_bytes: int


def measure_often(
    name: str, spec: ModelSpec, device: Device, target: Target, recipe: Recipe | None = None
) -> list[Stage]:
    """As :func:`measure_memory`; in an arena several times, and the stages of the largest.

    Which free chunk an arena takes hangs on addresses: a run of one shape took 4.6 MB of a fresh arena in one
    session and 5.3 MB in another, and a limit of the former fails the latter.
    """
    times = _ARENAS if target is Target.GPU and device.has_arenas else 1
    found = [measure_memory(name, spec, device, target, recipe) for _ in range(times)]
    return max(found, key=lambda stages: sum(footprint(stages)))


def measure_memory(
    name: str, spec: ModelSpec, device: Device, target: Target, recipe: Recipe | None = None
) -> list[Stage]:
    """Load, run and drop a model, and read the memory at each step; blocks.

    The largest batch comes first: after smaller ones an arena holds their regions beside its own, and what
    was measured in ascending order could not be run again in that order under a limit of that size.

    Parameters
    ----------
    name : str
        Of the model.
    spec : ModelSpec
        Of the model.
    device : Device
        Where it is loaded, if `target` is the GPU.
    target : Target
        GPU or CPU.
    recipe : Recipe, optional
        For its inputs, where the spec names none.

    Raises
    ------
    SessionError
        If the model cannot be loaded or run.
    """
    on_device = target is Target.GPU
    # With a known workspace the arena would be limited to what is to be found out.
    asked = spec if device.keeps_ledger else spec.model_copy(update={"workspace_mb": 0.0})
    real = on_device and not device.keeps_ledger

    def read() -> int:
        if not real:
            return private_bytes() or 0
        memory = device.memory()
        return memory.used_bytes if memory.process_bytes is None else memory.process_bytes

    trim_heap()
    before, before_process = read(), private_bytes()
    stages: list[Stage] = []

    def note(stage: str, value: int | None = None) -> None:
        trim_heap()
        process = private_bytes()
        beside = process - before_process if process is not None and before_process is not None else None
        held = read() if value is None else value
        stages.append(Stage(name, target.value, stage, held - before, beside))

    path = Path(str(spec.path))
    session, peak = _watched(lambda: make_session(path, asked, device if on_device else None), read)
    try:
        note("load peak", peak)
        note("loaded")
        _run_largest_first(session, spec, recipe, note, read)
    finally:
        session.close()
    if on_device:
        device.trim()
    note("unloaded")
    return stages


def _run_largest_first(
    session: Session,
    spec: ModelSpec,
    recipe: Recipe | None,
    note: Callable[..., None],
    read: Callable[[], int],
) -> None:
    """Run the largest batch, a single item, and the largest batch again and again; its inputs end here."""
    rng = np.random.default_rng(0)
    peak = 0
    most = spec.batch_size if session.axis is not None and not session.axis.fixed else 1
    largest = single = make_inputs(session, 1, rng, recipe, spec)
    with suppress(SessionError):  # that a batch cannot be run is what the profile says of it
        if most > 1:
            batch = make_inputs(session, most, rng, recipe, spec)
            _, peak = _watched(lambda: session.run(batch), read)
            largest = batch
    note("first run at batch_size")
    begin_s = time.perf_counter()
    _, seen = _watched(lambda: session.run(single), read)
    slow = time.perf_counter() - begin_s > _SLOW_S
    note("first run at batch 1")
    for number in range(2, 3 if slow else 2 + _STEADY_RUNS):
        session.run(largest)
        note(f"run {number}")
    note("run peak", max(peak, seen, read()))
    note("steady")


def _watched(work: Callable[[], _T], read: Callable[[], int]) -> tuple[_T, int]:
    """Do something and read the memory all the while; its value and the highest reading."""
    ended = threading.Event()
    highest = read()

    def watch() -> None:
        nonlocal highest
        while not ended.wait(_POLL_S):
            highest = max(highest, read())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        value = work()
    finally:
        ended.set()
        thread.join()
    return value, max(highest, read())


def footprint(stages: list[Stage]) -> Footprint:
    """What stays is what the model held once loaded; the rest of the highest reading is workspace."""
    by_stage = {stage.stage: stage.device_bytes for stage in stages}
    resident = max(by_stage["loaded"], 1)
    return Footprint(resident, max(0, max(by_stage["run peak"], by_stage["steady"]) - resident))


def memory_flags(stages: list[Stage], file_bytes: int) -> list[str]:
    """What an estimate from the file's size cannot see, in words."""
    by_stage = {stage.stage: stage.device_bytes for stage in stages}
    true = footprint(stages)
    highest = max(by_stage["run peak"], by_stage["steady"])
    steady = [
        stage.device_bytes for stage in stages if stage.stage.startswith("run ") and "peak" not in stage.stage
    ]
    flags = []
    if true.resident_bytes > _FAR_ABOVE * file_bytes and true.resident_bytes - file_bytes > _MUCH_BYTES:
        times = true.resident_bytes / file_bytes
        flags.append(f"holds {true.resident_bytes / MIB:.0f} MB, {times:.1f} times the size of its file")
    if true.workspace_bytes > _FAR_ABOVE * file_bytes and true.workspace_bytes > _MUCH_BYTES:
        needs, size = true.workspace_bytes / MIB, file_bytes / MIB
        flags.append(f"a run needs {needs:.0f} MB on top, for a file of {size:.0f} MB")
    if by_stage["load peak"] > highest + _MUCH_BYTES:
        above = (by_stage["load peak"] - highest) / MIB
        flags.append(f"loading takes {above:.0f} MB more than running")
    if by_stage["unloaded"] > by_stage["steady"] / 2 and by_stage["unloaded"] > _NOISE_BYTES:
        kept = by_stage["unloaded"] / MIB
        flags.append(f"unloading leaves {kept:.0f} MB behind")
    growing = all(later > earlier for earlier, later in pairwise(steady))
    if growing and steady[-1] - steady[0] > _NOISE_BYTES:
        grown = (steady[-1] - steady[0]) / MIB / (len(steady) - 1)
        flags.append(f"each run takes {grown:.0f} MB more")
    return flags
