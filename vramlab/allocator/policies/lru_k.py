"""LRU-K: who was asked for K times leaves by the K-th last time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.policies.heap import ValueHeap


@mypyc_attr(allow_interpreted_subclasses=True)
class LRUK(Policy):
    """The model whose K-th last use is longest ago leaves first; those used less often than K before all.

    Source: E. J. O'Neil, P. E. O'Neil, G. Weikum, "The LRU-K page replacement algorithm for database disk
    buffering", SIGMOD 1993. As there, the history of a model outlives its eviction; an inventory is small,
    so it is kept for good. Time is counted in uses of the zone's models. Models used less than K times
    leave in the order of their last use. libCacheSim's LRUK forgets on eviction (``keeps_history`` false).

    Parameters
    ----------
    k : int
        How many uses back the order looks; 1 is LRU.
    keeps_history : int
        Whether uses before an eviction count: options are numbers, 0 or 1.
    """

    in_order = True

    def __init__(self, k: int = 2, keeps_history: int = True) -> None:
        if k < 1:
            raise ValueError("k: expected 1 or more")
        self._k, self._keeps_history = k, bool(keeps_history)
        self._uses: dict[Model, deque[int]] = {}
        self._heap = ValueHeap()
        self._clock = 0

    def admitted(self, model: Model, now_s: float) -> None:
        if model.uses:
            self.used(model, now_s)
        else:
            self._heap.put(model, self.score(model, now_s))

    def used(self, model: Model, now_s: float) -> None:
        self._clock += 1
        uses = self._uses.get(model)
        if uses is None:
            uses = self._uses[model] = deque(maxlen=self._k)
        uses.append(self._clock)
        self._heap.put(model, self.score(model, now_s))

    def removed(self, model: Model, evicted: bool) -> None:
        self._heap.remove(model)
        if not self._keeps_history:
            self._uses.pop(model, None)

    def score(self, model: Model, now_s: float) -> float:
        uses = self._uses.get(model)
        return float(uses[0]) if uses is not None and len(uses) == self._k else -math.inf

    def ranked(self, now_s: float) -> Iterator[Model]:
        return self._heap.ascending()
