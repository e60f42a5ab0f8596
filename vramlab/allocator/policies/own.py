"""A user's policy at work: what it raises, and scores that are none, become one clear error.

Ours need no such watch, and their hot paths have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from pathlib import Path
from traceback import extract_tb
from typing import Any

from vramlab.allocator.models import Model
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


def watch(policy: Any, name: str) -> None:
    """Let the methods of a class's instance be held to the same."""
    policy.score = checked_score(name, policy.score)
    policy.bid = checked_score(name, policy.bid, "bid") if hasattr(policy, "bid") else policy.score
    policy.ranked = _watched_order(name, policy.ranked)
    for method in ("admitted", "used", "removed"):
        setattr(policy, method, _watched(name, method, getattr(policy, method)))


def _watched_order(policy: str, ranked: Callable[[float], Iterable[Model]]) -> Callable[[float], Any]:
    def watched(now_s: float) -> Iterator[Model]:
        try:
            yield from ranked(now_s)
        except PolicyError:
            raise
        except Exception as error:
            raise _raised(policy, "ranked", error, "the tracked models in an order") from error

    return watched


def _watched(policy: str, method: str, call: Callable[[Model, Any], Any]) -> Callable[[Model, Any], Any]:
    def watched(model: Model, argument: Any) -> Any:
        try:
            return call(model, argument)
        except PolicyError:
            raise
        except Exception as error:
            raise _raised(policy, f"{method} with {model.name}", error, "no exception") from error

    return watched


def _raised(policy: str, key: str, error: Exception, expected: str) -> PolicyError:
    """With the line that raised: on the command line there is no traceback to look at."""
    place = extract_tb(error.__traceback__)[-1]
    found = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
    return PolicyError(f"policy {policy}", key, found, expected)
