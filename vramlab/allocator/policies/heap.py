"""Residents ordered by a value that changes only when they are used."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any, Final

from vramlab.allocator.facts import Model

Entry = tuple[Any, ...]
"""Value, clock and model. As the type of three fields it would be taken apart wherever it goes (mypyc)."""

_push: Final = heapq.heappush  # the compiler finds it without a look-up
_RENEWED: Final = -1  # in the place of a place in the heap: an entry that does not stand there yet


class ValueHeap:
    """A heap whose outdated entries are dropped when they come up.

    A new value is one push; the first to leave costs O(log n), as does each further one. Of equal values the
    one that was set first leaves first.

    Values that only rise need not be set at each use: who says what a model's entry is by now (`renewed`)
    is asked when the old one comes up, and only then.
    """

    def __init__(self) -> None:
        self.renewed: Callable[[Entry], Entry] | None = None  # the entry as it should be, itself if it is so
        self.entries: dict[Model, Entry] = {}
        self._heap: list[Entry] = []
        self._clock = 0

    def put(self, model: Model, value: float) -> None:
        """Give `model`, tracked or not, a value."""
        self._clock += 1  # no two entries are equal, so that models are never compared
        entry: Entry = (value, self._clock, model)
        self.entries[model] = entry
        _push(self._heap, entry)
        if len(self._heap) > 64 + 4 * len(self.entries):
            self._heap = list(self.entries.values())
            heapq.heapify(self._heap)

    def skip(self, uses: int) -> int:
        """Let the clock go on by so many uses whose entries are renewed later; returns what it was."""
        clock = self._clock
        self._clock += uses
        return clock

    def remove(self, model: Model) -> float:
        """Forget `model`; returns its value."""
        return self._value(self.entries.pop(model))

    def value(self, model: Model) -> float | None:
        """Value of `model`, None where it is not tracked."""
        entry = self.entries.get(model)
        return None if entry is None else self._value(entry)

    def ascending(self) -> Iterator[Model]:
        """List models, the least value first: a walk down the heap that leaves it as it is."""
        heap, entries, renewed = self._heap, self.entries, self.renewed
        while heap:
            entry = heap[0]
            if entries.get(entry[2]) is not entry:
                heapq.heappop(heap)
            elif renewed is not None and (now := renewed(entry)) is not entry:
                entries[entry[2]] = now
                heapq.heapreplace(heap, now)
            else:
                break
        front = [(heap[0], 0)] if heap else []
        while front:
            entry, place = heapq.heappop(front)
            if place == _RENEWED:
                yield entry[2]
                continue
            if entries.get(entry[2]) is entry:
                if renewed is not None and (now := renewed(entry)) is not entry:
                    _push(front, (now, _RENEWED))
                else:
                    yield entry[2]
            for child in (2 * place + 1, 2 * place + 2):
                if child < len(heap):
                    _push(front, (heap[child], child))

    def _value(self, entry: Entry) -> float:
        value: float = entry[0] if self.renewed is None else self.renewed(entry)[0]
        return value
