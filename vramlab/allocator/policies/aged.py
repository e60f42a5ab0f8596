"""Scores that age: what policies share that compute from a model's account how much it is worth keeping.

A score changes with time for all models at once, so no order can be kept from one miss to the next. What
was measured (2 cores, Python 3.11): scoring each of 1,000 residents by a Python function and sorting costs
some 400 microseconds a miss. Over numpy columns, three operations and one ``argmin`` cost 4 microseconds at
10 residents and 7 at 1,000. So residents are kept as columns here (:class:`Table`), and a policy gives the
formula alone. A miss takes the lowest first, then the next, and sorts only if it needs many. A use costs one
entry in a dict: the columns are brought up to date at the next miss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.scoring import Numbers

Column: TypeAlias = npt.NDArray[np.float64]

# So many victims are found one after the other; beyond that one sort is cheaper.
_ONE_BY_ONE = 8

_INFINITE = float("inf")


class Table:
    """Residents as columns: per model a value and the time that its age counts from.

    Rows are in the order of admission, so that of equal scores the first row is the one to leave. Rows of
    models that left stay empty until there is no room at the end; ``empty`` is infinite there, 0 elsewhere.
    """

    def __init__(self) -> None:
        self.row: dict[Model, int] = {}
        self.value: Column = np.ones(16)
        self.since_s: Column = np.zeros(16)
        self.empty: Column = np.full(16, np.inf)
        self.numbered: npt.NDArray[np.intp] = np.zeros(16, dtype=np.intp)  # the row, by the model's number
        self._models: list[Model | None] = []

    def add(self, model: Model) -> None:
        """Give `model` the last row."""
        row = len(self._models)
        if row == len(self.value):
            row = self._make_room()
        self.row[model] = row
        if model.number >= len(self.numbered):
            self.numbered = np.resize(self.numbered, 2 * model.number)
        self.numbered[model.number] = row
        self.empty[row] = 0.0
        self._models.append(model)

    def remove(self, model: Model) -> None:
        """Empty the row of `model`."""
        row = self.row.pop(model)
        self._models[row] = None
        self.empty[row] = np.inf

    def _make_room(self) -> int:
        """Close the gaps, or double the columns where there are few; returns the first free row."""
        count = len(self.row)
        rows = np.fromiter(self.row.values(), np.intp, count)
        size = max(16, 2 * count)
        value, since_s, empty = np.ones(size), np.zeros(size), np.full(size, np.inf)
        value[:count], since_s[:count], empty[:count] = self.value[rows], self.since_s[rows], 0.0
        self.value, self.since_s, self.empty = value, since_s, empty
        self._models = list(self.row)
        self.row = {model: row for row, model in enumerate(self.row)}
        self.numbered[[model.number for model in self.row]] = np.arange(count)
        return count

    def ascending(
        self, scores: Column, renewed: Callable[[Model], float | None] | None = None
    ) -> Iterator[Model]:
        """Models by `scores` (one per row), ties in the order of the rows.

        Scores that are lower than what they should be by now are set right when they come up, and only
        then: `renewed` says what they should be, None where it is that already.
        """
        models = self._models
        count = len(models)
        scores = scores + self.empty
        taken: set[Model] = set()
        while len(taken) < min(_ONE_BY_ONE, len(self.row)):
            row = int(scores.argmin())
            model = models[row] if row < count else None
            if model is None or not scores.item(row) < _INFINITE:
                break  # only infinite scores are left, or one that is no number: the sort knows what to do
            if renewed is not None and (score := renewed(model)) is not None:
                scores[row] = score
                continue
            yield model
            taken.add(model)
            scores[row] = _INFINITE
        if len(taken) < len(self.row):
            if renewed is not None:
                for model, row in self.row.items():
                    if model not in taken and (score := renewed(model)) is not None:
                        scores[row] = score
            for row in np.argsort(scores[:count], kind="stable").tolist():
                model = models[row]
                if model is not None and model not in taken:
                    yield model


@mypyc_attr(allow_interpreted_subclasses=True)
class AgedScore(Policy):
    """A score made of a value, which changes when a model is used, and of an age, which grows by itself.

    A subclass says what the value and the age of a model are, and how both make the score.
    """

    def __init__(self) -> None:
        self._table = Table()
        self._stale: dict[Model, None] = {}  # used since the columns were last brought up to date

    def value(self, model: Model) -> float:
        """The part of the score that changes only when `model` is used."""
        raise NotImplementedError

    def since_s(self, model: Model) -> float:
        """When the age of `model` was 0; between its uses this does not change either."""
        return model.last_used_s

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        """Score of one model, or of a column of models."""
        raise NotImplementedError

    def admitted(self, model: Model, now_s: float) -> None:
        self._table.add(model)
        self._stale[model] = None

    def used(self, model: Model, now_s: float) -> None:
        self._stale[model] = None

    def removed(self, model: Model, evicted: bool) -> None:
        self._table.remove(model)
        self._stale.pop(model, None)

    def score(self, model: Model, now_s: float) -> float:
        return float(self.scores(self.value(model), now_s - self.since_s(model)))

    def ranked(self, now_s: float) -> Iterator[Model]:
        table = self._table
        if self._stale:
            self._refresh()
        return table.ascending(self.scores(table.value, now_s - table.since_s))

    def _refresh(self) -> Table:
        """Bring the columns up to date."""
        table = self._table
        row, value, since_s = table.row, table.value, table.since_s
        value_of, since_of = self.value, self.since_s
        for model in self._stale:
            at = row[model]
            value[at] = value_of(model)
            since_s[at] = since_of(model)
        self._stale.clear()
        return table
