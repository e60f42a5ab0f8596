"""LHD: least hit density, learned from the ages at which models are used and evicted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.scores import TableScore
from vramlab.allocator.scoring import Numbers

# Ages are counted in uses of the zone's models, in bins that grow: four to each doubling.
_BINS_PER_DOUBLING = 4
_BINS = _BINS_PER_DOUBLING * 40
_EDGES = 2.0 ** (np.arange(_BINS) / _BINS_PER_DOUBLING) - 1.0

# The densities are learned anew after so many uses and evictions; what was counted before then fades.
_LEARN_EVERY = 256
_FADING = 0.9


class LHD(TableScore):
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
        self._hits = np.zeros(_BINS)
        self._evictions = np.zeros(_BINS)
        self._events = 0
        self._density = 1.0 / (_EDGES + 1.0)

    def admitted(self, model: Model, now_s: float) -> None:
        """Track `model`."""
        self._last[model] = self._tick()
        super().admitted(model, now_s)

    def used(self, model: Model, now_s: float) -> None:
        """Count a hit at the age of `model`, which is then 0."""
        now = self._tick()
        self._count(self._hits, now - self._last[model])
        self._last[model] = now
        super().used(model, now_s)

    def removed(self, model: Model, evicted: bool) -> None:
        """Stop tracking `model`, and count the age of a victim."""
        last = self._last.pop(model)
        super().removed(model, evicted)
        if evicted:
            self._count(self._evictions, self._clock - last)

    def value(self, model: Model) -> float:
        """What one byte of it is worth."""
        return 1.0 / model.bytes

    def since_s(self, model: Model) -> float:
        """Last use on the clock of uses."""
        return self._last.get(model, self._clock)

    def score(self, model: Model, now_s: float) -> float:
        """Hit density of `model`; a newcomer's age is 0."""
        return super().score(model, self._clock)

    def ranked(self, now_s: float) -> Iterator[Model]:
        """Tracked models by hit density."""
        return super().ranked(self._clock)

    def scores(self, value: Numbers, age_s: Numbers) -> Numbers:
        """Value by the density at an age."""
        return value * self._density[_bin(age_s)]

    def _tick(self) -> float:
        self._clock += 1.0
        return self._clock

    def _count(self, counts: npt.NDArray[np.float64], age: float) -> None:
        counts[_bin(age)] += 1.0
        self._events += 1
        if self._events == _LEARN_EVERY:
            self._events = 0
            self._density = hit_density(self._hits, self._evictions)
            self._hits *= _FADING
            self._evictions *= _FADING


def hit_density(hits: npt.NDArray[np.float64], evictions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Density by bin of age from counts of hits and evictions by bin.

    With ``n(x)`` events at age x, of which ``h(x)`` are hits, the density at age a is the sum of h(x) over
    the sum of ``n(x) * (x - a + 1)``, both over x >= a (Beckmann et al., equation 7). Ages that no event
    has reached have a density of 0.
    """
    events = hits + evictions
    hits_after = hits[::-1].cumsum()[::-1]
    events_after = events[::-1].cumsum()[::-1]
    ages_after = (events * (_EDGES + 1.0))[::-1].cumsum()[::-1]
    lifetime = ages_after - _EDGES * events_after
    density: npt.NDArray[np.float64] = np.divide(
        hits_after, lifetime, out=np.zeros(_BINS), where=lifetime > 0
    )
    return density


def _bin(age: Numbers) -> Numbers:
    """Bin of an age, or of a column of ages."""
    return np.minimum(np.log2(age + 1.0) * _BINS_PER_DOUBLING, _BINS - 1).astype(np.intp)
