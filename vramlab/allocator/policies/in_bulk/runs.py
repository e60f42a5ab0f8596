"""A run of hits: many uses told at once, as columns (decide mode).

Between two misses the resident models do not change, so all that a run of hits can do is to move counts and
times of last use. As columns they are moved by numpy, at a few nanoseconds a request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from mypy_extensions import trait

from vramlab.allocator.facts import Model, Policy

Whole: TypeAlias = npt.NDArray[np.int64]


class Stretch:
    """The part of a trace that runs are taken from, hits and misses, as columns.

    Parameters
    ----------
    models : sequence of Model
        All models, by their number.
    numbers : array of int
        Which model each request was for.
    times_s : array of float
        When, seconds.
    uses_total : array of int
        Requests for the model so far, this one included.
    next_use : array of int
        Place of the next request for the model.
    order : array of int
        Sorts the requests by model, those for one model by time.
    """

    def __init__(
        self,
        models: Sequence[Model],
        numbers: npt.NDArray[np.integer],
        times_s: npt.NDArray[np.float64],
        uses_total: Whole,
        next_use: npt.NDArray[np.int32],
        order: npt.NDArray[np.intp],
    ) -> None:
        self.models = models
        self.numbers = numbers
        self.times_s = times_s
        self.uses_total = uses_total
        self.next_use = next_use
        self._order = order
        self.uses_before: Whole = np.array([model.uses_total - model.uses for model in models])
        """By the model's number, its uses before it was loaded."""

    @cached_property
    def by_model(self) -> tuple[npt.NDArray[np.float64], Whole]:
        """Times sorted by model, and ``base``: use n of a model is entry ``base[number] + n`` of them."""
        order = self._order
        base: Whole = np.zeros(len(self.models), dtype=np.int64)
        base[self.numbers[order]] = np.arange(len(order)) - self.uses_total[order]
        return self.times_s[order], base


class Run:
    """Consecutive hits of a stretch, one entry per request in each column.

    The accounts of the models need not be up to date: the columns are. A column that is assigned by
    ``column[run.numbers] = ...`` keeps the last entry of each model, which is what counts.

    Parameters
    ----------
    stretch : Stretch
        What it is a part of.
    first, end : int
        Places of the first of the requests there, and of the first one after them.

    Attributes
    ----------
    models : sequence of Model
        All models, by their number.
    numbers : array of int
        Which model each request was for.
    """

    __slots__ = ("_end", "_first", "models", "numbers", "stretch")

    def __init__(self, stretch: Stretch, first: int, end: int) -> None:
        self.stretch = stretch
        self._first, self._end = first, end
        self.models = stretch.models
        self.numbers = stretch.numbers[first:end]

    def __len__(self) -> int:
        return self._end - self._first

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """When each request was made, seconds."""
        return self.stretch.times_s[self._first : self._end]

    @property
    def uses_total(self) -> Whole:
        """Uses of the model so far, this one included."""
        return self.stretch.uses_total[self._first : self._end]

    @property
    def uses(self) -> Whole:
        """Uses of the model since it was loaded, this one included."""
        uses: Whole = self.uses_total - self.stretch.uses_before[self.numbers]
        return uses

    def in_order(self) -> list[Model]:
        """Each model once, in the order of their last uses."""
        models = self.models
        return [models[number] for number in self.numbers[self._are_last()].tolist()]

    def caught_up(self) -> Iterator[Model]:
        """The same, each with its account brought up to date."""
        last = np.flatnonzero(self._are_last())
        accounts = zip(
            self.in_order(), self.uses_total[last].tolist(), self.times_s[last].tolist(), strict=True
        )
        for model, uses_total, time_s in accounts:
            model.catch_up(uses_total, time_s)
            yield model

    def _are_last(self) -> npt.NDArray[np.bool_]:
        """Which requests have none for the same model after them in the run."""
        last: npt.NDArray[np.bool_] = self.stretch.next_use[self._first : self._end] >= self._end
        return last


@trait
class HearsRuns(ABC):
    """Base of the twins: a policy that is told of a run at once, and then ranks as its original does.

    Attributes
    ----------
    takes_runs : bool
        Whether it does so with its present options. Else it is told of each use by itself.
    """

    takes_runs = True

    @abstractmethod
    def used_together(self, run: Run) -> None:
        """Hear of a run, to the same end as of one use after the other.

        The accounts of the models are not up to date: what is asked next (ranked, removed, used) does not
        read one that the run has moved.
        """


def tell_last_uses(policy: Policy, run: Run) -> None:
    """Tell a policy that merges uses of a run: each model once, in the order of their last uses."""
    for model in run.caught_up():
        policy.used(model, model.last_used_s)
