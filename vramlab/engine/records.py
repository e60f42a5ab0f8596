"""What a replay leaves behind: one outcome per request, one row per load and per eviction.

Filled by whoever serves (the engine under either driver, or decide mode) and read by the analysis. Arrays
are per request, in the order of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Outcome(IntEnum):
    """How a request ended (DESIGN, "Words")."""

    HIT = 0  # resident when asked for
    COLD_START = 1  # had to be loaded
    WAIT = 2  # joined a load under way
    FALLBACK = 3  # ran on the CPU
    REFUSED = 4  # was not served
    CACHE_HIT = 5  # answered from the result cache, did not reach the allocator
    FAILED = 6  # was served and raised


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


class UsageRecord(NamedTuple):
    """Bytes held from `time_s` on, per zone in the order of the configuration."""

    time_s: float
    held_bytes: tuple[int, ...]


@dataclass(eq=False)
class Records:
    """All records of one run.

    Parameters
    ----------
    model_names : list of str
        Names behind `model_codes`.
    model_codes : ndarray of int32, shape (requests,)
        Which model each request asked for.
    arrival_s, finish_s : ndarray of float64, shape (requests,)
        Times in seconds; `finish_s` is that of the answer, or of the refusal.
    outcomes : ndarray of uint8, shape (requests,)
        Values of :class:`Outcome`.
    zone_names : list of str
        Zones in the order of the configuration.
    loads, evictions, usage : list
        In the order of time.
    """

    model_names: list[str]
    model_codes: npt.NDArray[np.int32]
    arrival_s: npt.NDArray[np.float64]
    outcomes: npt.NDArray[np.uint8]
    finish_s: npt.NDArray[np.float64]
    zone_names: list[str]
    loads: list[LoadRecord] = field(default_factory=list)
    evictions: list[EvictionRecord] = field(default_factory=list)
    usage: list[UsageRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.outcomes)
