"""Compaction: which models to move, and where to, so that the holes of a zone join.

Geometry alone: bytes, extents and costs in, a plan out. Nothing moves here; the story that carries out a plan
is :mod:`vramlab.engine.defragmentation`. Of all sets of idle models whose moving brings the fragmentation of
a zone below the threshold, :func:`make_plan` finds one of the least reload time. What cannot move: models in
use, loading or leaving, critical models, and models of zones that evict nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from vramlab.allocator.allocator import Allocator
from vramlab.allocator.extents import Extent, ExtentMap
from vramlab.allocator.facts import Zone
from vramlab.allocator.states import State

# With more models that may move than this, only neighbours are considered: all sets of 12 are 4,095.
_EXACT_LIMIT = 12
# So many stretches of neighbours.
_STRETCHES_LIMIT = 64
# So many ways to distribute one set over the gaps.
_PACKING_LIMIT = 2_000


class Move(NamedTuple):
    """A model, and where it is to lie."""

    model: str
    extents: tuple[Extent, ...]


class Plan(NamedTuple):
    """Moves that bring the fragmentation of a zone down; `cost_s` is their reload time."""

    moves: tuple[Move, ...]
    cost_s: float
    fragmentation_after: float


def make_plan(
    extents: ExtentMap, costs_s: Mapping[str, float], threshold: float, contiguous: bool
) -> Plan | None:
    """Plan the moves of the least reload time after which the fragmentation is below the threshold.

    Whatever is moved, in the end a stretch of holes and moved models is the large hole. Under ``paged``
    placement all else takes what comes out of it, so the cheapest stretch is the answer. Under ``contiguous``
    placement what comes out must fit into other gaps whole, which may take more moves: all sets of models are
    tried, the cheapest first. With more than 12 models that may move only stretches are, the shortest that
    would do and in the end everything between two models that cannot move: not always the cheapest.

    Parameters
    ----------
    extents : ExtentMap
        Of the zone.
    costs_s : mapping of str to float
        Models that may move, and the load time of each in seconds.
    threshold : float
        The fragmentation to get below; with 0, all holes become one.
    contiguous : bool
        Whether models must lie in one piece.

    Returns
    -------
    Plan or None
        None where nothing needs to be done, or nothing can be.
    """
    free = extents.free
    if _fine(extents.largest, free, threshold):
        return None
    stretches = _stretches(extents, costs_s, threshold)
    needed = [frozenset(names) for names in stretches]
    if contiguous and needed and len(costs_s) <= _EXACT_LIMIT:
        for names in _sets(costs_s):
            if any(map(frozenset(names).issuperset, needed)):
                plan = _plan_of(extents, names, costs_s, threshold, contiguous)
                if plan is not None:
                    return plan
    if contiguous:
        stretches = [*stretches[:_STRETCHES_LIMIT], *_stretches(extents, costs_s, threshold, longest=True)]
    for names in stretches:
        plan = _plan_of(extents, names, costs_s, threshold, contiguous)
        if plan is not None:
            return plan
    return None


def plan_for(allocator: Allocator, zone: Zone, threshold: float) -> Plan | None:
    """The plan for one zone as it is now."""
    extents = allocator.placement.maps[zone.name]
    if zone.never or _fine(extents.largest, extents.free, threshold):
        return None
    costs_s = {
        name: allocator.models[name].load_s
        for name in extents.placed
        if allocator.models[name].state is State.RESIDENT and not allocator.models[name].critical
    }
    return make_plan(extents, costs_s, threshold, allocator.placement.in_one_piece)


def _fine(largest: int, free: int, threshold: float) -> bool:
    """Whether holes of `free` bytes, the largest of them of `largest`, are not too broken up."""
    return largest == free or 1.0 - largest / free < threshold


def _sets(costs_s: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    """Sets of models by their cost, the cheapest first; of equal cost, the smaller first."""
    names = sorted(costs_s, key=lambda name: (costs_s[name], name))
    heap: list[tuple[float, int, tuple[int, ...]]] = []

    def push(*chosen: int) -> None:
        if chosen[-1] < len(names):
            heappush(heap, (sum([costs_s[names[i]] for i in chosen]), len(chosen), chosen))

    push(0)
    while heap:
        _, _, chosen = heappop(heap)
        yield tuple(names[i] for i in chosen)
        # each set is made once: from the one without its dearest member, or with the next cheaper for it
        push(*chosen, chosen[-1] + 1)
        push(*chosen[:-1], chosen[-1] + 1)


def _stretches(
    extents: ExtentMap, costs_s: Mapping[str, float], threshold: float, longest: bool = False
) -> list[tuple[str, ...]]:
    """Sets of neighbours that leave a hole large enough, the cheapest first: the shortest, or the longest."""
    free = extents.free
    pieces: list[tuple[Extent, str | None]] = [(hole, None) for hole in extents.holes]
    pieces += [(place, name) for name, places in extents.placed.items() for place in places]
    pieces.sort(key=lambda piece: piece[0])
    found: dict[tuple[str, ...], float] = {}
    for first in range(len(pieces)):
        names: dict[str, None] = {}
        length = 0
        fine = False
        for place, name in pieces[first:]:
            if name is not None and name not in costs_s:
                break
            length += place.length
            if name is not None:
                names[name] = None
            fine = _fine(min(length, free), free, threshold)
            if fine and names and not longest:
                break
        if fine and names:
            found[tuple(names)] = sum([costs_s[name] for name in names])
    return sorted(found, key=lambda names: (found[names], len(names), names))


def _plan_of(
    extents: ExtentMap,
    names: tuple[str, ...],
    costs_s: Mapping[str, float],
    threshold: float,
    contiguous: bool,
) -> Plan | None:
    """How to place these models elsewhere so that the holes are fine; None if there is no way."""
    free = extents.free
    if not _fine(min(extents.largest_without(names), free), free, threshold):
        return None
    gaps = _gaps_without(extents, names)
    sizes = {name: sum(place.length for place in extents.placed[name]) for name in names}
    for index in sorted(range(len(gaps)), key=lambda i: -gaps[i].length):
        if not _fine(min(gaps[index].length, free), free, threshold):
            break
        others = [gap for i, gap in enumerate(gaps) if i != index]
        keep = _least_hole(free, threshold)
        spare = gaps[index].length - keep  # what moved models may take of the gap that becomes the hole
        bins = [*others, Extent(gaps[index].offset, spare)] if spare > 0 else others
        moves = _packed(sizes, bins) if contiguous else _poured(sizes, bins)
        if moves is not None:
            cost_s = sum([costs_s[name] for name in names])
            used = sum(p.length for m in moves for p in m.extents if gaps[index].overlaps(p))
            largest = max([gaps[index].length - used, *(_left(gap, moves) for gap in others)])
            return Plan(tuple(moves), cost_s, 1.0 - largest / free)
    return None


def _least_hole(free: int, threshold: float) -> int:
    """Bytes of the smallest hole that is fine."""
    least = min(free, max(1, int(free * (1.0 - threshold))))
    while least > 1 and _fine(least - 1, free, threshold):
        least -= 1
    while not _fine(least, free, threshold):
        least += 1
    return least


def _left(gap: Extent, moves: list[Move]) -> int:
    return gap.length - sum(p.length for move in moves for p in move.extents if gap.overlaps(p))


def _gaps_without(extents: ExtentMap, names: tuple[str, ...]) -> list[Extent]:
    """Holes, joined with the places of these models."""
    gaps: list[Extent] = []
    for piece in sorted([*extents.holes, *(place for name in names for place in extents.placed[name])]):
        if gaps and gaps[-1].end == piece.offset:
            gaps[-1] = Extent(gaps[-1].offset, gaps[-1].length + piece.length)
        else:
            gaps.append(piece)
    return gaps


def _poured(sizes: Mapping[str, int], bins: list[Extent]) -> list[Move]:
    """Models spread over the bins in order; there is room for all."""
    moves, rest = [], list(bins)
    for name, missing in sizes.items():
        places = []
        while missing:
            place = Extent(rest[0].offset, min(missing, rest[0].length))
            places.append(place)
            missing -= place.length
            if place.length == rest[0].length:
                rest.pop(0)
            else:
                rest[0] = Extent(place.end, rest[0].length - place.length)
        moves.append(Move(name, tuple(places)))
    return moves


def _packed(sizes: Mapping[str, int], bins: list[Extent]) -> list[Move] | None:
    """Each model whole in one of the bins; None if there is no way (or too many to try)."""
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    seen: set[tuple[int, ...]] = set()
    left = [place.length for place in bins]
    where: list[int] = []

    def place_from(index: int) -> bool:
        if index == len(names):
            return True
        state = (index, *left)
        if state in seen or len(seen) > _PACKING_LIMIT:
            return False
        seen.add(state)
        size = sizes[names[index]]
        for i in sorted(range(len(left)), key=lambda i: left[i]):
            if left[i] >= size:
                left[i] -= size
                where.append(i)
                if place_from(index + 1):
                    return True
                where.pop()
                left[i] += size
        return False

    if not place_from(0):
        return None
    starts = [place.offset for place in bins]
    moves = []
    for name, i in zip(names, where, strict=True):
        moves.append(Move(name, (Extent(starts[i], sizes[name]),)))
        starts[i] += sizes[name]
    return moves
