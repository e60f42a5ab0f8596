"""Twin of the score family of the specification."""

from __future__ import annotations

import numpy as np

from vramlab.allocator.policies.aged import Column
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run, Whole
from vramlab.allocator.policies.log_linear import LogLinear
from vramlab.allocator.scoring import Exponents, constant_factor


class LogLinearInBulk(LogLinear, HearsRuns):
    """Writes the values and times of a run into the columns. Options: those of the family."""

    def weigh(self, exponents: Exponents) -> None:
        self._constant = np.empty(0)  # by the model's number
        self._powers = np.empty(0)  # of the uses, by their number

    def used_together(self, run: Run) -> None:
        table = self._refresh()
        if len(self._constant) < len(run.models):
            self._constant = np.array([constant_factor(model, self._exponents) for model in run.models])
        rows = table.numbered[run.numbers]
        table.value[rows] = self._constant[run.numbers] * self._frequencies(run.uses_total)
        table.since_s[rows] = run.times_s

    def _frequencies(self, uses: Whole) -> Column:
        """``(uses + 1) ** frequency``, looked up: the powers of numpy are not Python's to the last bit."""
        frequency = self._exponents.frequency
        if frequency == 1.0:
            return uses.astype(np.float64) + 1.0
        most = int(uses.max())
        if len(self._powers) <= most:
            self._powers = np.array([(n + 1.0) ** frequency for n in range(2 * most)])
        powers: Column = self._powers[uses]
        return powers
