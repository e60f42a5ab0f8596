"""Eviction policies: who leaves first.

A policy ranks the models of one zone; the allocator skips those that may not leave (in use, loading,
critical, inside their retention). A new policy is a class with the methods of :class:`Policy`, or a function
``score(model, now_s) -> float`` wrapped in :class:`ScorePolicy`, and one line in :data:`POLICIES`.

Queue disciplines (``lru``, ``fifo``, ``lfu``) are *in order*: the order of leaving is their definition, so no
victim is spared because a later one would have been enough. Scores are pruned (see
:mod:`vramlab.allocator.eviction`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from vramlab.allocator.models import Model
from vramlab.allocator.scoring import SEED, SEED_FIXED, Exponents, constant_factor
from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import ScoreWeights, ScoringConfig


class Policy(Protocol):
    """What the allocator asks of a policy. One instance serves one zone."""

    in_order: bool

    def admitted(self, model: Model, now_s: float) -> None:
        """`model` is being loaded for a request, or preloaded; its account is already up to date."""

    def used(self, model: Model, now_s: float) -> None:
        """A request asked for `model`, which is tracked; its account is already up to date."""

    def removed(self, model: Model, evicted: bool) -> None:
        """`model` leaves: as a victim, or (`evicted` false) because its load failed or it was unloaded."""

    def score(self, model: Model, now_s: float) -> float:
        """How much `model`, tracked or not, is worth keeping; the lowest leaves first."""

    def ranked(self, now_s: float) -> Iterable[Model]:
        """All tracked models, the first to leave first."""


class ScorePolicy:
    """A policy from a function of the model's account alone.

    Parameters
    ----------
    score : callable
        ``score(model, now_s) -> float``; the lowest leaves first, ties in the order of admission.
    """

    in_order = False

    def __init__(self, score: Callable[[Model, float], float]) -> None:
        self.score = score
        self._tracked: dict[Model, None] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        """Track `model`."""
        self._tracked[model] = None

    def used(self, model: Model, now_s: float) -> None:
        """Nothing to keep: the account of the model says it all."""

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`."""
        del self._tracked[model]

    def ranked(self, now_s: float) -> Iterable[Model]:
        """Tracked models by score."""
        score = self.score
        return sorted(self._tracked, key=lambda model: score(model, now_s))


class LogLinearScore(ScorePolicy):
    """The score family of the specification; see :mod:`vramlab.allocator.scoring` for the formula."""

    def __init__(self, exponents: Exponents) -> None:
        super().__init__(self._score)
        self._exponents = exponents
        self._constants: dict[Model, float] = {}

    def _score(self, model: Model, now_s: float) -> float:
        constant = self._constants.get(model)
        if constant is None:
            constant = self._constants[model] = constant_factor(model, self._exponents)
        exponents = self._exponents
        frequency: float = (model.uses_total + 1) ** exponents.frequency
        recency: float = (now_s - model.last_used_s + 1.0) ** -exponents.recency
        return constant * frequency * recency


