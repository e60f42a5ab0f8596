"""Ages of models, in bins, and what counts of uses and evictions by age say of the hits to come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vramlab.allocator.scoring import Numbers

# Ages are counted in uses of the zone's models, in bins that grow: four to each doubling.
PER_DOUBLING = 4
BINS = PER_DOUBLING * 40
EDGES = 2.0 ** (np.arange(BINS) / PER_DOUBLING) - 1.0


def hit_density(hits: npt.NDArray[np.float64], evictions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Density by bin of age from counts of hits and evictions by bin.

    With ``n(x)`` events at age x, of which ``h(x)`` are hits, the density at age a is the sum of h(x) over
    the sum of ``n(x) * (x - a + 1)``, both over x >= a (Beckmann et al., equation 7). Ages that no event
    has reached have a density of 0.
    """
    events = hits + evictions
    hits_after = hits[::-1].cumsum()[::-1]
    events_after = events[::-1].cumsum()[::-1]
    ages_after = (events * (EDGES + 1.0))[::-1].cumsum()[::-1]
    lifetime = ages_after - EDGES * events_after
    density: npt.NDArray[np.float64] = np.divide(hits_after, lifetime, out=np.zeros(BINS), where=lifetime > 0)
    return density


def bin_of(age: Numbers) -> Numbers:
    """Bin of an age, or of a column of ages."""
    return np.minimum(np.log2(age + 1.0) * PER_DOUBLING, BINS - 1).astype(np.intp)
