"""What was held from when on: in columns, since most of what a simulation leaves behind is that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        self._flat: list[Any] = []  # of each row its time, then the bytes of each zone

    def append(self, time_s: float, held_bytes: list[int]) -> None:
        """Take the next row: a time in seconds, and the bytes that each zone holds from then on."""
        self._flat.append(time_s)
        self._flat.extend(held_bytes)

    def __len__(self) -> int:
        return len(self._flat) // (1 + self._zones)

    def __iter__(self) -> Iterator[UsageRecord]:
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> UsageRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[UsageRecord]: ...

    def __getitem__(self, index: int | slice) -> UsageRecord | list[UsageRecord]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        width = 1 + self._zones
        start = range(len(self))[index] * width
        return UsageRecord(self._flat[start], tuple(self._flat[start + 1 : start + width]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage | list) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., Usage], tuple[Any, ...]]:
        # a class of the compiler's keeps what it holds to itself
        return _held, (self._zones, self._flat)

    def columns(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the times in seconds, shape (rows,), and the bytes held, shape (rows, zones)."""
        flat, width = self._flat, 1 + self._zones
        held = np.array([flat[zone::width] for zone in range(1, width)], dtype=np.int64)
        return np.array(flat[::width], dtype=np.float64), held.reshape(self._zones, len(self)).T


def _held(zones: int, flat: list[Any]) -> Usage:
    """Make the rows that have travelled from another process."""
    usage = Usage(zones)
    usage._flat = flat
    return usage
