"""Compaction plans worked out by hand, and against brute force."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlab.allocator.compaction import make_plan
from vramlab.allocator.extents import Extent, ExtentMap


def a_map(size, **placed):
    extents = ExtentMap(size)
    for name, (offset, length) in placed.items():
        extents.place_at(name, [Extent(offset, length)])
    return extents


def after(extents, plan):
    """The map once the plan is carried out, all at once."""
    for move in plan.moves:
        extents.remove(move.model)
    for move in plan.moves:
        extents.place_at(move.model, move.extents)
    return extents


def moved(plan):
    return {move.model: [tuple(extent) for extent in move.extents] for move in plan.moves}


# -- plans by hand ---------------------------------------------------------------------------------------


def test_nothing_to_do_below_the_threshold():
    extents = a_map(100, a=(10, 50))  # holes of 10 and 40: 1 - 40 / 50 = 0.2
    assert make_plan(extents, {"a": 1.0}, 0.3, True) is None


def test_the_threshold_itself_is_too_much():
    extents = a_map(100, a=(30, 20))  # holes of 30 and 50: 0.375
    assert make_plan(extents, {"a": 1.0}, 0.38, True) is None
    assert make_plan(extents, {"a": 1.0}, 0.375, True) is not None


def test_one_model_between_two_holes():
    # [ 20 free | a 20 | 30 free | b 30 ]: 1 - 30 / 50 = 0.4. Moving a to either end joins the holes.
    extents = a_map(100, a=(20, 20), b=(70, 30))
    plan = make_plan(extents, {"a": 1.0, "b": 5.0}, 0.3, True)
    assert (moved(plan).keys(), plan.cost_s) == ({"a"}, 1.0)
    assert plan.fragmentation_after == after(extents, plan).fragmentation == 0.0


def test_the_cheapest_that_is_enough():
    # [ a 10 | 20 free | b 30 | 20 free | c 20 ]: a into the second hole leaves 30 and 10: 0.25.
    # c into the first, or b anywhere, leaves 40 in one.
    extents = a_map(100, a=(0, 10), b=(30, 30), c=(80, 20))
    plan = make_plan(extents, {"a": 1.0, "b": 3.0, "c": 2.0}, 0.3, True)
    assert moved(plan) == {"a": [(60, 10)]}
    assert plan.fragmentation_after == 0.25
    plan = make_plan(extents, {"a": 1.0, "b": 3.0, "c": 2.0}, 0.2, True)
    assert moved(plan) == {"c": [(10, 20)]}
    plan = make_plan(extents, {"a": 1.0, "b": 1.5, "c": 2.0}, 0.2, True)
    assert moved(plan).keys() == {"b"}
    assert after(extents, plan).fragmentation == 0.0


def test_what_may_not_move_stays():
    extents = a_map(100, a=(20, 20), b=(70, 30))
    plan = make_plan(extents, {"b": 5.0}, 0.3, True)  # b, of 30, into the hole of 30: then 20 and 30
    assert plan is None


def test_paged_spreads_what_has_to_move():
    # [ 10 free | a 20 | 10 free | b 30 | 10 free | c 10 | 10 free ], only b may move
    extents = a_map(100, a=(10, 20), b=(40, 30), c=(80, 10))
    plan = make_plan(extents, {"b": 1.0}, 0.3, False)
    assert moved(plan) == {"b": [(0, 10), (90, 10), (30, 10)]}  # leaves [40, 80)
    assert after(extents, plan).fragmentation == 0.0


def test_contiguous_cannot_spread():
    extents = a_map(100, a=(10, 20), b=(40, 30), c=(80, 10))
    assert make_plan(extents, {"b": 1.0}, 0.3, True) is None


def test_another_has_to_make_way():
    # [ 20 free | a 10 | x 10 | 10 free | b 20 | x 30 ] with both x fixed: 30 free in 20 and 10.
    # b (20) fits the first hole: [10 free + 20] = 30 in one. Or a to the second hole: 30 in one.
    extents = a_map(100, a=(20, 10), x=(30, 10), b=(50, 20), y=(70, 30))
    plan = make_plan(extents, {"a": 1.0, "b": 2.0}, 0.3, True)
    assert moved(plan) == {"a": [(40, 10)]}
    plan = make_plan(extents, {"a": 3.0, "b": 2.0}, 0.3, True)
    assert moved(plan) == {"b": [(0, 20)]}


# -- against brute force ---------------------------------------------------------------------------------


def cheapest(extents, costs_s, threshold):
    """Least cost of any set of models that can be placed anew, each whole, below the threshold."""
    free = extents.free
    found = None
    for count in range(1, len(costs_s) + 1):
        for names in combinations(costs_s, count):
            cost = sum(costs_s[name] for name in names)
            if (found is None or cost < found) and any(
                placeable(extents, order, free, threshold) for order in permutations(names)
            ):
                found = cost
    return found


def placeable(extents, order, free, threshold):
    """Whether models, in that order, can each be put at the start or end of some gap, to a good end."""
    owner = [None] * extents.size
    for name, places in extents.placed.items():
        for place in places:
            if name not in order:
                owner[place.offset : place.end] = [name] * place.length
    sizes = [sum(place.length for place in extents.placed[name]) for name in order]

    def gaps():
        runs, start = [], None
        for i, by in enumerate([*owner, "end"]):
            if by is None and start is None:
                start = i
            elif by is not None and start is not None:
                runs.append((start, i))
                start = None
        return runs

    def rest(index):
        if index == len(sizes):
            largest = max(end - start for start, end in gaps())
            return largest == free or 1 - largest / free < threshold
        size = sizes[index]
        for start, end in gaps():
            for at in {start, end - size}:
                if end - start >= size:
                    owner[at : at + size] = ["new"] * size
                    good = rest(index + 1)
                    owner[at : at + size] = [None] * size
                    if good:
                        return True
        return False

    return rest(0)


LAYOUTS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 5), st.booleans(), st.integers(1, 4)), min_size=2, max_size=5
)


@settings(max_examples=150, deadline=None)
@given(LAYOUTS, st.sampled_from([0.0, 0.1, 0.3, 0.6]))
def test_contiguous_plans_cost_no_more_than_the_best_there_is(layout, threshold):
    """Pieces of (hole before, size, may it move, cost)."""
    size = sum(hole + length for hole, length, _, _ in layout) + 2
    extents, at, costs_s = ExtentMap(size), 0, {}
    for i, (hole, length, may_move, cost) in enumerate(layout):
        extents.place_at(f"m{i}", [Extent(at + hole, length)])
        at += hole + length
        if may_move:
            costs_s[f"m{i}"] = float(cost)
    plan = make_plan(extents, costs_s, threshold, True)
    if extents.largest == extents.free or extents.fragmentation < threshold:
        assert plan is None
        return
    best = cheapest(extents, costs_s, threshold)
    assert (plan and plan.cost_s) == best
    pages = make_plan(extents, costs_s, threshold, False)
    if plan is not None:
        assert pages.cost_s <= plan.cost_s  # what may be spread needs no more moves
    for made in (plan, pages):
        if made is not None:
            copy = ExtentMap(size)
            for name, places in extents.placed.items():
                copy.place_at(name, places)
            end = after(copy, made)
            assert end.fragmentation == pytest.approx(made.fragmentation_after)
            assert end.fragmentation < threshold or end.largest == end.free
            assert set(moved(made)) <= set(costs_s)


def test_many_models_are_planned_by_their_neighbourhoods():
    rng = np.random.default_rng(0)
    extents, at, costs_s = ExtentMap(4000), 0, {}
    for i in range(60):
        at += int(rng.integers(0, 20))
        length = int(rng.integers(10, 40))
        extents.place_at(f"m{i}", [Extent(at, length)])
        at += length
        costs_s[f"m{i}"] = float(rng.integers(1, 100))
    extents.place_at("end", [Extent(at, 4000 - at)])
    plan = make_plan(extents, costs_s, 0.7, True)
    assert after(extents, plan).fragmentation < 0.7
