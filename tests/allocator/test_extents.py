"""The extent map: worked examples, and whatever happens, no byte twice and none lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramlab.allocator.extents import Extent, ExtentMap


def a_map(size, **placed):
    """A map with models at given places, ``name=(offset, length)``."""
    extents = ExtentMap(size)
    for name, place in placed.items():
        extents.place_at(name, [Extent(*place)])
    return extents


def test_an_empty_zone_is_one_hole():
    extents = ExtentMap(100)
    assert extents.holes == (Extent(0, 100),)
    assert (extents.size, extents.free, extents.largest, extents.fragmentation) == (100, 100, 100, 0.0)


def test_a_full_zone_is_not_fragmented():
    extents = a_map(100, a=(0, 100))
    assert (extents.holes, extents.free, extents.largest, extents.fragmentation) == ((), 0, 0, 0.0)


def test_best_fit_takes_the_smallest_hole_that_is_large_enough():
    # holes: [0, 30), [40, 55), [60, 100)
    extents = a_map(100, a=(30, 10), b=(55, 5))
    extents.place_whole("c", 12)
    assert extents.placed["c"] == (Extent(40, 12),)
    extents.place_whole("d", 28)
    assert extents.placed["d"] == (Extent(0, 28),)
    assert extents.holes == (Extent(28, 2), Extent(52, 3), Extent(60, 40))


def test_of_equal_holes_the_first():
    extents = a_map(50, a=(10, 10), b=(30, 10))  # holes of 10 at 0, 20 and 40
    extents.place_whole("c", 10)
    assert extents.placed["c"] == (Extent(0, 10),)


def test_fragmentation_by_hand():
    # holes of 30, 15 and 40 bytes: 1 - 40 / 85
    extents = a_map(100, a=(30, 10), b=(55, 5))
    assert extents.fragmentation == pytest.approx(1 - 40 / 85)
    extents.remove("b")  # holes of 30 and 60
    assert extents.holes == (Extent(0, 30), Extent(40, 60))
    assert extents.fragmentation == pytest.approx(1 - 60 / 90)


def test_paged_is_whole_where_it_can_be_and_else_takes_the_largest_holes_first():
    extents = a_map(100, a=(30, 10), b=(55, 5))  # holes of 30, 15, 40
    extents.place_paged("c", 35)
    assert extents.placed["c"] == (Extent(60, 35),)
    extents.place_paged("d", 42)  # 30 at 0, then 12 of the 15 at 40
    assert extents.placed["d"] == (Extent(0, 30), Extent(40, 12))
    assert extents.holes == (Extent(52, 3), Extent(95, 5))
    assert extents.remove("d") == (Extent(0, 30), Extent(40, 12))


def test_what_does_not_fit_is_an_error_and_changes_nothing():
    extents = a_map(100, a=(30, 10), b=(55, 5))
    before = extents.holes
    with pytest.raises(ValueError, match="no hole of 41 bytes"):
        extents.place_whole("c", 41)
    with pytest.raises(ValueError, match="86 bytes, 85 are free"):
        extents.place_paged("c", 86)
    with pytest.raises(ValueError, match="not free"):
        extents.place_at("c", [Extent(0, 30), Extent(30, 1)])
    with pytest.raises(ValueError, match="placed already"):
        extents.place_at("a", [Extent(0, 1)])
    assert extents.holes == before


def test_the_largest_hole_if_some_were_gone():
    extents = a_map(100, a=(10, 20), b=(30, 20), c=(60, 20))  # holes of 10, 10, 20
    assert extents.largest_without([]) == 20
    assert extents.largest_without(["a"]) == 30
    assert extents.largest_without(["a", "b"]) == 60
    assert extents.largest_without(["c"]) == 50
    assert extents.largest_without(["a", "b", "c"]) == 100


STEPS = st.lists(
    st.tuples(st.sampled_from(["whole", "paged", "remove"]), st.integers(0, 9), st.integers(1, 60)),
    max_size=60,
)


@given(STEPS)
def test_no_byte_twice_and_none_lost(steps):
    """Against a list with the owner of each byte."""
    extents = ExtentMap(100)
    owner = [None] * 100
    for what, number, size in steps:
        name = f"m{number}"
        if what == "remove" and name in extents.placed:
            extents.remove(name)
            owner = [None if by == name else by for by in owner]
        elif what != "remove" and name not in extents.placed:
            runs = _runs(owner)
            fits = max((length for _, length in runs), default=0) if what == "whole" else owner.count(None)
            if size > fits:
                continue
            (extents.place_whole if what == "whole" else extents.place_paged)(name, size)
            assert sum(extent.length for extent in extents.placed[name]) == size
            whole = [length for _, length in runs if length >= size]
            if whole:
                assert len(extents.placed[name]) == 1
                (offset, length) = min((length, offset) for offset, length in runs if length >= size)[::-1]
                assert (extents.placed[name][0].offset, length) == (offset, min(whole))
            for extent in extents.placed[name]:
                assert owner[extent.offset : extent.end] == [None] * extent.length
                owner[extent.offset : extent.end] = [name] * extent.length
        assert [tuple(hole) for hole in extents.holes] == _runs(owner)
        assert extents.free == owner.count(None)
        assert extents.largest == max((length for _, length in _runs(owner)), default=0)
        for gone in (["m0"], ["m1", "m2"]):
            there = [name for name in gone if name in extents.placed]
            without = [None if by in gone else by for by in owner]
            assert extents.largest_without(there) == max((length for _, length in _runs(without)), default=0)


def _runs(owner):
    """(offset, length) of each run of free bytes."""
    runs = []
    for place, by in enumerate(owner):
        if by is None and runs and sum(runs[-1]) == place:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif by is None:
            runs.append((place, 1))
    return runs
