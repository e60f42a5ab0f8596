"""Residents ordered by a value that changes only when they are used, and then nearly always rises."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from vramlab.allocator.facts import Model

Entry = tuple[Any, ...]
"""Value, clock, model, clock of the entry in the heap. With the types of its fields it would come apart."""

_push: Final = heapq.heappush  # the compiler finds it without a look-up
_RAISED: Final = -1  # in the place of a place in the heap: an entry that does not stand there yet


class ValueHeap:
    """A heap whose entries are set right, or dropped, when they come up.

    A value that rises costs no more than to note it, as the old one comes up before; one that falls is one
    push. The first to leave costs O(log n), as does each further one. Of equal values the one that was set
    first leaves first.
    """

    def __init__(self) -> None:
        self.entries: dict[Model, Entry] = {}
        self._heap: list[Entry] = []
        self._clock = 0

    def put(self, model: Model, value: float) -> None:
        """Give `model`, tracked or not, a value."""
        self._clock += 1  # no two entries are equal, so that models are never compared
        before = self.entries.get(model)
        if before is not None and value >= before[0]:
            self.entries[model] = (value, self._clock, model, before[3])
            return
        entry = self.entries[model] = (value, self._clock, model, self._clock)
        _push(self._heap, entry)
        if len(self._heap) > 64 + 4 * len(self.entries):
            self._heap = list(self.entries.values())
            heapq.heapify(self._heap)

    def remove(self, model: Model) -> float:
        """Forget `model`; returns its value."""
        value: float = self.entries.pop(model)[0]
        return value

    def value(self, model: Model) -> float | None:
        """Value of `model`, None where it is not tracked."""
        entry = self.entries.get(model)
        return None if entry is None else entry[0]

    def ascending(self) -> Iterator[Model]:
        """List models, the least value first: a walk down the heap that leaves its order as it is."""
        heap = self._heap
        while heap and (entry := self._now(heap[0])) is not heap[0]:
            if entry is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, entry)
        front = [(heap[0], 0)] if heap else []
        while front:
            entry, place = heapq.heappop(front)
            now = entry if place == _RAISED else self._now(entry)
            if now is entry:
                yield entry[2]
            elif now is not None:
                _push(front, (now, _RAISED))
            if place == _RAISED:
                continue
            for child in (2 * place + 1, 2 * place + 2):
                if child < len(heap):
                    _push(front, (heap[child], child))

    def _now(self, entry: Entry) -> Entry | None:
        """What an entry has become; None if none stands for its model, or another one."""
        now = self.entries.get(entry[2])
        return now if now is not None and now[3] == entry[3] else None
