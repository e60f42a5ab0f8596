"""LHD: least hit density, learned from the ages at which models are used and evicted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from mypy_extensions import mypyc_attr

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.aged import AgedScore
from vramlab.allocator.policies.ages import BINS, EDGES, bin_of, hit_density
from vramlab.allocator.scoring import Numbers

# The densities are learned anew after so many uses and evictions; what was counted before then fades.
_LEARN_EVERY = 256
_FADING = 0.9


@mypyc_attr(allow_interpreted_subclasses=True)
class LHD(AgedScore):
    """Hits to be expected per byte and unit of time of residence, by age since the last use.

    Source: N. Beckmann, H. Chen, A. Cidon, "LHD: improving cache hit rate by maximizing hit density",
    NSDI 2018. Of a model of age a, density = P(it is used again before it is evicted) / E(how long until
    either), both from counts of the ages at which uses and evictions happened; the score is density / size.
    Theirs has classes of models with counts of their own, and takes the lowest of a sample of 32; this has
    one class, and takes the lowest of all. Until something is learned, density is 1 / (age + 1), as in LRU.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[Model, float] = {}
        self._clock = 0.0
        self._hits = np.zeros(BINS)
        self._evictions = np.zeros(BINS)
        self._events = 0
        self._density = 1.0 / (EDGES + 1.0)

    def admitted(self, model: Model, now_s: float) -> None:
        self._last[model] = self._tick()
        super().admitted(model, now_s)

    def used(self, model: Model, now_s: float) -> None:
        now = self._tick()
        self._count(self._hits, now - self._last[model])
        self._last[model] = now
        super().used(model, now_s)

    def removed(self, model: Model, evicted: bool) -> None:
        last = self._last.pop(model)
        super().removed(model, evicted)
        if evicted:
            self._count(self._evictions, self._clock - last)

    def value(self, model: Model) -> float:
        return 1.0 / model.bytes

    def since_s(self, model: Model) -> float:
        return self._last.get(model, self._clock)

    def score(self, model: Model, now_s: float) -> float:
        return super().score(model, self._clock)

    def ranked(self, now_s: float) -> Iterator[Model]:
        return super().ranked(self._clock)

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        return value * self._density[bin_of(age_s)]

    def _tick(self) -> float:
        self._clock += 1.0
        return self._clock

    def _count(self, counts: npt.NDArray[np.float64], age: float) -> None:
        counts[bin_of(age)] += 1.0
        self._events += 1
        if self._events == _LEARN_EVERY:
            self._events = 0
            self._density = hit_density(self._hits, self._evictions)
            self._hits *= _FADING
            self._evictions *= _FADING
