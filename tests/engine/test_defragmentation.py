"""Defragmentation: plans worked out by hand and against brute force, and what is carried out of them."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.hand import HandDriver, spec
from tests.engine.hand import settings as one_zone
from vramlab.allocator.extents import Extent, ExtentMap
from vramlab.allocator.invariants import check
from vramlab.config.units import MIB
from vramlab.engine.defragmentation import make_plan
from vramlab.engine.effects import Failure, MemoryReading
from vramlab.engine.journal import Journal
from vramlab.runs.lockstep import lockstep
from vramlab.simulation.driver import simulate
from vramlab.traces.synthetic import zipf_trace


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


# -- carried out -----------------------------------------------------------------------------------------

MODELS = {"a": spec(30), "b": spec(20), "c": spec(20), "d": spec(20), "large": spec(25)}


def contiguous(*overrides):
    return one_zone(100, "placement=contiguous", "optimization.optimization_threshold=1", *overrides)


def broken_up(*overrides):
    """A contiguous zone of 100 MB: [ 30 free | b 20 | 20 free | d 20 | 10 free ]."""
    hand = HandDriver(contiguous("optimization.pressure_available_mb=0", *overrides), MODELS)
    hand.engine.journal = hand.journal = Journal()
    for name in "abcd":
        hand.serve_fully(name)
    for name in "ac":
        hand.engine.allocator.unload(name, 0.0)
        hand.engine.allocator.unloaded(name)
    assert hand.engine.allocator.fragmentation() == {"flexible": 0.5}
    return hand


def places(hand):
    placed = hand.engine.allocator.maps["flexible"].placed
    return {name: placed[name][0].offset // MIB for name in sorted(placed)}


def reading(used_mb):
    return MemoryReading(100 * MIB, used_mb * MIB)


def test_a_story_of_its_own():
    hand = broken_up()
    hand.begin("defragment", 1.0)
    hand.end("defragment", 1.0, reading(40))
    # b to the end makes 50 MB at the start; d to the start the same at the end. Equal cost: b is first.
    assert hand.under_way == {"defragment": "unload b"}
    hand.end("defragment", 1.1)
    assert hand.under_way == {"defragment": "load on gpu b"}
    hand.end("defragment", 1.3)
    assert hand.under_way == {"defragment": "readmemory"}
    hand.end("defragment", 1.3, reading(41))
    assert hand.answers["defragment"] == (1.3, 1)
    check(hand.engine.allocator)
    assert hand.engine.allocator.fragmentation()["flexible"] < 0.3
    begun, done = (
        line for line in hand.journal if line.event == "action" and line.what.startswith("defragment")
    )
    assert begun.detail["models"] == ["b"]
    assert (begun.detail["fragmentation"], begun.detail["used_bytes"]) == (0.5, 40 * MIB)
    assert (done.detail["moved"], done.detail["used_bytes"]) == (1, 41 * MIB)
    assert [(load.model, load.reason) for load in hand.recorder.loads][-1] == ("b", "defragmentation")
    assert [(e.model, e.reason) for e in hand.recorder.evictions] == [("b", "defragmentation")]


def begin(hand):
    hand.begin("defragment", 1.0)
    hand.end("defragment", 1.0, reading(40))


def test_a_model_that_is_used_stays():
    hand = broken_up()
    hand.begin("defragment", 1.0)
    hand.ask(4, "b", 1.0)  # while the memory is read
    hand.end("defragment", 1.0, reading(40))
    assert hand.under_way["defragment"] == "readmemory"
    hand.end("defragment", 1.0, reading(40))
    assert hand.answers["defragment"] == (1.0, 0)
    assert places(hand) == {"b": 30, "d": 70}


def test_who_asks_for_a_model_on_its_way_gets_it():
    hand = broken_up()
    begin(hand)
    hand.ask(4, "b", 1.05)  # waits for the unloading, then loads it
    hand.end("defragment", 1.1)
    assert hand.under_way == {"defragment": "readmemory", 4: "load on gpu b"}
    hand.end("defragment", 1.1, reading(40))
    assert hand.answers["defragment"] == (1.1, 0)
    check(hand.engine.allocator)


def test_a_reload_that_fails_is_an_eviction():
    hand = broken_up()
    begin(hand)
    hand.end("defragment", 1.1)
    hand.fail("defragment", 1.2, Failure.CORRUPT)
    hand.end("defragment", 1.2, reading(20))
    assert hand.answers["defragment"] == (1.2, 0)
    check(hand.engine.allocator)
    assert places(hand) == {"d": 70}


def test_the_monitor_defragments_where_holes_matter():
    hand = broken_up()
    hand.begin("monitor", 1.0)
    hand.end("monitor", 6.0, reading(40))
    hand.end("monitor", 6.0, reading(40))
    assert hand.under_way == {"monitor": "unload b"}
    for setting in ("optimization.defragmentation=never", "optimization.defragmentation_threshold=0.6"):
        hand = broken_up(setting)
        hand.begin("monitor", 1.0)
        hand.end("monitor", 6.0, reading(40))
        assert hand.under_way == {"monitor": "readmemory"}


def test_nothing_by_itself_where_models_may_be_spread():
    for setting, expected in (("auto", "readmemory"), ("always", "readmemory")):
        hand = HandDriver(one_zone(100, f"optimization.defragmentation={setting}"), MODELS)
        hand.begin("monitor", 1.0)
        hand.end("monitor", 6.0, reading(0))
        assert hand.under_way == {"monitor": expected}


@pytest.mark.parametrize("placement", ["contiguous", "paged"])
def test_on_simulated_time_in_lock_step(placement):
    rng = np.random.default_rng(1)
    sizes = [17, 23, 31, 8, 40, 12, 27, 19, 35, 5]
    inventory = {f"m{i}": spec(size, load_time_ms=20 + size) for i, size in enumerate(sizes)}
    trace = zipf_trace(rng, models=list(inventory), requests=3000, rate_per_s=2.0, exponent=0.5)
    config = one_zone(
        100,
        f"placement={placement}",
        "optimization.defragmentation=always",
        "optimization.pressure_available_mb=0",
        "optimization.optimization_threshold=0.95",
    )
    journal = Journal()
    records = simulate(trace, config, inventory, journal=journal)
    actions = [line for line in journal if line.event == "action"]
    done = [line.detail for line in actions if line.what == "defragmented"]
    planned = [line.detail for line in actions if line.what == "defragment"]
    assert len(done) > 20
    assert np.mean([d["fragmentation"] for d in done]) < 0.3 <= min(p["fragmentation"] for p in planned)
    assert {"eviction", "defragmentation"} <= {eviction.reason for eviction in records.evictions}
    report = lockstep(list(journal), config, inventory)
    assert report.differences == []
    assert report.lines == len(journal)