class LRU:
    """Least recently used leaves first (Denning, 1968)."""

    in_order = True

    def __init__(self) -> None:
        self._order: OrderedDict[Model, None] = OrderedDict()

    def admitted(self, model: Model, now_s: float) -> None:
        """Append `model`."""
        self._order[model] = None

    def used(self, model: Model, now_s: float) -> None:
        """Move `model` to the end."""
        self._order.move_to_end(model)

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`."""
        del self._order[model]

    def score(self, model: Model, now_s: float) -> float:
        """Time of last use, seconds."""
        return model.last_used_s

    def ranked(self, now_s: float) -> Iterable[Model]:
        """Tracked models, least recently used first."""
        return self._order


class FIFO(LRU):
    """First loaded leaves first."""

    def used(self, model: Model, now_s: float) -> None:
        """Being used changes nothing."""

    def score(self, model: Model, now_s: float) -> float:
        """Time of loading, seconds; a newcomer's is now."""
        return model.loaded_at_s if model in self._order else now_s


class LFU:
    """Least often used since loading leaves first; of equals, the one that reached its count first."""

    in_order = True

    def __init__(self) -> None:
        self._buckets: dict[int, OrderedDict[Model, None]] = {}
        self._bucket_of: dict[Model, int] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        """Count the first use."""
        self._enter(model, 1)

    def used(self, model: Model, now_s: float) -> None:
        """Count one more use."""
        self._enter(model, self._leave(model) + 1)

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model` and its count."""
        self._leave(model)

    def score(self, model: Model, now_s: float) -> float:
        """Uses since loading; a newcomer's is 1."""
        return float(self._bucket_of.get(model, 1))

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Tracked models by count."""
        for count in sorted(self._buckets):
            yield from self._buckets[count]

    def _enter(self, model: Model, count: int) -> None:
        self._bucket_of[model] = count
        bucket = self._buckets.get(count)
        if bucket is None:
            bucket = self._buckets[count] = OrderedDict()
        bucket[model] = None

    def _leave(self, model: Model) -> int:
        count = self._bucket_of.pop(model)
        bucket = self._buckets[count]
        del bucket[model]
        if not bucket:
            del self._buckets[count]
        return count


class GDSF:
    """Greedy-Dual-Size-Frequency: value = L + uses * cost / size, L = value of the last one evicted.

    Source: L. Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy",
    HP Labs HPL-98-69R1 (1998). Uses are counted since loading; a model's L is that of its last use. Of
    equals, the least recently used leaves first.

    Parameters
    ----------
    cost : callable
        ``cost(model) -> float``: the load time in seconds for ``gdsf``, 1 for ``gdsf_hits``.
    """

    in_order = False

    def __init__(self, cost: Callable[[Model], float]) -> None:
        self._cost = cost
        self._inflation = 0.0
        self._values: OrderedDict[Model, float] = OrderedDict()  # in order of last use

    def admitted(self, model: Model, now_s: float) -> None:
        """Value `model` at its first use."""
        self._values[model] = self._value(model)

    def used(self, model: Model, now_s: float) -> None:
        """Value `model` anew."""
        self._values[model] = self._value(model)
        self._values.move_to_end(model)

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`; a victim's value becomes L."""
        value = self._values.pop(model)
        if evicted:
            self._inflation = max(self._inflation, value)

    def score(self, model: Model, now_s: float) -> float:
        """Value of `model`, or what it would be on admission."""
        value = self._values.get(model)
        return self._value(model) if value is None else value

    def ranked(self, now_s: float) -> Iterable[Model]:
        """Tracked models by value."""
        return sorted(self._values, key=self._values.__getitem__)

    def _value(self, model: Model) -> float:
        return self._inflation + model.uses * self._cost(model) / model.bytes


PRESETS: dict[str, Exponents] = {"seed": SEED, "seed_fixed": SEED_FIXED}

POLICIES: dict[str, Callable[[], Policy]] = {
    "lru": LRU,
    "lfu": LFU,
    "fifo": FIFO,
    "gdsf": lambda: GDSF(cost=lambda model: model.load_s),
    "gdsf_hits": lambda: GDSF(cost=lambda model: 1.0),
}


def policy_names() -> list[str]:
    """All names that ``scoring.policy`` takes."""
    return [*PRESETS, *POLICIES]


def make_policy(scoring: ScoringConfig, source: str = "vram_management") -> Policy:
    """A fresh policy instance for one zone.

    Raises
    ------
    InputError
        For an unknown name, or weights given for a policy that has none.
    """
    name = scoring.policy
    if name in PRESETS:
        return LogLinearScore(PRESETS[name].overridden(scoring.weights))
    if name not in POLICIES:
        expected = f"one of {', '.join(policy_names())}{nearest(name, policy_names())}"
        raise InputError(source, "scoring.policy", repr(name), expected)
    if scoring.weights != ScoreWeights():
        raise InputError(source, "scoring.weights", "weights", f"none, as policy {name} has no weights")
    return POLICIES[name]()
