"""Loads that wait for their place: failures, the map as a list, and the order in which claims are met."""

import pytest

from tests.allocator.building import load, mb
from tests.allocator.test_placement import filled, place, placed, unload
from vramlab.allocator import Decision, IllegalTransition, Kind, State
from vramlab.allocator.extents import Extent
from vramlab.allocator.invariants import check
from vramlab.allocator.placement import Block

BOTH = pytest.mark.parametrize("placement", ["paged", "contiguous"])
FOUR = {"a": 30, "b": 20, "c": 30, "d": 20, "x": 35, "y": 45}  # a to d fill the zone
TWO_ZONES = {"flexible": {"size_mb": 100}, "other": {"size_mb": 50}}


@BOTH
def test_the_map_as_a_list_of_all_zones(placement):
    allocator = placed({"a": 30, "b": 20, "o": {"vram_size_mb": 50, "zone": "other"}}, placement, TWO_ZONES)
    filled(allocator, "abo")
    unload(allocator, "a")
    assert allocator.placement.maps.layout() == [
        Block("flexible", None, 0, mb(30)),
        Block("flexible", "b", mb(30), mb(20)),
        Block("flexible", None, mb(50), mb(50)),
        Block("other", "o", 0, mb(50)),
    ]
    assert allocator.placement.maps.fragmentation() == {"flexible": 1 - 50 / 80, "other": 0.0}


@BOTH
def test_a_load_that_fails_gives_its_place_back(placement):
    allocator = placed(FOUR, placement)
    allocator.request("a", 0.0)
    assert allocator.load_failed("a") == []
    check(allocator)
    assert allocator.placement.maps.layout() == [Block("flexible", None, 0, mb(100))]
    assert allocator.models["a"].state is State.ABSENT
    with pytest.raises(IllegalTransition, match="load failed: model 'a' is absent, must be loading"):
        allocator.load_failed("a")
    load(allocator, "a", 1.0)
    with pytest.raises(IllegalTransition, match="load failed: model 'a' is resident, must be loading"):
        allocator.load_failed("a")
    check(allocator)
    assert place(allocator, "a") == [(0, 30)]


@BOTH
def test_a_claim_that_fails_gives_its_place_back(placement):
    allocator = placed(FOUR, placement)
    filled(allocator, "abcd")
    assert allocator.request("x", 10.0).kind is Kind.LOAD
    assert allocator.models["x"].claiming
    allocator.load_failed("x")
    check(allocator)
    assert allocator.claims == ()
    assert "x" not in allocator.placement.maps["flexible"].placed


@BOTH
def test_settling_notes_when_it_was_loaded(placement):
    allocator = placed(FOUR, placement)
    filled(allocator, "abcd")
    decision = allocator.request("x", 10.0, pin=False)
    allocator.settle(decision, 12.5)
    assert (allocator.models["x"].loaded_at_s, allocator.models["x"].state) == (12.5, State.RESIDENT)
    assert all(allocator.models[name].state is State.ABSENT for name in decision.victims)
    check(allocator)


def test_contiguous_decisions_in_full():
    allocator = placed(FOUR, "contiguous")
    assert allocator.request("a", 0.0) == Decision(Kind.LOAD, "a", "flexible", (), "")
    assert allocator.models["a"].pins == 1
    allocator.loaded("a", 0.0)
    allocator.released("a")
    for now_s, name in enumerate("bcd", 1):
        load(allocator, name, float(now_s))
    assert allocator.request("y", 9.0, pin=False) == Decision(Kind.LOAD, "y", "flexible", ("a", "b"), "")
    model = allocator.models["y"]
    assert (model.pins, model.uses, model.loaded_at_s) == (0, 1, 9.0)


def test_contiguous_takes_from_its_own_zone_what_the_device_lacks_only_as_far_as_it_must():
    models = {"a": 30, "b": 30, "o": {"vram_size_mb": 40, "zone": "other"}, "new": 50}
    allocator = placed(models, "contiguous", TWO_ZONES, total_mb=105)
    filled(allocator, ["o", "a", "b"])  # 5 MB are free on the device, [60, 100) in the zone
    # b makes [30, 100): enough for the place, but 30 + 5 are not 50; o and a are left, a of its own zone
    assert load(allocator, "new", 5.0).victims == ("a", "b")
    check(allocator)


