"""The victim set of the least total score: a covering knapsack, solved exactly.

Minimise the sum of scores over the sets that free enough. The sets that are worth a look are those that no
other set both undercuts in score and exceeds in bytes; they are built up one candidate at a time (G. L.
Nemhauser and Z. Ullmann, "Discrete dynamic programming and capital allocation", Management Science 15, 1969).
It is exact for any sizes and scores, with no grid of bytes. The number of such sets is small for real scores
but exponential in the worst case, hence the two limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CANDIDATES_LIMIT = 128
"""More candidates than this, and the caller falls back to the pruned greedy choice."""

FRONTIER_LIMIT = 4096
"""So too where more sets than this have to be kept side by side."""


class _Set(NamedTuple):
    """A set of candidates, as a chain: its last member (-1 for none) and the set without it."""

    score: float
    freed: int
    member: int
    rest: _Set | None


_EMPTY = _Set(0.0, 0, -1, None)


def cheapest_cover(scores: Sequence[float], sizes: Sequence[int], needed: int) -> list[int] | None:
    """Indices of the candidates of the least total score that together free `needed` bytes.

    Parameters
    ----------
    scores : sequence of float
        What each candidate is worth; a negative score counts as 0. Those of score 0 may be in the answer
        without need: the caller drops them.
    sizes : sequence of int
        Bytes that each frees, positive.
    needed : int
        Bytes to free.

    Returns
    -------
    list of int or None
        In ascending order; of sets of equal score one that frees the most. None if all candidates do not
        free enough, or if a limit of this module is passed.
    """
    if needed <= 0:
        return []
    if sum(sizes) < needed or len(sizes) > CANDIDATES_LIMIT:
        return None
    worth = [max(score, 0.0) for score in scores]
    # Cheap bytes first: good sets come early, and the bound below cuts the more.
    order = sorted(range(len(sizes)), key=lambda i: worth[i] / sizes[i])
    left = sum(sizes)
    frontier = [_EMPTY]  # sets that do not free enough yet, by score and bytes, both ascending
    best: _Set | None = None
    for i in order:
        grown = []
        for base in frontier:
            new = _Set(base.score + worth[i], base.freed + sizes[i], i, base)
            if new.freed < needed:
                grown.append(new)
            elif best is None or (new.score, -new.freed) < (best.score, -best.freed):
                best = new
        left -= sizes[i]
        density = worth[i] / sizes[i]  # no later candidate has cheaper bytes
        frontier = _undominated(frontier, grown)
        frontier = [
            kept
            for kept in frontier
            if kept.freed + left >= needed
            and (best is None or kept.score + (needed - kept.freed) * density <= best.score * _ROUNDING)
        ]
        if len(frontier) > FRONTIER_LIMIT:
            return None
    return _members(best)


# Sums of the same scores in another order may differ in their last digits: the bound must not cut for that.
_ROUNDING = 1.0 + 1e-12


def _undominated(these: list[_Set], those: list[_Set]) -> list[_Set]:
    """Both lists in one, by score, without the sets that free no more than a cheaper one."""
    merged: list[_Set] = []
    most = -1
    for candidate in sorted([*these, *those], key=lambda s: (s.score, -s.freed)):
        if candidate.freed > most:
            merged.append(candidate)
            most = candidate.freed
    return merged


def _members(chosen: _Set | None) -> list[int] | None:
    if chosen is None:
        return None
    members = []
    while chosen.rest is not None:
        members.append(chosen.member)
        chosen = chosen.rest
    return sorted(members)
