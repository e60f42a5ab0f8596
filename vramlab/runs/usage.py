"""What was held from when on: in columns, since most of what a simulation leaves behind is that."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from vramlab.engine.outcomes import UsageRecord


class Usage:
    """What was held from when on: rows that are made when they are asked for.

    Kept as rows, they would be most of what the garbage collector goes through after a simulation. No
    subclass of ``Sequence``: that would be no class of the compiler's.

    Parameters
    ----------
    zones : int
        How many zones there are.
    """

    def __init__(self, zones: int) -> None:
        self._zones = zones
        self._times_s = array("d")
        self._held_bytes = array("q")  # zone after zone

    def append(self, row: tuple[float, tuple[int, ...]]) -> None:
        """Take the next row."""
        self._times_s.append(row[0])
        self._held_bytes.extend(row[1])

    def __len__(self) -> int:
        return len(self._times_s)

    def __iter__(self) -> Iterator[UsageRecord]:
        times_s, held_bytes = self.columns()
        return map(UsageRecord, times_s.tolist(), map(tuple, held_bytes.tolist()))

    @overload
    def __getitem__(self, index: int) -> UsageRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[UsageRecord]: ...

    def __getitem__(self, index: int | slice) -> UsageRecord | list[UsageRecord]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        held = self._held_bytes[place * self._zones : (place + 1) * self._zones]
        return UsageRecord(self._times_s[place], tuple(held))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage | list) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., Usage], tuple[Any, ...]]:
        # a class of the compiler's keeps what it holds to itself
        return _held, (self._zones, self._times_s, self._held_bytes)

    def columns(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the times in seconds, shape (rows,), and the bytes held, shape (rows, zones)."""
        held = np.array(self._held_bytes, dtype=np.int64)
        return np.array(self._times_s), held.reshape(len(self), self._zones)


def _held(zones: int, times_s: array[float], held_bytes: array[int]) -> Usage:
    """Make the rows that have travelled from another process."""
    usage = Usage(zones)
    usage._times_s, usage._held_bytes = times_s, held_bytes
    return usage


def usage_columns(
    usage: Sequence[UsageRecord] | Usage,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the times in seconds, shape (rows,), and the bytes held, shape (rows, zones)."""
    if isinstance(usage, Usage):
        return usage.columns()
    held = np.array([row.held_bytes for row in usage], dtype=np.int64)
    return np.array([row.time_s for row in usage]), held