def test_contiguous_takes_from_another_zone_what_the_device_lacks():
    models = {"a": 20, "o": {"vram_size_mb": 40, "zone": "other"}, "new": 50}
    allocator = placed(models, "contiguous", TWO_ZONES, total_mb=100)
    filled(allocator, ["a", "o"])  # 40 are free on the device, 10 short: a is asked before o
    assert load(allocator, "new", 5.0).victims == ("a",)
    allocator = placed(models, "contiguous", TWO_ZONES, total_mb=80)
    filled(allocator, ["a", "o"])  # 20 are free, 30 short: a does not do, and o alone does
    assert load(allocator, "new", 5.0).victims == ("o",)
    check(allocator)


def test_contiguous_max_models():
    zones = {"flexible": {"size_mb": 100, "max_models": 2}}
    allocator = placed({"a": 10, "b": 10, "c": 10}, "contiguous", zones)
    filled(allocator, "ab")
    assert load(allocator, "c", 5.0).victims == ("a",)
    assert allocator.reserve("a", 6.0) is None
    flexible = allocator.zones["flexible"]
    assert allocator.reserve_at("a", 6.0, flexible, (Extent(mb(50), mb(10)),)) is None
    unload(allocator, "b")
    assert allocator.reserve_at("a", 6.0, flexible, (Extent(mb(50), mb(10)),)) is not None


def test_contiguous_lenders_are_asked_in_their_order():
    zones = {
        "high_priority": {"size_mb": 50},
        "flexible": {"size_mb": 60, "borrowers": ["high"], "max_models": 1},
        "other": {"size_mb": 50, "borrowers": ["high"]},
    }
    models = {name: {"vram_size_mb": 40, "priority": "high"} for name in "abcd"}
    allocator = placed(models, "contiguous", zones)
    filled(allocator, "abc")
    assert [allocator.models[name].zone.name for name in "abc"] == ["high_priority", "flexible", "other"]
    decision = load(allocator, "d", 5.0)
    assert (decision.zone, decision.victims) == ("high_priority", ("a",))


def test_contiguous_a_guest_asks_by_its_rank():
    zones = {"high_priority": {"size_mb": 50}, "flexible": {"size_mb": 50, "borrowers": ["high"]}}
    models = {
        "keep": {"vram_size_mb": 50, "priority": "critical", "zone": "high_priority"},
        "own": 30,
        "new": {"vram_size_mb": 40, "priority": "high"},
    }
    allocator = placed(models, "contiguous", zones)
    filled(allocator, ["keep", "own"])
    decision = load(allocator, "new", 5.0)
    assert (decision.zone, decision.victims) == ("flexible", ("own",))
    models["own"] = {"vram_size_mb": 30, "priority": "critical", "zone": "flexible"}
    allocator = placed(models, "contiguous", zones)
    filled(allocator, ["keep", "own"])
    assert allocator.request("new", 5.0).kind is Kind.CPU


# -- the order of the claims -----------------------------------------------------------------------------


def test_contiguous_claims_of_one_zone_are_met_in_turn():
    allocator = placed({"a": 40, "b": 40, "c": 20, "x": 80, "y": 20}, "contiguous")
    filled(allocator, "abc")
    assert allocator.request("x", 3.0).victims == ("a", "b")
    assert allocator.request("y", 4.0).victims == ("c",)
    assert [model.name for model in allocator.claims] == ["x", "y"]
    assert allocator.unloaded("c") == []  # its place is free, but 20 of the 20 free bytes are x's
    check(allocator)
    assert allocator.unloaded("a") == []
    check(allocator)
    assert allocator.unloaded("b") == ["x", "y"]
    assert allocator.claims == ()
    assert not allocator.models["x"].claiming
    assert (allocator.device.held, allocator.zones["flexible"].held) == (mb(100), mb(100))
    check(allocator)


def test_contiguous_claims_keep_their_turn_in_a_zone_where_the_device_has_room():
    allocator = placed({"a": 60, "c": 40, "x": 60, "y": 40}, "contiguous", total_mb=500)
    filled(allocator, "ac")
    assert allocator.request("x", 2.0).victims == ("a",)
    assert allocator.request("y", 3.0).victims == ("c",)
    assert allocator.unloaded("c") == []  # 40 are free: y's, but x comes first and wants 60
    check(allocator)
    assert allocator.unloaded("a") == ["x", "y"]
    check(allocator)


