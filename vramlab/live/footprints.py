"""What a model truly takes: memory at each step of its life, and what an estimate from its file cannot see.

On CUDA this process's memory on the device is read where the driver says it, else the whole device's. On the
emulated device the ledger is the truth; the resident set of the process stands beside it and changes no
footprint, as it depends on everything else that the process did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.engine.effects import Target
from vramlab.live.devices import Device, resident_bytes
from vramlab.live.inputs import make_inputs
from vramlab.live.sessions import make_session

_POLL_S = 0.001
_STEADY_RUNS = 4
# A difference below this is the allocator's rounding, or another process's doing.
_NOISE_BYTES = 2 * MIB
_T = TypeVar("_T")


class Stage(NamedTuple):
    """Memory at one step of a model's life, above what was taken before it was loaded; bytes.

    ``load peak`` and ``run peak`` are the highest readings while it was loaded and run; ``run 2``, ``run 3``
    and so on follow ``first run at batch_size``.
    """

    model: str
    target: str
    stage: str
    device_bytes: int
    process_bytes: int | None


@dataclass(frozen=True)
class Footprint:
    """What stays while a model is loaded, and what its runs need on top; bytes."""

    resident_bytes: int
    workspace_bytes: int


def measure_memory(name: str, spec: ModelSpec, device: Device, target: Target) -> list[Stage]:
    """Load, run and drop a model, and read the memory at each step; blocks.

    Raises
    ------
    SessionError
        If the model cannot be loaded or run.
    """
    on_device = target is Target.GPU
    # With a known workspace the arena would be limited to what is to be found out.
    asked = spec if device.keeps_ledger else spec.model_copy(update={"workspace_mb": 0.0})

    def read() -> int:
        memory = device.memory()
        if not on_device:
            return resident_bytes() or 0
        if device.keeps_ledger or memory.process_bytes is None:
            return memory.used_bytes
        return memory.process_bytes

    before, before_process = read(), resident_bytes()
    stages: list[Stage] = []

    def note(stage: str, value: int) -> None:
        process = resident_bytes()
        beside = process - before_process if process is not None and before_process is not None else None
        stages.append(Stage(name, target.value, stage, value - before, beside))

    path = Path(str(spec.path))
    session, peak = _watched(lambda: make_session(path, asked, device if on_device else None), read)
    try:
        note("load peak", peak)
        note("loaded", read())
        rng = np.random.default_rng(0)
        peak = 0
        for stage, items in (("first run at batch 1", 1), ("first run at batch_size", session.batch_size)):
            inputs = make_inputs(session, items, rng)
            _, seen = _watched(lambda inputs=inputs: session.run(inputs), read)  # type: ignore[misc]
            peak = max(peak, seen)
            note(stage, read())
        for number in range(2, 2 + _STEADY_RUNS):
            session.run(inputs)
            note(f"run {number}", read())
        note("run peak", max(peak, read()))
        note("steady", read())
    finally:
        session.close()
    if on_device:
        device.trim()
    note("unloaded", read())
    return stages


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


def memory_flags(stages: list[Stage]) -> list[str]:
    """What an estimate from the file's size cannot see, in words."""
    by_stage = {stage.stage: stage.device_bytes for stage in stages}
    highest = max(by_stage["run peak"], by_stage["steady"])
    steady = [
        stage.device_bytes for stage in stages if stage.stage.startswith("run ") and "peak" not in stage.stage
    ]
    flags = []
    if by_stage["load peak"] > highest + _NOISE_BYTES:
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
