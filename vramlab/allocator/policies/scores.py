"""Scores: policies that compute from a model's account how much it is worth keeping.

A score changes with time for all models at once, so no order can be kept from one miss to the next. What
was measured (2 cores, Python 3.11): scoring each of 1,000 residents by a Python function and sorting costs
some 400 microseconds a miss; over numpy columns three operations and one ``argmin`` cost 4 microseconds at
10 residents and 7 at 1,000. So the scores that vramlab brings along keep their residents as columns
(:class:`Table`), and a miss takes the lowest first, then the next, and sorts only if it needs many. A use
costs one entry in a dict: the columns are brought up to date at the next miss.

A user's function is called for every resident: simple, and fast enough for some hundred models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.policies.own import Score, checked_score
from vramlab.allocator.runs import Run, Whole
from vramlab.allocator.scoring import Exponents, Numbers, aged, constant_factor

Column = npt.NDArray[np.float64]

# So many victims are found one after the other; beyond that one sort is cheaper.
_ONE_BY_ONE = 8

_INFINITE = float("inf")


class ScorePolicy(Policy):
    """A policy from a function of the model's account alone.

    Parameters
    ----------
    score : callable
        ``score(model, now_s) -> float``; the lowest leaves first, ties in the order of admission.
    name : str
        What messages call it.
    """

    merges_uses = True

    def __init__(self, score: Score, name: str = "score") -> None:
        self._score = checked_score(name, score)
        self._tracked: dict[Model, None] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        """Track `model`."""
        self._tracked[model] = None

    def used(self, model: Model, now_s: float) -> None:
        """Nothing to keep: the account of the model says it all."""

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`."""
        del self._tracked[model]

    def score(self, model: Model, now_s: float) -> float:
        """What the function says; a :class:`.own.PolicyError` if that is no number."""
        return self._score(model, now_s)

    def ranked(self, now_s: float) -> Iterable[Model]:
        """Tracked models by score."""
        score = self._score
        return sorted(self._tracked, key=lambda model: score(model, now_s))


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
        self.numbered = np.zeros(16, dtype=np.intp)  # the row, by the model's number
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


class TableScore(Policy):
    """Base of the scores whose residents are columns: a value that changes when a model is used, and age.

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
        """Track `model`."""
        self._table.add(model)
        self._stale[model] = None

    def used(self, model: Model, now_s: float) -> None:
        """Remember that the account of `model` has changed."""
        self._stale[model] = None

    def removed(self, model: Model, evicted: bool) -> None:
        """Stop tracking `model`."""
        self._table.remove(model)
        self._stale.pop(model, None)

    def score(self, model: Model, now_s: float) -> float:
        """Score of `model`, tracked or not."""
        return float(self.scores(self.value(model), now_s - self.since_s(model)))

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Tracked models by score."""
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


class LogLinearScore(TableScore):
    """The score family of the specification; see :mod:`vramlab.allocator.scoring` for the formula.

    Parameters
    ----------
    exponents : Exponents
        Of priority, frequency, recency, size and cost.
    """

    merges_uses = True

    def __init__(self, exponents: Exponents) -> None:
        super().__init__()
        self._exponents = exponents
        self._frequency = exponents.frequency
        self._constants: dict[Model, float] = {}
        self._constant = np.empty(0)  # the same, by the model's number
        self._powers = np.empty(0)  # of the uses, by their number

    def value(self, model: Model) -> float:
        """Priority, size, load cost, and the uses: all ever, plus one (``calculate_eviction_score``)."""
        return self._weighted(model, model.uses_total + 1.0)

    def grown(self, model: Model) -> None:
        """Its size is part of what was computed once."""
        self._constants.pop(model, None)

    def _weighted(self, model: Model, uses: float) -> float:
        constant = self._constants.get(model)
        if constant is None:
            constant = self._constants[model] = constant_factor(model, self._exponents)
        weighted: float = constant * uses**self._frequency
        return weighted

    def used_together(self, run: Run) -> None:
        """Write values and times into the columns."""
        table = self._refresh()
        if len(self._constant) < len(run.models):
            self._constant = np.array([constant_factor(model, self._exponents) for model in run.models])
        rows = table.numbered[run.numbers]
        table.value[rows] = self._constant[run.numbers] * self._frequencies(run.uses_total)
        table.since_s[rows] = run.times_s

    def _frequencies(self, uses: Whole) -> Column:
        """``(uses + 1) ** frequency``, looked up: the powers of numpy are not Python's to the last bit."""
        if self._frequency == 1.0:
            return uses.astype(np.float64) + 1.0
        most = int(uses.max())
        if len(self._powers) <= most:
            self._powers = np.array([(n + 1.0) ** self._frequency for n in range(2 * most)])
        powers: Column = self._powers[uses]
        return powers

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        """Value by age."""
        return aged(value, age_s, self._exponents.recency)


class Hyperbolic(TableScore):
    """Worth x uses since loading / seconds since loading (+ 1, so that the first second is defined).

    Source: A. Blankstein, S. Sen, M. J. Freedman, "Hyperbolic caching: flexible caching for web
    applications", USENIX ATC 2017; with load time / size as worth it is their cost- and size-aware form.
    They, and libCacheSim, take the lowest of 64 models drawn at random and count time in requests; we take
    the lowest of all, and seconds.

    Parameters
    ----------
    worth : callable
        ``worth(model) -> float``, constant for a model.
    """

    merges_uses = True

    def __init__(self, worth: Callable[[Model], float]) -> None:
        super().__init__()
        self._worth = worth
        self._worths = np.empty(0)  # by the model's number
        self._admitted_s: dict[Model, float] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        """Track `model`."""
        self._admitted_s[model] = now_s
        super().admitted(model, now_s)

    def removed(self, model: Model, evicted: bool) -> None:
        """Stop tracking `model`."""
        del self._admitted_s[model]
        super().removed(model, evicted)

    def value(self, model: Model) -> float:
        """Uses since loading, by worth; a newcomer has one."""
        return max(model.uses, 1) * self._worth(model)

    def used_together(self, run: Run) -> None:
        """Write values into the column."""
        table = self._refresh()
        if len(self._worths) < len(run.models):
            self._worths = np.array([self._worth(model) for model in run.models])
        table.value[table.numbered[run.numbers]] = run.uses * self._worths[run.numbers]

    def since_s(self, model: Model) -> float:
        """When the load was decided; for a newcomer this moment."""
        return self._admitted_s.get(model, model.last_used_s)

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        """Value by time of residence."""
        return value / (age_s + 1.0)
