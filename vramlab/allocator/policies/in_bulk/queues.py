"""Twins of the queues."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import numpy as np

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.policies.at_random import Random
from vramlab.allocator.policies.fifo import FIFO
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run, Whole
from vramlab.allocator.policies.sieve import Sieve


class LRUInBulk(Policy, HearsRuns):
    """Twin of ``lru``: a run only notes the time of each last use.

    Whoever was used so stands behind all that were not, wherever it still is in the queue. It is taken out
    when it comes to the front. Once nobody is left, all are queued anew by their times.
    """

    in_order = True
    merges_uses = True

    def __init__(self) -> None:
        self._order: OrderedDict[Model, None] = OrderedDict()
        self._later: dict[Model, None] = {}  # taken out
        self._clock = 0  # of uses; 0 where there are no runs to look back on
        self._noted: Whole = np.empty(0, dtype=np.int64)  # last use by number; 0 where the queue knows it

    def admitted(self, model: Model, now_s: float) -> None:
        self._order[model] = None
        if self._clock:
            self._clock += 1
            self._noted[model.number] = self._clock

    def used(self, model: Model, now_s: float) -> None:
        if self._clock:
            self._queue_anew()
        self._order.move_to_end(model)

    def used_together(self, run: Run) -> None:
        if not self._clock:
            self._noted = np.zeros(len(run.models), dtype=np.int64)
        first, self._clock = self._clock + 1, self._clock + len(run)
        self._noted[run.numbers] = np.arange(first, self._clock + 1)

    def removed(self, model: Model, evicted: bool) -> None:
        if self._clock and model in self._later:
            del self._later[model]
        else:
            del self._order[model]

    def score(self, model: Model, now_s: float) -> float:
        return model.last_used_s

    def ranked(self, now_s: float) -> Iterable[Model]:
        if not self._clock:
            return self._order
        order, last_use = self._order, self._noted.item
        while order and last_use((first := next(iter(order))).number):
            del order[first]
            self._later[first] = None
        if not order:
            self._queue_anew()
            return order
        return self._looking_back()

    def _looking_back(self) -> Iterator[Model]:
        last_use = self._noted.item
        for model in self._order:
            if not last_use(model.number):
                yield model
        yield from self._used_in_runs()

    def _used_in_runs(self) -> list[Model]:
        """List the models that the queue has not followed, the least recently used first."""
        last_use = self._noted.item
        used = [model for model in (*self._order, *self._later) if last_use(model.number)]
        return sorted(used, key=lambda model: last_use(model.number))

    def _queue_anew(self) -> None:
        for model in self._used_in_runs():
            self._order.pop(model, None)
            self._order[model] = None
        self._later.clear()
        self._clock = 0


class FIFOInBulk(FIFO, HearsRuns):
    """Twin of ``fifo``: being used often changes nothing either."""

    def used_together(self, run: Run) -> None: ...


class RandomInBulk(Random, HearsRuns):
    """Twin of ``random``: being used often changes nothing either."""

    def used_together(self, run: Run) -> None: ...


class SieveInBulk(Sieve, HearsRuns):
    """Twin of ``sieve``: a run marks all its models at once."""

    def used_together(self, run: Run) -> None:
        self._visited.update(run.in_order())
