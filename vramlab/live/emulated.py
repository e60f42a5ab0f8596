"""A device that is emulated on the CPU, whose ledger is the truth about its memory.

GPU sessions are CPU sessions there, run on cores of their own (:mod:`vramlab.live.cores`). A session is
charged what it would take, and a charge past the budget fails as CUDA's allocation would. Results carry its
label, ``cpu-emulated``, so that nobody takes its latencies for a GPU's.
"""

from __future__ import annotations

import threading
from typing import Any

from vramlab.config.errors import InputError
from vramlab.live.device_facts import DeviceMemory, Providers
from vramlab.live.errors import OutOfMemory
from vramlab.live.heap import private_bytes, trim_heap


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
