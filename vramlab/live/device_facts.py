"""What every device says and does, in the words that sessions and drivers use; no device is made here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Providers = list[str | tuple[str, dict[str, str]]]


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
