"""A device that is emulated on the CPU, whose ledger is the truth about its memory.

GPU sessions are CPU sessions there, run on cores of their own (:mod:`vramlab.live.cores`). A session is
charged what it would take, and a charge past the budget fails as CUDA's allocation would. Results carry its
label, ``cpu-emulated``, so that nobody takes its latencies for a GPU's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from vramlab.config.errors import InputError
from vramlab.live.device_facts import Demand, DeviceMemory, Place
from vramlab.live.heap import private_bytes, trim_heap
from vramlab.live.places import ChargedPlace, Ledger, SharedWorkspace


class CpuEmulatedDevice:
    """A device of `budget_bytes` whose sessions run on the CPU.

    Parameters
    ----------
    budget_bytes : int
        What all models together may take.
    overhead_bytes : int
        What counts as used before the first model, on top of the budget (context, framework, buffers).
    shared_bytes : int, optional
        What all sessions have as their one workspace together; by default each has its own.
    """

    label = "cpu-emulated"
    arena = "cpu:0"
    emulated = True
    keeps_ledger = True
    distrusts = False
    has_arenas = False
    threads = None

    def __init__(self, budget_bytes: int, overhead_bytes: int = 0, shared_bytes: int | None = None) -> None:
        if budget_bytes <= 0:
            raise InputError("device", "budget", f"{budget_bytes} bytes", "more than 0")
        self.budget_bytes = budget_bytes
        self.overhead_bytes = overhead_bytes
        self._ledger = Ledger(budget_bytes, self.label)
        self._shared = None if shared_bytes is None else SharedWorkspace(self._ledger, shared_bytes)
        # charging and losing by hand, for tests and fault plans
        self.admit, self.give_back, self.lose = (
            self._ledger.admit,
            self._ledger.give_back,
            self._ledger.lose,
        )

    def memory(self) -> DeviceMemory:
        """Read the ledger; the private memory of the process stands beside it."""
        lost = self._ledger.lost_bytes
        used = self.overhead_bytes + self._ledger.charged_bytes + lost
        total = self.budget_bytes + self.overhead_bytes
        return DeviceMemory(total, used, max(0, total - used), private_bytes(), lost)

    def placing(self, demand: Demand, doing: str) -> AbstractContextManager[Place]:
        """Charge the weights; the ledger keeps the limit."""
        return ChargedPlace(self._ledger, demand, self._shared, ["CPUExecutionProvider"]).entered(doing)

    def promised_bytes(self) -> int:
        """Weights and workspaces of all sessions."""
        return self._ledger.promised_bytes

    def taken_bytes(self) -> int | None:
        """What was charged."""
        return self._ledger.charged_bytes

    def trim(self) -> None:
        """Ask the C library to hand freed memory back, where it can; the ledger does not change."""
        trim_heap()

    def state(self) -> dict[str, int]:
        """Nothing that changes its speed is known."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Label and budget."""
        return {
            "device": self.label,
            "budget_bytes": self.budget_bytes,
            "overhead_bytes": self.overhead_bytes,
        }
