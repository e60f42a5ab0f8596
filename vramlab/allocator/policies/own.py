"""A user's policy at work: what it raises, and scores that are none, become one clear error.

A transition of the ledger is never left half done for it. Ours need no such watch, and their hot paths have
none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path
from traceback import extract_tb
from typing import Any

from vramlab.allocator.facts import Model, Policy
from vramlab.allocator.runs import Run
from vramlab.config.errors import InputError

Score = Callable[[Model, float], float]


class PolicyError(InputError):
    """A user's policy raised, or gave a score that is no number; names policy, model and what was found."""


def checked_score(policy: str, score: Score, what: str = "score") -> Score:
    """`score`, held to its promise: NaN is refused too, for it would make an order of no sense."""

    def checked(model: Model, now_s: float) -> float:
        try:
            value = score(model, now_s)
        except PolicyError:  # said already, by a method that this one called
            raise
        except Exception as error:
            raise _raised(policy, f"{what} of {model.name}", error, "a number") from error
        if not isinstance(value, Real) or value != value:
            raise PolicyError(f"policy {policy}", f"{what} of {model.name}", repr(value), "a number")
        return value

    return checked


class Watched(Policy):
    """A user's policy that can do no harm but to its own choices.

    What it is asked (a score, an order, a bid) it has to answer, or the request that is being decided has
    failed with a :class:`PolicyError`; nothing has moved by then. What it is told (``admitted``, ``used``,
    ``removed``, ``rejected``, ``grown``) is news of what has happened or happens in any case: where it fails
    to hear it, `report` is told, and the transition goes on. A model whose coming it failed to hear stays a
    candidate, the last in its order, and one whose leaving it failed to hear is no longer one.

    Parameters
    ----------
    own : object
        Has the methods of Policy.
    name : str
        What messages call it.

    Attributes
    ----------
    report : callable
        Told of hooks that raise. Raises the error by default, which ends a replay; who goes on after that,
        as the live driver does, sets another.
    """

    def __init__(self, own: Any, name: str) -> None:
        self.own, self._name = own, name
        for switch in ("in_order", "merges_uses", "takes_runs", "adds_up"):
            if hasattr(own, switch):
                setattr(self, switch, getattr(own, switch))
        self._score = checked_score(name, own.score)
        self._bid = checked_score(name, own.bid, "bid") if hasattr(own, "bid") else self._score
        self._tracked: set[Model] = set()
        self._astray: dict[Model, None] = {}  # tracked, and not heard of
        self.report: Callable[[PolicyError], object] = _raise

    def __getattr__(self, name: str) -> Any:
        """What else it has: whoever looks at a policy of theirs finds it here."""
        if name == "own" or name.startswith("__"):  # of one that is being copied, and has nothing yet
            raise AttributeError(name)
        return getattr(self.own, name)

    def admitted(self, model: Model, now_s: float) -> None:
        """Tell it, and track the model."""
        self._tracked.add(model)
        if not self._told("admitted", model, now_s):
            self._astray[model] = None

    def used(self, model: Model, now_s: float) -> None:
        """Tell it."""
        self._told("used", model, now_s)

    def used_together(self, run: Run) -> None:
        """Tell it, all at once or one by one."""
        if getattr(type(self.own), "used_together", Policy.used_together) is Policy.used_together:
            super().used_together(run)
            return
        try:
            self.own.used_together(run)
        except Exception as error:
            self.report(_raised(self._name, "used_together", error, "no exception"))

    def removed(self, model: Model, evicted: bool) -> None:
        """Tell it, and forget the model."""
        self._tracked.discard(model)
        if model in self._astray:
            del self._astray[model]  # it has never heard of it
        else:
            self._told("removed", model, evicted)

    def rejected(self, model: Model, now_s: float) -> None:
        """Tell it."""
        self._told("rejected", model, now_s)

    def grown(self, model: Model) -> None:
        """Tell it."""
        self._told("grown", model)

    def _told(self, method: str, model: Model, *rest: Any) -> bool:
        """Tell it, if it wants to know. Returns whether it has heard."""
        try:
            if hasattr(self.own, method):
                getattr(self.own, method)(model, *rest)
        except Exception as error:
            self.report(_raised(self._name, f"{method} with {model.name}", error, "no exception"))
            return False
        return True

    def score(self, model: Model, now_s: float) -> float:
        """Ask it."""
        return self._score(model, now_s)

    def bid(self, model: Model, now_s: float) -> float:
        """Ask it."""
        return self._bid(model, now_s)

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Its order, of models that are there and each once: victims must not be taken twice."""
        named = set()
        try:
            for model in self.own.ranked(now_s):
                if model in self._tracked and model not in named:
                    named.add(model)
                    yield model
        except PolicyError:
            raise
        except Exception as error:
            raise _raised(self._name, "ranked", error, "the tracked models in an order") from error
        yield from [model for model in self._astray if model not in named]


def _raise(error: PolicyError) -> None:
    raise error


def _raised(policy: str, key: str, error: Exception, expected: str) -> PolicyError:
    """With the line that raised: on the command line there is no traceback to look at."""
    place = extract_tb(error.__traceback__)[-1]
    found = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
    return PolicyError(f"policy {policy}", key, found, expected)
