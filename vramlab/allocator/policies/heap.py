"""Residents ordered by a value that changes only when they are used."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from vramlab.allocator.models import Model

Entry = tuple[float, int, Model]


class ValueHeap:
    """A heap whose outdated entries are dropped when they come up.

    A new value is one push; the first to leave costs O(log n), as does each further one. Of equal values the
    one that was set first leaves first.
    """

    def __init__(self) -> None:
        self.entries: dict[Model, Entry] = {}
        self._heap: list[Entry] = []
        self._clock = 0

    def put(self, model: Model, value: float) -> None:
        """Give `model`, tracked or not, a value."""
        self._clock += 1  # no two entries are equal, so that models are never compared
        entry = (value, self._clock, model)
        self.entries[model] = entry
        heappush(self._heap, entry)
        if len(self._heap) > 64 + 4 * len(self.entries):
            self._heap = list(self.entries.values())
            heapify(self._heap)

    def remove(self, model: Model) -> float:
        """Forget `model`; returns its value."""
        return self.entries.pop(model)[0]

    def value(self, model: Model) -> float | None:
        """Value of `model`, None where it is not tracked."""
        entry = self.entries.get(model)
        return None if entry is None else entry[0]

    def ascending(self) -> Iterator[Model]:
        """Models, the least value first: a walk down the heap that leaves it as it is."""
        heap, entries = self._heap, self.entries
        while heap and entries.get(heap[0][2]) is not heap[0]:
            heappop(heap)
        front = [(heap[0], 0)] if heap else []
        while front:
            entry, place = heappop(front)
            if entries.get(entry[2]) is entry:
                yield entry[2]
            for child in (2 * place + 1, 2 * place + 2):
                if child < len(heap):
                    heappush(front, (heap[child], child))
