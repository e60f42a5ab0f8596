"""Who leaves first, as servers of today have it: eviction policies as ``vramlab.servers.victims:NAME``.

Each is one key: the model with the least leaves first. "Least recently used" is ``lru``. Ties go by the
model's name, which stands for its path.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from vramlab.allocator.facts import Model, Policy

Key = tuple[float | str, ...]


class Keyed(Policy):
    """A policy by a key; victims are taken strictly in its order, as these servers do."""

    in_order = True
    adds_up = False

    def __init__(self) -> None:
        self._used_s: dict[Model, float] = {}  # the start of the last run, or of the load

    def key(self, model: Model, now_s: float) -> Key:
        """What the order goes by."""
        raise NotImplementedError

    def admitted(self, model: Model, now_s: float) -> None:
        """Track `model`."""
        self._used_s[model] = now_s

    def used(self, model: Model, now_s: float) -> None:
        """Remember when."""
        self._used_s[model] = now_s

    def removed(self, model: Model, evicted: bool) -> None:
        """Forget `model`."""
        del self._used_s[model]

    def used_s(self, model: Model) -> float:
        """When it was last used, seconds."""
        return self._used_s.get(model, model.last_used_s)

    def score(self, model: Model, now_s: float) -> float:
        """The first part of the key, for people."""
        first = self.key(model, now_s)[0]
        return float(first)

    def ranked(self, now_s: float) -> Iterable[Model]:
        """Tracked models by key."""
        return sorted(self._used_s, key=lambda model: (self.key(model, now_s), model.name))


class ShortestKeepAlive(Keyed):
    """The shortest keep_alive, ties by path; neither recency nor size.

    Ollama fb30760, ``server/sched.go`` (``ByDurationAndName``), August 2026. Never leaving (-1) is last.
    """

    def key(self, model: Model, now_s: float) -> Key:  # noqa: D102
        return (model.keep_alive_s,)


class LargestFirst(Keyed):
    """The largest, then the least recently used: LocalAI 82c191a, option of the watchdog, August 2026."""

    def key(self, model: Model, now_s: float) -> Key:  # noqa: D102
        return (-float(model.bytes), self.used_s(model))


class MostBytesPerPriority(Keyed):
    """The most bytes per point of priority, then the lower priority, then the least recently used.

    vramd d70128c (0.3.9), ``vram_planner.py`` (``plan_eviction``), August 2026. Priority is the weight of the
    model's priority (``scoring.priority_weights``), at least 1.
    """

    def key(self, model: Model, now_s: float) -> Key:  # noqa: D102
        priority = max(model.priority_weight, 1.0)
        return (-model.bytes / 2**20 / priority, model.priority_weight, self.used_s(model))


class LongestIdlePerLoad(Keyed):
    """The longest idle by load time: Lemonade e385039, ``eviction_engine.cpp`` (opt-in), August 2026.

    ``idle_ms / (load_ms x weight)``, the largest leaves; a load time that is not known counts as 1,000 ms.
    """

    def key(self, model: Model, now_s: float) -> Key:  # noqa: D102
        load_s = model.load_s if model.load_s > 0 else 1.0
        weight = model.priority_weight if math.isfinite(model.priority_weight) else 1.0
        return (-(now_s - self.used_s(model)) / (load_s * max(weight, 1.0)),)
