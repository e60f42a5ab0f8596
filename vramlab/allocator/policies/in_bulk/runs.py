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
    """The part of a trace that runs are taken from, hits and misses, by model where a policy asks for that.

    Parameters
    ----------
    models : int
        How many there are.
    numbers : array of int
        Which model each request was for.
    times_s : array of float
        When, seconds.
    uses_total : array of int
        Requests for the model so far, this one included.
    order : array of int
        Sorts the requests by model, those for one model by time.
    """

    def __init__(
        self,
        models: int,
        numbers: npt.NDArray[np.integer],
        times_s: npt.NDArray[np.float64],
        uses_total: Whole,
        order: npt.NDArray[np.intp],
    ) -> None:
        self._models = models
        self._numbers = numbers
        self._times_s = times_s
        self._uses_total = uses_total
        self._order = order

    @cached_property
    def by_model(self) -> tuple[npt.NDArray[np.float64], Whole]:
        """Times sorted by model, and ``base``: use n of a model is entry ``base[number] + n`` of them."""
        order = self._order
        base: Whole = np.zeros(self._models, dtype=np.int64)
        base[self._numbers[order]] = np.arange(len(order)) - self._uses_total[order]
        return self._times_s[order], base


class Run:
    """Consecutive hits, one entry per request in each column.

    The accounts of the models need not be up to date: the columns are. A column that is assigned by
    ``column[run.numbers] = ...`` keeps the last entry of each model, which is what counts.

    Parameters
    ----------
    models : sequence of Model
        All models, by their number.
    numbers : array of int
        Which model each request was for.
    times_s : array of float
        When, seconds.
    uses_total : array of int
        Uses of the model so far, this one included.
    uses_before : array of int
        By the model's number, its uses before it was loaded.
    next_use : array of int
        Place of the next request for the model.
    end : int
        Place of the first request after the run: those whose next use is not before it are the last ones.
    stretch : Stretch
        What the run is a part of, for policies that need to know the time of each use.
    """

    __slots__ = ("_end", "_next_use", "_uses_before", "models", "numbers", "stretch", "times_s", "uses_total")

    # Made for each run, millions of times: a column more costs less than a class round them.
    def __init__(
        self,
        models: Sequence[Model],
        numbers: npt.NDArray[np.integer],
        times_s: npt.NDArray[np.float64],
        uses_total: Whole,
        uses_before: Whole,
        next_use: npt.NDArray[np.int32],
        end: int,
        stretch: Stretch,
    ) -> None:
        self.models = models
        self.numbers = numbers
        self.times_s = times_s
        self.uses_total = uses_total
        self._uses_before = uses_before
        self._next_use = next_use
        self._end = end
        self.stretch = stretch

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def uses(self) -> Whole:
        """Uses of the model since it was loaded, this one included."""
        uses: Whole = self.uses_total - self._uses_before[self.numbers]
        return uses

    def in_order(self) -> list[Model]:
        """Each model once, in the order of their last uses."""
        models = self.models
        return [models[number] for number in self.numbers[self._next_use >= self._end].tolist()]

    def caught_up(self) -> Iterator[Model]:
        """The same, each with its account brought up to date."""
        last = np.flatnonzero(self._next_use >= self._end)
        accounts = zip(
            self.in_order(), self.uses_total[last].tolist(), self.times_s[last].tolist(), strict=True
        )
        for model, uses_total, time_s in accounts:
            model.catch_up(uses_total, time_s)
            yield model


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
