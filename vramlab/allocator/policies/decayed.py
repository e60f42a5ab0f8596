"""The score with a count of uses that forgets, also where runs of hits are handed in as columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.scores import LogLinearScore
from vramlab.allocator.runs import Run, Stretch
from vramlab.allocator.scoring import Exponents, Numbers, aged

# The least exponent of frequency with which runs of hits are counted late.
_LEAST_FREQUENCY = 1e-3

# The count of a model that was preloaded and never used: not 0, which has no negative power.
_LEAST_COUNT = 1e-6


class DecayedScore(LogLinearScore):
    """The score family with a count of uses that forgets: a use counts half after each half-life.

    In the place of ``n + 1`` stands the sum of ``2 ** (-t / half_life)`` over all uses, ``t`` seconds ago.
    Source: exponentially decayed counts as in LRFU (D. Lee et al., "LRFU: a spectrum of policies that
    subsumes the least recently used and least frequently used policies", IEEE Transactions on Computers
    50(12), 2001), here with cost and size, and kept through evictions. Uses that the policy was not told
    of, since the model was not admitted, count from the next time that it is.

    Parameters
    ----------
    exponents : Exponents
        Of priority, frequency, recency, size and cost.
    half_life_s : float
        Half-life of a use, seconds.
    """

    merges_uses = False  # the sum depends on the time of each use

    def __init__(self, exponents: Exponents, half_life_s: float) -> None:
        super().__init__(exponents)
        # A use then raises the score, by far more than rounding could lower it: one that lags behind the
        # uses is too low, and needs to be set right only when it is the lowest.
        self.takes_runs = exponents.frequency >= _LEAST_FREQUENCY and exponents.recency >= 0.0
        # What a use adds to a power of the count, at least and with room for rounding.
        self._gain = 1.0 - 1e-6 if exponents.frequency >= 1.0 else 0.0
        self._half_life_s = half_life_s
        self._fading = -exponents.frequency / half_life_s
        self._counts: dict[Model, tuple[float, float, int]] = {}  # count at a time, and of how many uses
        # What runs of hits have left to be counted, as long as there is a stretch: by the model's number, the
        # uses so far; by use, sorted by model, its time and how much the count has faded since the last one.
        self._stretch: Stretch | None = None
        self._uses = np.empty(0, dtype=np.int64)
        self._base: list[int] = []
        self._times_s = self._gains = np.empty(0)
        self._half_lives: list[float] = []

    def admitted(self, model: Model, now_s: float) -> None:
        """Track `model` and count its use."""
        self._counts[model] = self._count(model)
        super().admitted(model, now_s)

    def used(self, model: Model, now_s: float) -> None:
        """Count a use."""
        if self._stretch is not None:
            self._end_stretch()
        self._counts[model] = self._count(model)
        self._stale[model] = None

    def used_together(self, run: Run) -> None:
        """Note the last use and the number of all, and count one of them until the score is the lowest."""
        if run.stretch is not self._stretch:
            self._begin_stretch(run)
        self._uses[run.numbers] = run.uses_total
        table = self._refresh() if self._stale else self._table
        rows, times_s = table.numbered[run.numbers], run.times_s
        faded = table.value[rows] * self._faded(times_s - table.since_s[rows])
        table.value[rows] = faded + self._gains[run.numbers]
        table.since_s[rows] = times_s

    def removed(self, model: Model, evicted: bool) -> None:
        """Stop tracking `model`; its count is kept."""
        self._catch_up(model)
        super().removed(model, evicted)

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Tracked models by score."""
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

    def value(self, model: Model) -> float:
        """Priority, size, load cost, and the decayed count of uses at the last one."""
        return self._weighted(model, max(self._count(model)[0], _LEAST_COUNT))

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        """Value by age, with the decay since the last use."""
        return aged(value * self._faded(age_s), age_s, self._exponents.recency)

    def _faded(self, age_s: Numbers) -> Numbers:
        """What is left of a value."""
        return np.exp2(age_s * self._fading)

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
        """Count the uses that runs have left to be counted; whether there were any."""
        if self._stretch is None:
            return False
        uses = self._uses.item(model.number)
        count, last_s, counted = self._counts[model]
        if uses <= counted:
            return False
        base = self._base[model.number]
        first, last = base + counted + 1, base + uses
        count = count * 2.0 ** ((last_s - self._times_s.item(first)) / self._half_life_s) + 1.0
        for half_lives in self._half_lives[first + 1 : last + 1]:
            count = count * 2.0**half_lives + 1.0
        last_s = self._times_s.item(last)
        self._counts[model] = count, last_s, uses
        table = self._table
        row = table.row[model]
        table.value[row], table.since_s[row] = self._weighted(model, count), last_s
        return True

    def _count(self, model: Model) -> tuple[float, float, int]:
        count, last_s, uses = self._counts.get(model, (0.0, model.last_used_s, 0))
        if model.last_used_s > last_s:
            count *= 2.0 ** ((last_s - model.last_used_s) / self._half_life_s)
        return count + (model.uses_total - uses), model.last_used_s, model.uses_total
