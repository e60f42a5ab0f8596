"""Twin of the greedy-dual family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.greedy_dual import GreedyDual
from vramlab.allocator.policies.heap import Entry
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run, Whole


class GreedyDualInBulk(GreedyDual, HearsRuns):
    """Notes what the values would be made of: a value is needed only once the old one is the lowest."""

    def __init__(self, worth: Callable[[Model], float]) -> None:
        super().__init__(worth)
        # What runs have left to the heap to find out, by the model's number: clock, uses, L of the last use
        self._clock: Whole = np.empty(0, dtype=np.int64)
        self._uses: Whole = self._clock
        self._l = np.empty(0)

    def used_together(self, run: Run) -> None:
        heap, numbers = self._heap, run.numbers
        if heap.renewed is None:
            count = len(run.models)
            self._clock, self._uses = np.zeros((2, count), dtype=np.int64)
            self._l = np.zeros(count)
            heap.renewed = self._renewed
        clock = heap.skip(len(run))
        self._clock[numbers] = np.arange(clock + 1, clock + 1 + len(run))
        self._uses[numbers] = run.uses
        self._l[numbers] = self._inflation

    def _renewed(self, entry: Entry) -> Entry:
        model = entry[2]
        number = model.number
        clock: int = self._clock.item(number)
        if clock <= entry[1]:
            return entry
        return (self._l.item(number) + self._uses.item(number) * self._worth(model), clock, model)
