"""Where in a zone the models lie: extents (offset, length), and how broken up the holes between them are.

A map covers the bytes from 0 to the size of its zone. What must hold at every moment:

1. Extents of what is placed and holes do not overlap, and together are the whole zone.
2. Holes do not touch: two that meet are one.
3. A model's extents add up to its bytes; where placement is contiguous it has one.

Best fit: a newcomer goes into the smallest hole that takes it whole, of equal ones the first. Under ``paged``
placement one that fits nowhere whole is spread over holes, the largest first, so that it has few pieces.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple


class Extent(NamedTuple):
    """Bytes from `offset` to ``offset + length`` of a zone."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.length

    def overlaps(self, other: Extent) -> bool:
        """Whether the two have a byte in common."""
        return self.offset < other.end and other.offset < self.end


class ExtentMap:
    """The extents of one zone.

    Parameters
    ----------
    size : int
        Bytes of the zone.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.placed: dict[str, tuple[Extent, ...]] = {}
        self._holes: list[Extent] = []  # by offset
        self._lengths: list[tuple[int, int]] = []  # the same as (length, offset), by length
        self._open(Extent(0, size))

    # -- holes -------------------------------------------------------------------------------------------

    @property
    def holes(self) -> tuple[Extent, ...]:
        """Free extents, by offset."""
        return tuple(self._holes)

    @property
    def free(self) -> int:
        """Bytes of all holes."""
        return sum(hole.length for hole in self._holes)

    @property
    def largest(self) -> int:
        """Bytes of the largest hole, 0 if there is none."""
        return self._lengths[-1][0] if self._lengths else 0

    @property
    def fragmentation(self) -> float:
        """``1 - largest hole / all free bytes``; 0 where nothing is free (DESIGN, "Fragmentation")."""
        free = self.free
        return 1.0 - self.largest / free if free else 0.0

    def largest_without(self, names: Iterable[str]) -> int:
        """Bytes of the largest hole if these models were gone."""
        gone = [extent for name in names for extent in self.placed[name]]
        largest = length = end = 0
        for extent in sorted([*self._holes, *gone]):
            length = length + extent.length if extent.offset == end else extent.length
            end = extent.end
            largest = max(largest, length)
        return largest

    def is_free(self, extents: Iterable[Extent]) -> bool:
        """Whether all these bytes lie in holes."""
        return all(self._hole_around(extent) is not None for extent in extents)

    # -- placing and removing ----------------------------------------------------------------------------

    def place_whole(self, name: str, size: int) -> None:
        """Place a model in the smallest hole that takes it.

        Raises
        ------
        ValueError
            If none does.
        """
        best = bisect_left(self._lengths, (size, 0))
        if best == len(self._lengths):
            raise ValueError(f"{name}: no hole of {size} bytes, the largest has {self.largest}")
        self.place_at(name, (Extent(self._lengths[best][1], size),))

    def place_paged(self, name: str, size: int) -> None:
        """Place a model in the smallest hole that takes it, or else spread over the largest ones.

        Raises
        ------
        ValueError
            If all holes together do not take it.
        """
        if size <= self.largest:
            self.place_whole(name, size)
            return
        if size > self.free:
            raise ValueError(f"{name}: {size} bytes, {self.free} are free")
        extents, missing = [], size
        for length, offset in sorted(self._lengths, key=lambda hole: (-hole[0], hole[1])):
            extents.append(Extent(offset, min(length, missing)))
            missing -= extents[-1].length
            if not missing:
                break
        self.place_at(name, extents)

    def place_at(self, name: str, extents: Iterable[Extent]) -> None:
        """Place a model there.

        Raises
        ------
        ValueError
            If it is placed already, or a byte of it is not free.
        """
        if name in self.placed:
            raise ValueError(f"{name} is placed already")
        taken: list[Extent] = []
        for extent in extents:
            index = self._hole_around(extent)
            if index is None:
                for before in taken:
                    self._open(before)
                raise ValueError(f"{name}: {extent} is not free")
            hole = self._drop(index)
            for start, end in ((hole.offset, extent.offset), (extent.end, hole.end)):
                if start < end:
                    self._insert(Extent(start, end - start))
            taken.append(extent)
        self.placed[name] = tuple(taken)

    def remove(self, name: str) -> tuple[Extent, ...]:
        """Take a model out; its extents become holes. Returns them."""
        extents = self.placed.pop(name)
        for extent in extents:
            self._open(extent)
        return extents

    def discard(self, name: str) -> None:
        """Take a model out if it is placed."""
        if name in self.placed:
            self.remove(name)

    def _hole_around(self, extent: Extent) -> int | None:
        """Index of the hole that `extent` lies in."""
        index = bisect_left(self._holes, (extent.offset + 1, 0)) - 1
        return index if index >= 0 and extent.end <= self._holes[index].end else None

    def _open(self, extent: Extent) -> None:
        """Make a hole, one with those that it touches."""
        start, end = extent.offset, extent.end
        index = bisect_left(self._holes, extent)
        if index < len(self._holes) and self._holes[index].offset == end:
            end = self._drop(index).end
        if index and self._holes[index - 1].end == start:
            start = self._drop(index - 1).offset
        if start < end:
            self._insert(Extent(start, end - start))

    def _drop(self, index: int) -> Extent:
        hole = self._holes.pop(index)
        del self._lengths[bisect_left(self._lengths, (hole.length, hole.offset))]
        return hole

    def _insert(self, hole: Extent) -> None:
        insort(self._holes, hole)
        insort(self._lengths, (hole.length, hole.offset))
