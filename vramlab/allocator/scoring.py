"""The eviction score of the specification ("LRU Eviction Implementation"), as a family.

.. math:: score = w^a (n+1)^b (t+1)^{-c} (1000 / size_{MB})^d (100 / load_{ms})^e

with the priority's weight ``w``, the count of all accesses ``n``, the seconds since the last access ``t``,
the footprint and the load time. The lowest score goes first. The specification's code is
``a = b = c = d = e = 1`` (preset ``seed``). Its last factor makes models that are dear to reload the *first*
to go, against its own comment; ``e = -1`` is what the comment says (preset ``seed_fixed``).

The policy ``decayed`` is the same with another count: see :mod:`vramlab.allocator.policies.decayed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from vramlab.allocator.facts import Model
from vramlab.config.schema import ScoreWeights
from vramlab.config.units import MIB

# One float, or a column of them.
Numbers: TypeAlias = Any

# A load time of 0 would divide by zero; below a microsecond nothing is dear to reload any more.
_LEAST_LOAD_MS = 1e-3


@dataclass(frozen=True)
class Exponents:
    """The exponents a to e of the score, by the names of ``scoring.weights``."""

    priority: float = 1.0
    frequency: float = 1.0
    recency: float = 1.0
    size: float = 1.0
    cost: float = 1.0

    def overridden(self, weights: ScoreWeights) -> Exponents:
        """These exponents with the ones that `weights` gives in their place."""
        given = {name: value for name, value in weights.model_dump().items() if value is not None}
        return replace(self, **given)


SEED = Exponents()
SEED_FIXED = Exponents(cost=-1.0)
DECAYED = Exponents(recency=0.5, cost=-1.0)


def constant_factor(model: Model, exponents: Exponents) -> float:
    """The part of the score that does not change while a model is loaded: priority, size and load cost."""
    size_mb = model.bytes / MIB
    load_ms = max(model.load_s * 1000.0, _LEAST_LOAD_MS)
    return float(
        model.priority_weight**exponents.priority
        * (1000.0 / size_mb) ** exponents.size
        * (100.0 / load_ms) ** exponents.cost
    )


def aged(value: Numbers, age_s: Numbers, recency: float) -> Numbers:
    """``value * (age_s + 1) ** -recency``, of one model or of a column of them."""
    return value / (age_s + 1.0) ** recency  # numpy knows powers of 1 and 0.5 that are exact, and cheap


def score(model: Model, now_s: float, exponents: Exponents) -> float:
    """Eviction score of `model` at `now_s`; the lowest goes first."""
    frequency: float = (model.uses_total + 1.0) ** exponents.frequency
    value = constant_factor(model, exponents) * frequency
    return float(aged(value, now_s - model.last_used_s, exponents.recency))


def cost_per_byte(model: Model) -> float:
    """Seconds of loading that a byte of `model` saves."""
    return model.load_s / model.bytes


def one_per_byte(model: Model) -> float:
    """One use per byte of `model`."""
    return 1.0 / model.bytes


def one(model: Model) -> float:
    """One, whatever the model."""
    return 1.0