def test_contiguous_a_place_is_waited_for_though_there_are_bytes():
    allocator = placed({"a": 40, "b": 20, "x": 30, "y": 20}, "contiguous")
    filled(allocator, "ab")  # 40 MB are free at the end
    allocator.unload("a", 5.0)
    allocator.unload("b", 5.0)
    allocator.request("x", 6.0)  # into [0, 30), of a
    allocator.request("y", 7.0)  # into [30, 50), of a and b
    assert [model.name for model in allocator.claims] == ["x", "y"]
    assert allocator.device.held == mb(60)
    check(allocator)
    assert allocator.unloaded("b") == []
    assert allocator.unloaded("a") == ["x", "y"]
    check(allocator)


def two_zones(total_mb):
    models = {
        "a": 40,
        "b": 40,
        "x": 80,
        **{name: {"vram_size_mb": 20, "zone": "other"} for name in ("c", "e", "y", "z")},
    }
    zones = {"flexible": {"size_mb": 80}, "other": {"size_mb": 40}}
    allocator = placed(models, "contiguous", zones, total_mb=total_mb)
    filled(allocator, "abce")
    assert allocator.request("x", 4.0).victims == ("a", "b")
    assert allocator.request("y", 5.0).victims == ("c",)
    assert allocator.request("z", 6.0).victims == ("e",)
    return allocator


def test_contiguous_claims_of_another_zone_wait_for_the_devices_bytes():
    allocator = two_zones(120)
    assert allocator.unloaded("c") == []  # 20 of the device's bytes, and they are x's
    assert allocator.unloaded("e") == []
    assert allocator.unloaded("a") == []
    check(allocator)
    assert allocator.unloaded("b") == ["x", "y", "z"]
    check(allocator)


def test_contiguous_claims_of_another_zone_do_not_wait_where_the_device_has_bytes_for_all():
    allocator = two_zones(200)
    assert allocator.unloaded("e") == []  # 20 are free in the zone, and y's turn, whose place is c's
    check(allocator)
    assert allocator.unloaded("c") == ["y", "z"]  # 80 are held, 80 kept for x, and 40: to the last byte
    check(allocator)
    assert allocator.unloaded("b") == []
    assert allocator.unloaded("a") == ["x"]


def test_contiguous_claims_of_another_zone_where_the_device_has_not_bytes_for_all():
    allocator = two_zones(199)
    assert allocator.unloaded("e") == []
    assert allocator.unloaded("c") == ["y"]
    check(allocator)
    assert allocator.unloaded("a") == ["z"]
    assert allocator.unloaded("b") == ["x"]
    check(allocator)


def test_places_overlap_where_they_share_a_byte():
    one = Extent(10, 10)
    assert one.overlaps(Extent(19, 1))
    assert one.overlaps(Extent(5, 6))
    assert one.overlaps(Extent(12, 2))
    assert Extent(12, 2).overlaps(one)
    assert not one.overlaps(Extent(20, 5))
    assert not one.overlaps(Extent(5, 5))
    assert not one.overlaps(Extent(30, 5))
    assert not one.overlaps(Extent(0, 5))


@BOTH
def test_moving_into_a_place_that_is_taken_is_moving_elsewhere(placement):
    allocator = placed(FOUR, placement)
    filled(allocator, "ab")
    flexible = allocator.zones["flexible"]
    model = allocator.models["c"]
    model.uses = 7
    decision = allocator.reserve_at("c", 9.0, flexible, (Extent(mb(70), mb(30)),))
    assert decision == Decision(Kind.LOAD, "c", "flexible", (), "")
    assert (model.uses, model.pins, model.loaded_at_s) == (7, 0, 9.0)
    assert place(allocator, "c") == [(70, 30)]
    assert allocator.reserve_at("d", 9.0, flexible, (Extent(0, mb(20)),)) is not None
    assert place(allocator, "d") == [(50, 20)]
    check(allocator)
    unload(allocator, "a")
    load(allocator, "a", 12.0)  # the wish of the last move is forgotten
    assert place(allocator, "a") == [(0, 30)]


@pytest.mark.parametrize("spare", [0, 1])
def test_moving_wants_room_to_the_last_byte(spare):
    allocator = placed({"a": 60, "b": 40}, "contiguous", total_mb=100)
    filled(allocator, "a")
    allocator.set_budget(mb(100) - spare)
    moved = allocator.reserve_at("b", 1.0, allocator.zones["flexible"], (Extent(mb(60), mb(40)),))
    assert (moved is None) is bool(spare)
