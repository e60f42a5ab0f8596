"""Where models live: a CUDA device that is truly there, or one that is emulated on the CPU.

They are in :mod:`vramlab.live.cuda` and :mod:`vramlab.live.emulated`; here one of them is chosen.
"""

from __future__ import annotations

import logging
import os
import platform
from typing import Any

import onnxruntime

from vramlab.config.errors import InputError, nearest
from vramlab.live.cores import usable_cores
from vramlab.live.device_facts import Device
from vramlab.live.emulated import CpuEmulatedDevice

_log = logging.getLogger(__name__)


def choose_device(kind: str = "auto", *, budget_bytes: int, overhead_bytes: int = 0) -> Device:
    """The device to run on.

    Parameters
    ----------
    kind : str
        ``cuda``; ``cuda:1`` for another than the first of the devices that are visible to this process;
        ``cpu-emulated``; or ``auto``, which takes CUDA if a session really runs there and NVML answers, else
        the emulated device.
    budget_bytes, overhead_bytes : int
        Of the emulated device.

    Raises
    ------
    InputError
        If `kind` is unknown, or is ``cuda`` and cannot be had; the line says why.
    """
    known = ("auto", "cuda", "cpu-emulated")
    name, _, index = kind.partition(":")
    if name not in known or (":" in kind and not (name == "cuda" and index.isdecimal())):
        expected = f"one of {', '.join(known)}, cuda:1{nearest(kind, known)}"
        raise InputError("device", "", repr(kind), expected)
    if kind != "cpu-emulated":
        from vramlab.live.cuda import CudaDevice  # loads NVML, which most machines lack

        try:
            device = CudaDevice(int(index or 0))
            device.check()
            return device
        except InputError as refusal:
            if name == "cuda":
                raise
            _log.info("running on the emulated device: %s", refusal)
    return CpuEmulatedDevice(budget_bytes, overhead_bytes)


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
