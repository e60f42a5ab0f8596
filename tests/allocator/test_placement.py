"""Placement: the map follows the ledger, and where models must lie in one piece, who has to leave for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.allocator.building import a_config, load, mb
from vramlab.allocator import Allocator, Kind, State, make_allocator
from vramlab.allocator.extents import Extent
from vramlab.allocator.invariants import check
from vramlab.allocator.placement import Contiguous, Paged, Unmapped
from vramlab.config.schema import ModelSpec

ZONE = {"flexible": {"size_mb": 100}}


def specs(models):
    return {
        name: ModelSpec.model_validate({"priority": "medium", "load_time_ms": 100, **values})
        for name, values in models.items()
    }


def placed(sizes_mb, placement, zones=None, total_mb=None, **more):
    models = {
        name: size if isinstance(size, dict) else {"vram_size_mb": size} for name, size in sizes_mb.items()
    }
    return make_allocator(a_config(zones or ZONE, total_mb, placement=placement, **more), specs(models))


def filled(allocator, names):
    for now_s, name in enumerate(names):
        load(allocator, name, float(now_s))


def unload(allocator, name):
    allocator.unload(name, 50.0)
    allocator.unloaded(name)
    check(allocator)


def place(allocator, name):
    places = allocator.placement.maps["flexible"].placed[name]
    return [(extent.offset / mb(1), extent.length / mb(1)) for extent in places]


FOUR = {"a": 30, "b": 20, "c": 30, "d": 20, "x": 35, "y": 45}  # a to d fill the zone


def test_make_allocator():
    assert isinstance(placed(FOUR, "paged").placement, Paged)
    assert isinstance(placed(FOUR, "contiguous").placement, Contiguous)
    assert isinstance(make_allocator(a_config(ZONE), specs({}), mapped=False).placement, Unmapped)


def test_paged_spreads_a_model_over_holes():
    allocator = placed(FOUR, "paged")
    filled(allocator, "abcd")
    unload(allocator, "b")
    unload(allocator, "d")  # free: [30, 50) and [80, 100)
    assert allocator.placement.maps.fragmentation() == {"flexible": 0.5}
    assert load(allocator, "x", 10.0).victims == ()
    assert place(allocator, "x") == [(30, 20), (80, 15)]
    blocks = allocator.placement.maps.layout()
    assert sum(block.size_bytes for block in blocks) == mb(100)
    assert [block.model for block in blocks] == ["a", "x", "c", "x", None]


def test_contiguous_evicts_until_one_hole_is_large_enough():
    # 40 MB are free, 20 in one piece; least recently used is a: with it, [0, 50) is free.
    allocator = placed(FOUR, "contiguous")
    filled(allocator, "abcd")
    unload(allocator, "b")
    unload(allocator, "d")
    decision = load(allocator, "x", 10.0)
    assert decision.victims == ("a",)
    assert place(allocator, "x") == [(0, 35)]


def test_contiguous_spares_victims_that_are_no_part_of_the_hole():
    # full zone; y needs 45: a (30), then b (20) next to it make 50. d, used before b, is of no use.
    allocator = placed(FOUR, "contiguous")
    filled(allocator, "adbc")  # a [0, 30), d [30, 50), b [50, 70), c [70, 100)
    allocator.request("d", 20.0)
    allocator.released("d")  # in the order of leaving: a, b, c, d
    decision = load(allocator, "y", 30.0)
    assert decision.victims == ("b", "c")  # a alone has no neighbour that leaves; b and c make [50, 100)
    assert place(allocator, "y") == [(50, 45)]


def test_contiguous_has_no_victims_where_none_would_help():
    models = {**FOUR, "keep": {"vram_size_mb": 10, "priority": "critical", "zone": "flexible"}}
    allocator = placed(models, "contiguous")
    filled(allocator, ["a", "b", "keep"])  # [0, 30), [30, 50), critical [50, 60), free [60, 100)
    unload(allocator, "a")
    unload(allocator, "b")
    filled(allocator, ["x"])  # best fit: in [60, 100)
    assert place(allocator, "x") == [(60, 35)]
    assert load(allocator, "y", 10.0).victims == ()  # [0, 50)
    decision = allocator.request("d", 11.0)  # 5 MB free at each end: a victim, but which lies where is known
    assert (decision.kind, decision.victims) == (Kind.LOAD, ("x",))
    big = placed({**models, "z": 55}, "contiguous")
    filled(big, ["a", "b", "keep"])
    decision = big.request("z", 20.0)
    assert (decision.kind, decision.reason) == (Kind.CPU, "no room, and no victims that may leave")
    check(big)


def test_contiguous_waits_for_its_own_place_and_not_just_for_bytes():
    allocator = placed(FOUR, "contiguous")
    filled(allocator, "abc")  # 20 MB free at the end
    unload(allocator, "b")  # and [30, 50)
    decision = allocator.request("x", 10.0)  # a leaves for it
    assert decision.victims == ("a",)
    check(allocator)
    assert allocator.models["x"].claiming  # 40 MB are free, but its place is [0, 35)
    assert allocator.unloaded("a") == ["x"]
    check(allocator)
    allocator.loaded("x", 11.0)


def test_contiguous_a_model_in_use_is_waited_for():
    allocator = placed({**FOUR, "only": {"vram_size_mb": 60, "cpu_fallback": "none"}}, "contiguous")
    filled(allocator, "abcd")
    allocator.request("b", 10.0)
    assert allocator.request("only", 11.0).kind is Kind.WAIT  # without b at most 50 MB in one piece
    allocator.released("b")
    decision = allocator.ask_again("only", 12.0)
    assert decision.kind is Kind.LOAD
    check(allocator)


def test_moving_to_a_place():
    allocator = placed(FOUR, "contiguous")
    filled(allocator, "abc")
    unload(allocator, "b")
    zone = allocator.zones["flexible"]
    allocator.unload("c", 10.0)
    allocator.unloaded("c")
    assert allocator.reserve_at("c", 11.0, zone, (Extent(mb(30), mb(30)),)) is not None
    assert place(allocator, "c") == [(30, 30)]
    assert allocator.models["c"].last_used_s == 2.0
    check(allocator)
    assert allocator.reserve_at("c", 12.0, zone, ()) is None  # is there
    assert allocator.reserve_at("y", 12.0, zone, ()) is None  # 40 MB are free
    assert allocator.reserve_at("b", 12.0, zone, (Extent(mb(20), mb(20)),)) is not None  # taken: elsewhere
    assert place(allocator, "b") == [(60, 20)]
    check(allocator)


EVENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), max_size=50)
MODELS = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from(["critical", "high", "medium", "low"]), st.booleans()),
    min_size=8,
    max_size=8,
)
TWO_ZONES = {
    "flexible": {"size_mb": 100, "borrowers": ["high"]},
    "high_priority": {"size_mb": 60, "borrowers": ["medium"], "eviction_policy": "reluctant_lru"},
}


class Both:
    """Random events in two allocators at once; `other` may be None."""

    def __init__(self, allocator, other=None):
        self.all = [allocator] if other is None else [allocator, other]
        self.now_s = 0.0

    def each(self, call):
        results = [call(allocator) for allocator in self.all]
        for allocator in self.all:
            check(allocator)
        assert all(result == results[0] for result in results)
        return results[0]

    def happen(self, what, number):
        self.now_s += 1.0
        name = f"m{number}"
        state, model = self.all[0].models[name].state, self.all[0].models[name]
        if what <= 3:
            self.each(lambda allocator: allocator.request(name, self.now_s))
        elif what == 4 and state is State.IN_USE:
            self.each(lambda allocator: allocator.released(name))
        elif what in (5, 6) and state is State.LOADING and not model.claiming:
            self.each(lambda allocator: allocator.loaded(name, self.now_s))
        elif what == 7 and state is State.LOADING and not model.claiming:
            self.each(lambda allocator: allocator.load_failed(name))
        elif what in (4, 5, 6, 7) and state is State.EVICTING:
            self.each(lambda allocator: allocator.unloaded(name))
        elif what == 8:
            self.each(lambda allocator: allocator.unload(name, self.now_s))
        elif what == 9:
            self.each(lambda allocator: allocator.set_budget(mb(160 - 20 * number)))
            if number % 2:
                self.each(lambda allocator: allocator.relieve(mb(10), self.now_s))


def random_inventory(models):
    return specs(
        {
            f"m{i}": {"vram_size_mb": size, "priority": priority, "cpu_fallback": "none" if forced else "cpu"}
            for i, (size, priority, forced) in enumerate(models)
        }
    )


@given(MODELS, EVENTS, st.sampled_from(["lru", "gdsf", "seed_fixed"]))
def test_the_map_of_paged_placement_changes_no_decision(models, events, policy):
    config = a_config(TWO_ZONES, 150, scoring={"policy": policy})
    both = Both(
        Allocator(config, random_inventory(models), Paged), Allocator(config, random_inventory(models))
    )
    for what, number in events:
        both.happen(what, number)


@given(MODELS, EVENTS, st.sampled_from(["lru", "gdsf", "seed_fixed"]))
def test_contiguous_placement_keeps_all_rules(models, events, policy):
    config = a_config(TWO_ZONES, 150, placement="contiguous", scoring={"policy": policy})
    one = Both(Allocator(config, random_inventory(models), Contiguous))
    for what, number in events:
        one.happen(what, number)
    # whatever happened, everything under way ends
    allocator = one.all[0]
    for _ in range(20):
        for name, model in allocator.models.items():
            if model.state is State.EVICTING:
                allocator.unloaded(name)
            elif model.state is State.LOADING and not model.claiming:
                allocator.loaded(name, one.now_s)
            check(allocator)
        allocator.set_budget(mb(150))
        check(allocator)
    assert allocator.claims == ()


def test_settle_is_for_decide_mode():
    config = a_config(ZONE, placement="contiguous")
    allocator = make_allocator(config, specs({name: {"vram_size_mb": 40} for name in "abc"}), mapped=False)
    for now_s, name in enumerate("abcabc"):
        decision = allocator.request(name, float(now_s), pin=False)
        if decision.kind is Kind.LOAD:
            allocator.settle(decision, float(now_s))
        check(allocator)
    with pytest.raises(ValueError, match="no hole"):
        allocator.placement.maps["flexible"].place_whole("z", mb(30))
