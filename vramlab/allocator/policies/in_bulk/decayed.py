"""Twin of ``decayed``: uses are noted by runs, and counted one by one only for models that may leave."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.decayed import Decayed
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run, Stretch, Whole
from vramlab.allocator.scoring import Exponents

# The least exponent of frequency with which runs of hits are counted late.
_LEAST_FREQUENCY = 1e-3


class DecayedInBulk(Decayed, HearsRuns):
    """Notes the last use and the number of all, and counts them late. Options: those of ``decayed``."""

    def weigh(self, exponents: Exponents) -> None:
        frequency, recency = exponents.frequency, exponents.recency
        # A use then raises the score, by far more than rounding could lower it: one that lags behind the
        # uses is too low, and needs to be set right only when it is the lowest.
        self.takes_runs = frequency >= _LEAST_FREQUENCY and recency >= 0.0
        # What a use adds to a power of the count, at least and with room for rounding.
        self._gain = 1.0 - 1e-6 if frequency >= 1.0 else 0.0
        # What runs of hits have left to be counted, as long as there is a stretch: by the model's number, the
        # uses so far; by use, sorted by model, its time and how much the count has faded since the last one.
        self._stretch: Stretch | None = None
        self._uses: Whole = np.empty(0, dtype=np.int64)
        self._base: list[int] = []
        self._times_s = self._gains = np.empty(0)
        self._half_lives: list[float] = []

    def used(self, model: Model, now_s: float) -> None:
        if self._stretch is not None:
            self._end_stretch()
        super().used(model, now_s)

    def used_together(self, run: Run) -> None:
        if run.stretch is not self._stretch:
            self._begin_stretch(run)
        self._uses[run.numbers] = run.uses_total
        table = self._refresh()
        rows, times_s = table.numbered[run.numbers], run.times_s
        faded = table.value[rows] * np.exp2((times_s - table.since_s[rows]) * self._fading)
        table.value[rows] = faded + self._gains[run.numbers]
        table.since_s[rows] = times_s

    def removed(self, model: Model, evicted: bool) -> None:
        self._catch_up(model)
        super().removed(model, evicted)

    def ranked(self, now_s: float) -> Iterator[Model]:
        if self._stretch is None:
            return super().ranked(now_s)
        table = self._refresh()

        def renewed(model: Model) -> float | None:
            if not self._catch_up(model):
                return None
            at = table.row[model]
            row = slice(at, at + 1)  # a column of one, for the last bit to be that of the other columns
            return float(self.scores(table.value[row], now_s - table.since_s[row])[0])

        return table.ascending(self.scores(table.value, now_s - table.since_s), renewed)

    def _begin_stretch(self, run: Run) -> None:
        if self._stretch is not None:
            self._end_stretch()
        self._stretch = run.stretch
        self._times_s, base = run.stretch.by_model
        self._base = base.tolist()
        self._half_lives = (-np.diff(self._times_s, prepend=0.0) / self._half_life_s).tolist()
        self._uses = np.zeros(len(run.models), dtype=np.int64)
        if len(self._gains) < len(run.models):
            self._gains = self._gain * np.array([self._weighted(model, 1.0) for model in run.models])

    def _end_stretch(self) -> None:
        """Count all that is left to be counted."""
        for model in self._table.row:
            self._catch_up(model)
        self._stretch = None

    def _catch_up(self, model: Model) -> bool:
        """Count the uses that runs have left to be counted. Returns whether there were any."""
        if self._stretch is None:
            return False
        uses: int = self._uses.item(model.number)
        noted = self._counts[model]
        if uses <= noted.uses:
            return False
        base = self._base[model.number]
        first, last = base + noted.uses + 1, base + uses
        to_first_s: float = noted.last_s - self._times_s.item(first)
        count = noted.count * math.pow(2.0, to_first_s / self._half_life_s) + 1.0
        for half_lives in self._half_lives[first + 1 : last + 1]:
            count = count * math.pow(2.0, half_lives) + 1.0
        last_s: float = self._times_s.item(last)
        noted.count, noted.last_s, noted.uses = count, last_s, uses
        table = self._table
        row = table.row[model]
        table.value[row], table.since_s[row] = self._weighted(model, count), last_s
        return True
