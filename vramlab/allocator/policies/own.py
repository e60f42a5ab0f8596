"""A user's policy at work, a function or a class: what it raises, and scores that are none, become one error.

A transition of the ledger is never left half done for it. Ours need no such watch, and their hot paths have
none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from pathlib import Path
from traceback import extract_tb
from typing import Any

from vramlab.allocator.facts import Model, Policy
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


_NEWS = ("admitted", "used", "removed", "rejected", "grown")


class ScorePolicy(Policy):
    """A policy from a function of the model's account alone.

    Parameters
    ----------
    score : callable
        ``score(model, now_s) -> float``; the lowest leaves first, ties in the order of admission.
    name : str
        What messages call it.
    """

    def __init__(self, score: Score, name: str = "score") -> None:
        self._score = checked_score(name, score)
        self._tracked: dict[Model, None] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        self._tracked[model] = None

    def used(self, model: Model, now_s: float) -> None: ...

    def removed(self, model: Model, evicted: bool) -> None:
        del self._tracked[model]

    def score(self, model: Model, now_s: float) -> float:
        return self._score(model, now_s)

    def ranked(self, now_s: float) -> Iterable[Model]:
        score = self._score
        return sorted(self._tracked, key=lambda model: score(model, now_s))


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
        # what a class does not say, it has as Policy says it; ours say it as classes, and this one for each
        self.in_order = getattr(own, "in_order", Policy.in_order)  # type: ignore[misc]
        self.adds_up = getattr(own, "adds_up", Policy.adds_up)  # type: ignore[misc]
        self._hears = frozenset(method for method in _NEWS if callable(getattr(own, method, None)))
        self._score = checked_score(name, own.score)
        bid = getattr(own, "bid", None)
        self._bid = self._score if bid is None else checked_score(name, bid, "bid")
        self._tracked: set[Model] = set()
        self._astray: dict[Model, None] = {}  # tracked, and not heard of
        self.report: Callable[[PolicyError], object] = _raise

    def __getattr__(self, name: str) -> Any:
        """What else it has: whoever looks at a policy of theirs finds it here."""
        if name == "own" or name.startswith("__"):  # of one that is being copied, and has nothing yet
            raise AttributeError(name)
        return getattr(self.own, name)

    def admitted(self, model: Model, now_s: float) -> None:
        self._tracked.add(model)
        if not self._told("admitted", model, now_s):
            self._astray[model] = None

    def used(self, model: Model, now_s: float) -> None:
        self._told("used", model, now_s)

    def removed(self, model: Model, evicted: bool) -> None:
        self._tracked.discard(model)
        if model in self._astray:
            del self._astray[model]  # it has never heard of it
        else:
            self._told("removed", model, evicted)

    def rejected(self, model: Model, now_s: float) -> None:
        self._told("rejected", model, now_s)

    def grown(self, model: Model) -> None:
        self._told("grown", model)

    def _told(self, method: str, model: Model, *rest: Any) -> bool:
        """Tell it, if it wants to know. Returns whether it has heard."""
        try:
            if method in self._hears:
                getattr(self.own, method)(model, *rest)
        except Exception as error:
            self.report(_raised(self._name, f"{method} with {model.name}", error, "no exception"))
            return False
        return True

    def score(self, model: Model, now_s: float) -> float:
        return self._score(model, now_s)

    def bid(self, model: Model, now_s: float) -> float:
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
