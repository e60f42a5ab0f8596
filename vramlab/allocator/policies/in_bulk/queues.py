"""Twins of the queues."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.at_random import Random
from vramlab.allocator.policies.fifo import FIFO
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run, Whole
from vramlab.allocator.policies.lru import LRU
from vramlab.allocator.policies.sieve import Sieve


class LRUInBulk(LRU, HearsRuns):
    """Twin of ``lru``: a run only notes the time of each last use.

    As long as there are runs, nobody is moved. Those present stand in line as they were used last when it
    was drawn up. The first of them who was not used since is the one to leave; once all were, it is drawn up
    anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self._models: Sequence[Model] = ()
        self._clock = 0  # of uses; 0 where there are no runs to look back on
        self._noted: Whole = np.empty(
            0, dtype=np.int64
        )  # last use by the model's number; 0 where it is absent
        self._line: list[tuple[int, int]] = []  # last uses when it was drawn up, and the models' numbers
        self._first = 0  # place in it, before which all were used since, or have left

    def admitted(self, model: Model, now_s: float) -> None:
        if self._clock:
            self._clock += 1
            self._noted[model.number] = self._clock
        else:
            self._order[model] = None

    def used(self, model: Model, now_s: float) -> None:
        if self._clock:
            self._draw_up()
            self._order = OrderedDict.fromkeys(self._models[number] for _, number in self._line)
            self._clock = 0
        self._order.move_to_end(model)

    def used_together(self, run: Run) -> None:
        if not self._clock:
            self._models = run.models
            self._noted = np.zeros(len(run.models), dtype=np.int64)
            self._clock = len(self._order)
            self._noted[[model.number for model in self._order]] = np.arange(1, self._clock + 1)
            self._draw_up()
        first, self._clock = self._clock + 1, self._clock + len(run)
        self._noted[run.numbers] = np.arange(first, self._clock + 1)

    def removed(self, model: Model, evicted: bool) -> None:
        if self._clock:
            self._noted[model.number] = 0
        else:
            del self._order[model]

    def ranked(self, now_s: float) -> Iterable[Model]:
        return self._by_last_use() if self._clock else self._order

    def _by_last_use(self) -> Iterator[Model]:
        last_use = self._noted.item
        count, place = 0, self._first
        while True:
            line = self._line
            while place < len(line) and last_use(line[place][1]) != line[place][0]:
                place += 1
            if not count:
                self._first = place
            if place == len(line):
                self._draw_up()
                place = count  # these stand in front still
                if place == len(self._line):
                    return
            else:
                yield self._models[line[place][1]]
                count += 1
                place += 1

    def _draw_up(self) -> None:
        numbers = np.flatnonzero(self._noted)
        last_uses = self._noted[numbers]
        order = np.argsort(last_uses)
        self._line = list(zip(last_uses[order].tolist(), numbers[order].tolist(), strict=True))
        self._first = 0


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
