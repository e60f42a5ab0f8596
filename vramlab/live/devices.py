"""Where models live: on CUDA, by way of WebGPU, or on a device that is emulated on the CPU.

They are in :mod:`.cuda`, :mod:`.webgpu`, :mod:`.emulated` and :mod:`.cpu_arena`; here one of them is chosen.
"""

from __future__ import annotations

import logging
import os
import platform
from typing import Any

import onnxruntime

from vramlab.config.errors import InputError, nearest
from vramlab.live.cores import usable_cores
from vramlab.live.cpu_arena import CpuArenaDevice
from vramlab.live.device_facts import Device
from vramlab.live.emulated import CpuEmulatedDevice
from vramlab.live.webgpu import WebGpuDevice

_log = logging.getLogger(__name__)


KINDS = ("auto", "cuda", "webgpu", "cpu-emulated", "cpu-arena")


def choose_device(
    kind: str = "auto",
    *,
    budget_bytes: int,
    overhead_bytes: int = 0,
    shared_bytes: int | None = None,
    streams: int = 1,
    tf32: bool = False,
) -> Device:
    """The device to run on.

    Parameters
    ----------
    kind : str
        ``cuda``; ``cuda:1`` for another than the first of the devices that are visible to this process;
        ``webgpu``; ``cpu-emulated``; ``cpu-arena``, on the CPU too, in arenas with limits; or ``auto``, which
        takes CUDA if a session really runs there and NVML answers, else ``cpu-emulated``.
    budget_bytes, overhead_bytes : int
        What all models together may take, and what counts as used before the first; on CUDA only the former
        matters, as the size of a shared arena.
    shared_bytes : int, optional
        What all sessions have as their one workspace together; by default each has its own.
    streams : int
        Threads that sessions are shared out to, where a device has threads.
    tf32 : bool
        See :class:`.CudaDevice`.

    Raises
    ------
    InputError
        If `kind` is unknown, or is ``cuda`` and cannot be had; the line says why.
    """
    name, _, index = kind.partition(":")
    if name not in KINDS or (":" in kind and not (name == "cuda" and index.isdecimal())):
        expected = f"one of {', '.join(KINDS)}, cuda:1{nearest(kind, KINDS)}"
        raise InputError("device", "", repr(kind), expected)
    if name == "webgpu":
        return WebGpuDevice(budget_bytes, overhead_bytes, shared_bytes)
    if name == "cpu-arena":
        return CpuArenaDevice(budget_bytes, overhead_bytes, shared_bytes, streams)
    if name != "cpu-emulated":
        from vramlab.live.cuda import CudaDevice  # loads NVML, which most machines lack

        try:
            device = CudaDevice(int(index or 0), budget_bytes, shared_bytes, streams, tf32)
            device.check()
            return device
        except InputError as refusal:
            if name == "cuda":
                raise
            _log.info("running on the emulated device: %s", refusal)
    return CpuEmulatedDevice(budget_bytes, overhead_bytes, shared_bytes)


def describe(device: Device) -> dict[str, Any]:
    """Everything about the machine that a result depends on, in plain values.

    Latencies and decisions of two runs can be compared where these agree.
    """
    return {
        **device.describe(),
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_count": len(usable_cores()) or os.cpu_count(),
    }
