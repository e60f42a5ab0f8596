"""Twin of ``hyperbolic``."""

from __future__ import annotations

import numpy as np

from vramlab.allocator.policies.hyperbolic import Hyperbolic
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run
from vramlab.allocator.scoring import cost_per_byte


class HyperbolicInBulk(Hyperbolic, HearsRuns):
    """Writes the values of a run into the column."""

    def __init__(self) -> None:
        super().__init__()
        self._worths = np.empty(0)  # by the model's number

    def used_together(self, run: Run) -> None:
        table = self._refresh()
        if len(self._worths) < len(run.models):
            self._worths = np.array([cost_per_byte(model) for model in run.models])
        table.value[table.numbered[run.numbers]] = run.uses * self._worths[run.numbers]
