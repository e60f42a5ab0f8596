"""The score of the specification with a count of uses that forgets."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.log_linear import LogLinear
from vramlab.allocator.scoring import DECAYED, Numbers, aged

# The count of a model that was preloaded and never used: not 0, which has no negative power.
_LEAST_COUNT: Final = 1e-6


class Count:
    """A count of uses that forgets: what it was at the last of them, and how many it is made of."""

    __slots__ = ("count", "last_s", "uses")

    def __init__(self) -> None:
        self.count, self.last_s, self.uses = 0.0, 0.0, 0


@mypyc_attr(allow_interpreted_subclasses=True)
class Decayed(LogLinear):
    """The score family with a count of uses that forgets: a use counts half after each half-life.

    In the place of ``n + 1`` stands the sum of ``2 ** (-t / half_life)`` over all uses, ``t`` seconds ago.
    Source: exponentially decayed counts as in LRFU (D. Lee et al., "LRFU: a spectrum of policies that
    subsumes the least recently used and least frequently used policies", IEEE Transactions on Computers
    50(12), 2001), here with cost and size, and kept through evictions. Uses that the policy was not told
    of, since the model was not admitted, count from the next time that it is.

    Options: those of the family, and ``half_life_s``, seconds.
    """

    def __init__(
        self,
        half_life_s: float = 21_600.0,
        priority: float = DECAYED.priority,
        frequency: float = DECAYED.frequency,
        recency: float = DECAYED.recency,
        size: float = DECAYED.size,
        cost: float = DECAYED.cost,
    ) -> None:
        super().__init__(priority, frequency, recency, size, cost)
        if not half_life_s > 0:
            raise ValueError("half_life_s: expected more than 0")
        self._half_life_s = half_life_s
        self._fading = -self._exponents.frequency / half_life_s
        self._counts: dict[Model, Count] = {}
        self.falls(recency, self._fading)

    def admitted(self, model: Model, now_s: float) -> None:
        self._note(model)
        super().admitted(model, now_s)

    def used(self, model: Model, now_s: float) -> None:
        self._note(model)
        self._stale[model] = None

    def value(self, model: Model) -> float:
        return self._weighted(model, max(self._count(model), _LEAST_COUNT))

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        return aged(value * np.exp2(age_s * self._fading), age_s, self._exponents.recency)

    def _count(self, model: Model) -> float:
        """Count the uses of `model`, also those that have not been noted, as of its last use."""
        noted = self._counts.get(model)
        if noted is None:
            return float(model.uses_total)
        count = noted.count
        if model.last_used_s > noted.last_s:
            count *= math.pow(2.0, (noted.last_s - model.last_used_s) / self._half_life_s)
        return count + float(model.uses_total - noted.uses)

    def _note(self, model: Model) -> None:
        count = self._count(model)
        noted = self._counts.get(model)
        if noted is None:
            noted = self._counts[model] = Count()
        noted.count, noted.last_s, noted.uses = count, model.last_used_s, model.uses_total
