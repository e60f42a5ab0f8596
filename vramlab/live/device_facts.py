"""What every device says and does, in the words that sessions and drivers use; no device is made here."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from vramlab.live.device_threads import DeviceThreads

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
    others_bytes : int or None
        Taken on the device by other processes; None where the system does not say.
    """

    total_bytes: int
    used_bytes: int
    available_bytes: int
    process_bytes: int | None
    others_bytes: int | None = None


class Demand(NamedTuple):
    """What a session will take: ``weights_bytes`` with the load, ``workspace_bytes`` with its runs.

    Its arena may take ``limit_bytes``; None: no limit.
    """

    weights_bytes: int
    workspace_bytes: int = 0
    limit_bytes: int | None = None


class Place(Protocol):
    """Where one session is: with which providers and options it is made, and what its device knows of it."""

    @property
    def providers(self) -> Providers:
        """Execution providers, the wanted one first."""

    @property
    def entries(self) -> dict[str, str]:
        """Entries of the session's configuration."""

    def held_bytes(self) -> int | None:
        """What the session takes on the device; None where nothing tells it from others."""

    def begin_run(self, what: str) -> None:
        """A run begins; raises OutOfMemory if there is no room for its workspace."""

    def end_run(self, shrink: bool) -> None:
        """A run has ended, after which the arena was shrunk, or was not."""

    def leave(self) -> None:
        """The session is gone."""


class Device(Protocol):
    """What sessions and drivers need to know of a device."""

    @property
    def label(self) -> str:
        """Name in results: ``cpu-emulated``, ``cuda:0``."""

    @property
    def arena(self) -> str:
        """The device's arena in onnxruntime's words, as ``memory.enable_memory_arena_shrinkage`` takes it."""

    @property
    def emulated(self) -> bool:
        """Whether its sessions run on the processor's cores, and fail as they would there."""

    @property
    def keeps_ledger(self) -> bool:
        """Whether memory is what the ledger says; else it has to be measured."""

    @property
    def threads(self) -> DeviceThreads | None:
        """Who loads, runs and closes sessions; None: whoever wants it, at once where several do."""

    @property
    def has_arenas(self) -> bool:
        """Whether its sessions' memory is an arena's, which may have a limit and keeps regions."""

    @property
    def distrusts(self) -> bool:
        """Whether a session that ran out of memory is made anew before it runs again."""

    def memory(self) -> DeviceMemory:
        """Read the device's memory."""

    def placing(self, demand: Demand, doing: str) -> AbstractContextManager[Place]:
        """Within it a session is made; if that fails nothing is charged. Raises OutOfMemory."""

    def promised_bytes(self) -> int:
        """Weights and workspaces of all sessions, whether they were taken yet or not."""

    def taken_bytes(self) -> int | None:
        """What these sessions have taken by now; None where the system does not say."""

    def trim(self) -> None:
        """Hand memory that is kept for later use back to the system, where that can be done."""

    def state(self) -> dict[str, int]:
        """Power state, clocks in MHz and the like, by which times differ; as far as they are told."""

    def describe(self) -> dict[str, Any]:
        """Describe the device in plain values, for the environment of a run."""
