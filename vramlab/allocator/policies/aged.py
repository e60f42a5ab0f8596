"""Scores that age: what policies share that compute from a model's account how much it is worth keeping.

A score changes with time for all models at once, so no order can be kept from one miss to the next. What
was measured (2 cores, Python 3.11): scoring each of 1,000 residents by a Python function and sorting costs
some 400 microseconds a miss. Over numpy columns, three operations and one ``argmin`` cost 4 microseconds at
10 residents and 7 at 1,000. So many residents are kept as columns here (:class:`Table`), few as lines
(:mod:`.lines`), and a policy gives the formula alone. A miss takes the lowest first, then the next, and sorts
only if it needs many. A use costs one entry in a dict: lines or columns are brought up to date at the next
miss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.policies.lines import INFINITE, Line, Lines, are_lines
from vramlab.allocator.scoring import Numbers
from vramlab.config.compiled import compiled

Column: TypeAlias = npt.NDArray[np.float64]

# So many victims are found one after the other; beyond that one sort is cheaper.
_ONE_BY_ONE = 8

# Up to so many residents are lines: to look at 80 takes machine code a tenth of what columns take, and Python
# as much.
_FEW: Final = 400 if compiled() else 0


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
        self._models: list[Model | None] = []

    def add(self, model: Model) -> None:
        """Give `model` the last row."""
        row = len(self._models)
        if row == len(self.value):
            row = self._make_room()
        self.row[model] = row
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
        return count

    def ascending(self, scores: Column) -> Iterator[Model]:
        """Models by `scores` (one per row), ties in the order of the rows."""
        models = self._models
        count = len(models)
        scores = scores + self.empty
        taken: set[Model] = set()
        while len(taken) < min(_ONE_BY_ONE, len(self.row)):
            row = int(scores.argmin())
            model = models[row] if row < count else None
            if model is None or not scores.item(row) < INFINITE:
                break  # only infinite scores are left, or one that is no number: the sort knows what to do
            yield model
            taken.add(model)
            scores[row] = INFINITE
        if len(taken) < len(self.row):
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
        self._lines: Lines | None = None  # where the score is of their kind, until there are many of them
        self._stale: dict[Model, None] = {}  # used since lines or columns were last brought up to date

    def falls(self, recency: float, fading: float = 0.0) -> None:
        """Say that the score is ``value * 2 ** (fading * age) / (age + 1) ** recency``."""
        self._lines = Lines(recency, fading) if are_lines(recency) else None

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
        if self._lines is None:
            self._table.add(model)
        else:
            self._lines.add(model)
        self._stale[model] = None

    def used(self, model: Model, now_s: float) -> None:
        self._stale[model] = None

    def removed(self, model: Model, evicted: bool) -> None:
        if self._lines is None:
            self._table.remove(model)
        else:
            self._lines.remove(model)
        self._stale.pop(model, None)

    def score(self, model: Model, now_s: float) -> float:
        return float(self.scores(self.value(model), now_s - self.since_s(model)))

    def ranked(self, now_s: float) -> Iterator[Model]:
        lines = self._lines
        if lines is not None and len(lines) <= _FEW and self._draw(lines, now_s):
            return self._by_lines(lines, now_s)
        table = self._refresh()
        return table.ascending(self.scores(table.value, now_s - table.since_s))

    def _draw(self, lines: Lines, now_s: float) -> bool:
        """Bring the lines up to date. Returns whether all are lines."""
        if not lines.look_at(now_s):
            return False
        for model in self._stale:
            if not lines.put(model, self.value(model), self.since_s(model)):
                return False
        self._stale.clear()
        return True

    def _by_lines(self, lines: Lines, now_s: float) -> Iterator[Model]:
        below = INFINITE
        for _ in range(_ONE_BY_ONE):
            line, height = lines.highest(now_s, below)
            if line is not None:
                yield line.model
                below = height
                continue
            close, below = lines.close_to(height, now_s, below)
            if not close:
                break
            yield from self._by_score(close, now_s)
        for group in lines.groups(now_s, below):
            yield from self._by_score(group, now_s)

    def _by_score(self, lines: list[Line], now_s: float) -> list[Model]:
        """List models by their scores, ties in the order in which they are given."""
        if len(lines) == 1:
            return [lines[0].model]
        value, since_s = np.array([[line.value, line.since_s] for line in lines]).T.copy()
        scores = self.scores(value, now_s - since_s)
        return [lines[i].model for i in np.argsort(scores, kind="stable").tolist()]

    def _refresh(self) -> Table:
        """Bring the columns up to date; lines become columns for good."""
        table, lines = self._table, self._lines
        if lines is not None:
            for line in lines.in_order():
                table.add(line.model)
                row = table.row[line.model]
                table.value[row], table.since_s[row] = line.value, line.since_s
            self._lines = None
        row_of, value, since_s = table.row, table.value, table.since_s
        value_of, since_of = self.value, self.since_s
        for model in self._stale:
            at = row_of[model]
            value[at] = value_of(model)
            since_s[at] = since_of(model)
        self._stale.clear()
        return table
