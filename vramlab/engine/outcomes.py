"""What the engine writes down of a run: how requests ended, and a row per load, eviction and preload.

A :class:`RecordSink` takes them. :mod:`vramlab.runs` has two: one keeps all rows, one keeps totals.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from math import nan
from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr


class Outcome(IntEnum):
    """How a request ended (DESIGN, "Words")."""

    HIT = 0  # resident when asked for
    COLD_START = 1  # had to be loaded
    WAIT = 2  # joined a load under way
    FALLBACK = 3  # ran on the CPU
    REFUSED = 4  # was not served
    CACHE_HIT = 5  # answered from the result cache, did not reach the allocator
    FAILED = 6  # was served and raised
    CANCELLED = 7  # its caller no longer wanted it

    __hash__ = int.__hash__  # as equal as the numbers, and quick


# For the hot path, as those of :mod:`vramlab.allocator.states`.
HIT: Final[Outcome] = Outcome.HIT
COLD_START: Final[Outcome] = Outcome.COLD_START
WAIT: Final[Outcome] = Outcome.WAIT
FALLBACK: Final[Outcome] = Outcome.FALLBACK
REFUSED: Final[Outcome] = Outcome.REFUSED
CACHE_HIT: Final[Outcome] = Outcome.CACHE_HIT
FAILED: Final[Outcome] = Outcome.FAILED


class LoadRecord(NamedTuple):
    """One load onto the GPU, ended or failed; times in seconds, sizes in bytes."""

    start_s: float
    end_s: float
    model: str
    zone: str
    size_bytes: int
    reason: str = "request"  # or "start" (always loaded), "preload", "bypass" (served and not kept)
    error: str = ""  # why it failed, empty where it did not


class EvictionRecord(NamedTuple):
    """One model that left the GPU; time in seconds, size in bytes."""

    time_s: float
    model: str
    zone: str
    size_bytes: int
    reason: str = "eviction"  # or what the monitor, the defragmenter or the user wanted


class PreloadRecord(NamedTuple):
    """One preload by predicted use; time of the decision in seconds, size in bytes.

    ``fate``: ``useful`` (asked for before it left), ``wasted`` (left before that), ``failed`` (could not be
    loaded), or empty: neither used nor gone by the end of the run. ``settled_s`` is when that was known.
    """

    time_s: float
    model: str
    zone: str
    size_bytes: int
    probability: float
    settled_s: float = nan
    fate: str = ""


class LossRecord(NamedTuple):
    """One request that was not answered: refused, or failed."""

    number: int
    outcome: Outcome
    why: str


class UsageRecord(NamedTuple):
    """Bytes held from `time_s` on, per zone in the order of the configuration."""

    time_s: float
    held_bytes: tuple[int, ...]


class Totals(NamedTuple):
    """How many requests ended in each way, loads ended well and failed, and models were evicted."""

    outcomes: dict[Outcome, int]
    loads: int
    failed_loads: int
    evictions: int


@mypyc_attr(allow_interpreted_subclasses=True)
class RecordSink:
    """Takes what the engine writes down: the base of those who do.

    Attributes
    ----------
    preloads : list of PreloadRecord
        The engine replaces a row once it knows what became of the preload.
    faults : dict of str to float
        What a fault plan did.
    binding : callable
        Set by the engine: counts of the limits that were reached.
    """

    preloads: list[PreloadRecord]
    faults: dict[str, float]
    binding: Callable[[], dict[str, int]]

    def arrived(self, model: str, now_s: float) -> int:
        """Number a request that comes in."""
        raise NotImplementedError

    def arrival_of(self, number: int) -> float:
        """When a request came that is under way, seconds."""
        raise NotImplementedError

    def loaded(self, load: LoadRecord) -> None:
        """Take a load that has ended, well or not."""
        raise NotImplementedError

    def left(self, eviction: EvictionRecord) -> None:
        """Take a model that has left."""
        raise NotImplementedError

    def holds(self, now_s: float, held_bytes: list[int]) -> None:
        """Take the bytes that each zone holds from now on."""
        raise NotImplementedError

    def done(self, number: int, outcome: Outcome, now_s: float, why: str = "") -> None:
        """Note that a request has ended; `why` says how it was lost, if it was."""
        raise NotImplementedError

    def totals(self) -> Totals:
        """Count what has ended so far."""
        raise NotImplementedError
