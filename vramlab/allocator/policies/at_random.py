"""Anybody leaves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model, Policy


@mypyc_attr(allow_interpreted_subclasses=True)
class Random(Policy):
    """Anybody leaves, each with the same probability: the yardstick that needs no bookkeeping.

    Each eviction draws a new number, and the order of leaving is a shuffle (Fisher and Yates, in
    Durstenfeld's form) that this number seeds: looking at the order changes nothing. Option: ``seed``.
    """

    in_order = True

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._draws: list[int] = []
        self._models: list[Model] = []
        self._place: dict[Model, int] = {}
        self._next()

    def admitted(self, model: Model, now_s: float) -> None:
        self._place[model] = len(self._models)
        self._models.append(model)

    def used(self, model: Model, now_s: float) -> None: ...

    def removed(self, model: Model, evicted: bool) -> None:
        place, last = self._place.pop(model), self._models.pop()
        if last is not model:  # the last one takes its place
            self._models[place] = last
            self._place[last] = place
        self._next()

    def score(self, model: Model, now_s: float) -> float:
        return 0.0

    def ranked(self, now_s: float) -> Iterator[Model]:
        models, state, count = self._models, self._seed, len(self._models)
        moved: dict[int, int] = {}  # the shuffle as far as it has gone, without copying the list
        for step in range(count):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64  # Knuth's MMIX generator
            other = step + (state >> 32) % (count - step)
            chosen = moved.get(other, other)
            moved[other] = moved.get(step, step)
            yield models[chosen]

    def _next(self) -> None:
        if not self._draws:
            self._draws = self._rng.integers(2**63, size=256).tolist()
        self._seed = self._draws.pop()
