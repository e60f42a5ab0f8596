"""Ledgers, zones, holes and scores by hand: what the large tests pass by."""

import math

import pytest

from tests.allocator.building import an_allocator, load, mb
from vramlab.allocator.eviction import Requester, candidates
from vramlab.allocator.exact import cheapest_cover
from vramlab.allocator.extents import Extent, ExtentMap
from vramlab.allocator.relief import may_be_unused, relief_victims, unused_models
from vramlab.allocator.scoring import DECAYED, SEED, SEED_FIXED, Exponents, aged, constant_factor, score
from vramlab.config.schema import ScoreWeights

ONE = {"flexible": {"size_mb": 100}}


def of_sizes(**sizes_mb):
    return {name: {"vram_size_mb": size} for name, size in sizes_mb.items()}


def test_scores_by_hand():
    models = {
        "a": {"vram_size_mb": 250, "load_time_ms": 400},
        "fast": {"vram_size_mb": 10, "load_time_ms": 0},
    }
    allocator = an_allocator({"flexible": {"size_mb": 900}}, models)
    model = allocator.models["a"]
    assert constant_factor(model, SEED) == pytest.approx(100 * 4 * 0.25)
    assert constant_factor(model, SEED_FIXED) == pytest.approx(100 * 4 * 4)
    squares = Exponents(priority=2.0, size=2.0, cost=2.0)
    assert constant_factor(model, squares) == pytest.approx(100**2 * 4**2 * 0.25**2)
    assert constant_factor(allocator.models["fast"], SEED) == pytest.approx(100 * 100 * 100 / 1e-3)
    model.uses_total, model.last_used_s = 4, 10.0
    assert score(model, 13.0, SEED) == pytest.approx(100 * 4 * 0.25 * 5 / 4)
    assert score(model, 13.0, Exponents(frequency=2.0)) == pytest.approx(100 * 4 * 0.25 * 25 / 4)
    assert score(model, 13.0, DECAYED) == pytest.approx(100 * 4 * 4 * 5 / 2)
    assert aged(8.0, 3.0, 1.0) == 2.0
    assert aged(8.0, 3.0, 0.5) == 4.0
    assert aged(8.0, 3.0, 0.0) == 8.0
    given = SEED.overridden(ScoreWeights(recency=0.3, cost=-2.0))
    assert given == Exponents(recency=0.3, cost=-2.0)


def test_ledgers_and_slots():
    allocator = an_allocator({"flexible": {"size_mb": 100, "max_models": 2}}, of_sizes(a=30, b=30), 90)
    zone, device = allocator.zones["flexible"], allocator.device
    assert (device.name, device.cap, device.limit, device.held, device.committed) == (
        "device",
        mb(90),
        mb(90),
        0,
        0,
    )
    assert (zone.name, zone.cap, zone.count, zone.guests) == ("flexible", mb(100), 0, 0)
    load(allocator, "a", 0.0)
    assert (zone.cap - zone.committed, device.cap - device.committed) == (mb(70), mb(60))
    assert zone.has_room(mb(60))
    assert not zone.has_room(mb(60) + 1)
    zone.max_models = None
    assert zone.has_room(mb(30))


@pytest.mark.parametrize(
    ("rule", "never", "reluctant"),
    [("never", True, False), ("reluctant_lru", False, True), ("aggressive_lru", False, False)],
)
def test_the_rules_of_a_zone(rule, never, reluctant):
    zones = {
        "flexible": {"size_mb": 9, "eviction_policy": rule, "min_retention_time": 7, "borrowers": ["low"]}
    }
    zone = an_allocator(zones, {}).zones["flexible"]
    assert (zone.never, zone.reluctant, zone.retention_s) == (never, reluctant, 7)
    assert [priority.value for priority in zone.borrowers] == ["low"]


def test_relief_by_hand():
    allocator = an_allocator({"flexible": {"size_mb": 200}}, of_sizes(a=20, b=50, c=30, d=60))
    for now_s, name in enumerate("abcd"):
        load(allocator, name, float(now_s))
    everybody = list(allocator.models.values())

    def victims(needed_mb):
        return "".join(model.name for model in relief_victims(everybody, mb(needed_mb), 9.0))

    assert victims(0) == ""
    assert victims(20) == "a"
    assert victims(50) == "b"  # a and b; b alone does
    assert victims(70) == "ab"
    assert victims(80) == "bc"  # a, b and c make 100; without c 70, without b 50, without a 80
    assert victims(500) == "abcd"
    allocator.request("a", 10.0)
    assert victims(500) == "bcd"
    allocator = an_allocator({"flexible": {"size_mb": 200}}, of_sizes(a=20, b=50, c=5, d=60))
    for now_s, name in enumerate("abcd"):
        load(allocator, name, float(now_s))
    everybody = list(allocator.models.values())
    # all make 135; without c still 130, and then without b 80
    assert victims(80) == "ad"


