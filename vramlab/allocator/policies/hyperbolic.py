"""Hyperbolic caching: what a use was worth per second of residence."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.aged import AgedScore
from vramlab.allocator.scoring import Numbers, cost_per_byte


@mypyc_attr(allow_interpreted_subclasses=True)
class Hyperbolic(AgedScore):
    """Worth x uses since loading / seconds since loading (+ 1, so that the first second is defined).

    Source: A. Blankstein, S. Sen, M. J. Freedman, "Hyperbolic caching: flexible caching for web
    applications", USENIX ATC 2017; with load time / size as worth it is their cost- and size-aware form.
    They, and libCacheSim, take the lowest of 64 models drawn at random and count time in requests; we take
    the lowest of all, and seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.falls(recency=1.0)
        self._admitted_s: dict[Model, float] = {}

    def admitted(self, model: Model, now_s: float) -> None:
        self._admitted_s[model] = now_s
        super().admitted(model, now_s)

    def removed(self, model: Model, evicted: bool) -> None:
        del self._admitted_s[model]
        super().removed(model, evicted)

    def value(self, model: Model) -> float:
        return max(model.uses, 1) * cost_per_byte(model)  # a newcomer has one use

    def since_s(self, model: Model) -> float:
        return self._admitted_s.get(model, model.last_used_s)

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        return value / (age_s + 1.0)
