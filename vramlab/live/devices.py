"""Where models live: a CUDA device that is truly there, or one that is emulated on the CPU.

On the *emulated* device GPU sessions are CPU sessions, run on cores of their own
(:mod:`vramlab.live.cores`). Its ledger is the truth about its memory: a session is charged what it would
take, and a charge past the budget fails as CUDA's allocation would. Results carry its label,
``cpu-emulated``, so that nobody takes its latencies for a GPU's. The other is in :mod:`vramlab.live.cuda`.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from dataclasses import dataclass
from typing import Any, Protocol

import onnxruntime

from vramlab.config.errors import InputError, nearest
from vramlab.live.cores import usable_cores
from vramlab.live.errors import OutOfMemory
from vramlab.live.heap import private_bytes, trim_heap

Providers = list[str | tuple[str, dict[str, str]]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceMemory:
    """What a device says of its memory, in bytes.

    Attributes
    ----------
    total_bytes, used_bytes, available_bytes : int
        Of the whole device, by all processes together.
    process_bytes : int or None
        Taken by this process: on the device where that is real, else of the machine's memory, as far as no
        other process shares it. None where the system does not say.
    """

    total_bytes: int
    used_bytes: int
    available_bytes: int
    process_bytes: int | None


class Device(Protocol):
    """What sessions and drivers need to know of a device."""

    @property
    def label(self) -> str:
        """Name in results: ``cpu-emulated``, ``cuda:0``."""

    @property
    def arena(self) -> str:
        """The device's arena in onnxruntime's words, as ``memory.enable_memory_arena_shrinkage`` takes it."""

    @property
    def keeps_ledger(self) -> bool:
        """Whether memory is what the ledger says; else it has to be measured."""

    def memory(self) -> DeviceMemory:
        """Read the device's memory."""

    def providers(self, limit_bytes: int | None) -> Providers:
        """Execution providers of a session whose arena may take `limit_bytes` (None: no limit)."""

    def admit(self, size_bytes: int, what: str) -> None:
        """Charge `size_bytes` for `what`; raises OutOfMemory if they are not there."""

    def give_back(self, size_bytes: int) -> None:
        """Take a charge back."""

    def trim(self) -> None:
        """Hand memory that is kept for later use back to the system, where that can be done."""

    def describe(self) -> dict[str, Any]:
        """Describe the device in plain values, for the environment of a run."""


class CpuEmulatedDevice:
    """A device of `budget_bytes` whose sessions run on the CPU.

    Parameters
    ----------
    budget_bytes : int
        What all models together may take.
    overhead_bytes : int
        What counts as used before the first model, on top of the budget (context, framework, buffers).
    """

    label = "cpu-emulated"
    arena = "cpu:0"
    keeps_ledger = True

    def __init__(self, budget_bytes: int, overhead_bytes: int = 0) -> None:
        if budget_bytes <= 0:
            raise InputError("device", "budget", f"{budget_bytes} bytes", "more than 0")
        self.budget_bytes = budget_bytes
        self.overhead_bytes = overhead_bytes
        self._charged_bytes = 0
        self._lost_bytes = 0
        self._lock = threading.Lock()

    def memory(self) -> DeviceMemory:
        """Read the ledger; the private memory of the process stands beside it."""
        with self._lock:
            used = self.overhead_bytes + self._charged_bytes + self._lost_bytes
        total = self.budget_bytes + self.overhead_bytes
        return DeviceMemory(total, used, max(0, total - used), private_bytes())

    def providers(self, limit_bytes: int | None) -> Providers:
        """The CPU provider: the ledger keeps the limit."""
        return ["CPUExecutionProvider"]

    def admit(self, size_bytes: int, what: str) -> None:
        """Charge `size_bytes`, or fail as a full device does.

        Raises
        ------
        OutOfMemory
            Nothing is charged then.
        """
        with self._lock:
            free = self.budget_bytes - self._charged_bytes - self._lost_bytes
            if size_bytes > free:
                raise OutOfMemory(
                    f"{what}: Failed to allocate memory for requested buffer of size {size_bytes}, "
                    f"{max(0, free)} bytes are free on {self.label}"
                )
            self._charged_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Take a charge back.

        Raises
        ------
        ValueError
            If more would come back than was charged: somebody's ledger is wrong.
        """
        with self._lock:
            if not 0 <= size_bytes <= self._charged_bytes:
                raise ValueError(f"{size_bytes} bytes given back, {self._charged_bytes} are charged")
            self._charged_bytes -= size_bytes

    def lose(self, size_bytes: int) -> None:
        """Let another process take `size_bytes`, for fault plans; a negative number gives them back."""
        with self._lock:
            self._lost_bytes = max(0, self._lost_bytes + size_bytes)

    def trim(self) -> None:
        """Ask the C library to hand freed memory back, where it can; the ledger does not change."""
        trim_heap()

    def describe(self) -> dict[str, Any]:
        """Label and budget."""
        return {
            "device": self.label,
            "budget_bytes": self.budget_bytes,
            "overhead_bytes": self.overhead_bytes,
        }


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