def test_unused_of_equal_size_the_longest_unused_first():
    allocator = an_allocator(ONE, of_sizes(a=20, b=20, c=30))
    for now_s, name in ((5.0, "a"), (3.0, "b"), (4.0, "c")):
        load(allocator, name, now_s)
    everybody = list(allocator.models.values())
    assert [model.name for model in unused_models(everybody, 100.0, 1.0)] == ["c", "b", "a"]
    assert [model.name for model in unused_models(everybody, 5.0, 1.0)] == ["b"]
    assert all(may_be_unused(model) for model in everybody)


def test_holes_meet_on_both_sides():
    extents = ExtentMap(100)
    for name, place in {"a": (0, 20), "b": (20, 30), "c": (50, 50)}.items():
        extents.place_at(name, [Extent(*place)])
    assert extents.holes == ()
    extents.remove("a")
    extents.remove("c")
    assert extents.holes == (Extent(0, 20), Extent(50, 50))
    assert (extents.largest, extents.free) == (50, 70)
    extents.remove("b")
    assert extents.holes == (Extent(0, 100),)
    assert ExtentMap(0).holes == ()
    assert (ExtentMap(0).largest, ExtentMap(0).fragmentation) == (0, 0.0)
    assert extents.is_free([Extent(0, 1), Extent(99, 1)])
    assert not extents.is_free([Extent(99, 2)])
    extents.place_at("d", [Extent(0, 6)])
    assert extents.is_free([Extent(6, 3)])
    assert not extents.is_free([Extent(5, 3)])  # a byte before the hole
    assert not extents.is_free([Extent(6, 1), Extent(100, 1)])


def test_the_largest_hole_without_some_by_hand():
    extents = ExtentMap(10)
    for name, place in {"a": (0, 1), "b": (5, 5)}.items():
        extents.place_at(name, [Extent(*place)])
    assert extents.largest_without([]) == 4  # [1, 5)
    assert extents.largest_without("a") == 5
    assert extents.largest_without("b") == 9
    assert extents.largest_without("ab") == 10
    extents.place_at("c", [Extent(1, 4)])
    assert extents.largest_without([]) == 0


def test_placing_that_fails_says_where_and_gives_back():
    extents = ExtentMap(50)
    extents.place_at("a", [Extent(20, 10)])
    with pytest.raises(ValueError, match=r"^b: Extent\(offset=25, length=10\) is not free$"):
        extents.place_at("b", [Extent(0, 20), Extent(40, 5), Extent(25, 10)])
    assert extents.holes == (Extent(0, 20), Extent(30, 20))
    with pytest.raises(ValueError, match=r"^a is placed already$"):
        extents.place_at("a", [Extent(0, 1)])
    with pytest.raises(ValueError, match=r"^b: no hole of 21 bytes, the largest has 20$"):
        extents.place_whole("b", 21)
    with pytest.raises(ValueError, match=r"^b: 41 bytes, 40 are free$"):
        extents.place_paged("b", 41)
    extents.place_paged("b", 40)
    assert extents.placed["b"] == (Extent(0, 20), Extent(30, 20))


def test_cheap_scores_are_told_apart():
    # worth less than 1: the cheapest is still the cheapest
    assert cheapest_cover([0.5, 0.1, 0.9], [10, 10, 10], 10) == [1]
    assert cheapest_cover([0.5, 0.1, 0.9], [10, 10, 10], 20) == [0, 1]
    assert cheapest_cover([math.inf, 1.0], [10, 10], 10) == [1]


def test_candidates_stay_within_retention_to_the_moment():
    zones = {"flexible": {"size_mb": 100, "min_retention_time": 10}}
    allocator = an_allocator(zones, of_sizes(a=20, b=20))
    load(allocator, "a", 0.0)
    load(allocator, "b", 5.0)
    zone = allocator.zones["flexible"]
    allocator.request("b", 6.0)

    def names(now_s, **rights):
        return [model.name for model in candidates(zone, False, Requester(2, now_s, **rights))]

    assert names(9.9) == []
    assert names(10.0) == ["a"]
    assert names(1.0, pressure=True) == names(0.0, pressure=True) == ["a"]
    assert names(1.0, pressure=True, over_busy=True) == ["a", "b"]
    assert names(1.0, over_busy=True) == ["b"]  # what is in use is not retained, it is in use
