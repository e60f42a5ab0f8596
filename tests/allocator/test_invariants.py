"""The check itself: every rule broken by hand, which it names with its figures; what just holds passes."""

import re

import pytest

from tests.allocator.building import a_config, load, mb
from vramlab.allocator import make_allocator
from vramlab.allocator.extents import Extent
from vramlab.allocator.invariants import InvariantBroken, check
from vramlab.allocator.states import State
from vramlab.config.schema import ModelSpec

ZONES = {
    "high_priority": {"size_mb": 50, "max_models": 2},
    "flexible": {"size_mb": 100, "borrowers": ["high"]},
}
MODELS = {
    "h": {"vram_size_mb": 30, "priority": "high"},
    "g": {"vram_size_mb": 40, "priority": "high"},
    "m": {"vram_size_mb": 20},
    "new": {"vram_size_mb": 50},
}


def built(placement="paged", mapped=True):
    """`h` at home, `g` as a guest in flexible (0 to 40 MB) beside `m` (40 to 60 MB)."""
    inventory = {
        name: ModelSpec.model_validate({"priority": "medium", "load_time_ms": 100, **values})
        for name, values in MODELS.items()
    }
    allocator = make_allocator(a_config(ZONES, placement=placement), inventory, mapped=mapped)
    for now_s, name in enumerate("hgm"):
        load(allocator, name, float(now_s))
    assert allocator.models["g"].guest
    return allocator


def leaving(placement="paged", mapped=True):
    """The same with `new` on its way: `g` leaves for it, and it claims 50 MB."""
    allocator = built(placement, mapped)
    assert allocator.request("new", 9.0).victims == ("g",)
    assert allocator.models["new"].claiming
    check(allocator)
    return allocator


def broken(allocator, rule):
    with pytest.raises(InvariantBroken, match=f"^{re.escape(rule)}$"):
        check(allocator)


@pytest.mark.parametrize("off", [-1, 1])
def test_held_is_what_the_models_hold(off):
    allocator = leaving(mapped=False)
    allocator.device.held += off
    broken(allocator, f"device says that {mb(90) + off} bytes are held, its models hold {mb(90)}")
    allocator = leaving(mapped=False)
    allocator.zones["flexible"].held += off
    broken(allocator, f"flexible says that {mb(60) + off} bytes are held, its models hold {mb(60)}")


@pytest.mark.parametrize("off", [-1, 1])
def test_committed_is_what_will_be_held(off):
    allocator = leaving(mapped=False)
    allocator.zones["flexible"].committed += off
    broken(
        allocator, f"flexible says that {mb(70) + off} bytes are committed, it is {mb(70)}"
    )  # 60 - 40 + 50


@pytest.mark.parametrize("off", [-1, 1])
def test_idle_is_what_nobody_uses(off):
    allocator = leaving(mapped=False)
    allocator.zones["flexible"].idle += off
    broken(allocator, f"flexible says that {mb(20) + off} bytes are idle, it is {mb(20)}")


def test_held_stays_under_the_limit():
    allocator = built(mapped=False)
    zone = allocator.zones["flexible"]
    zone.limit = mb(60)
    check(allocator)
    zone.limit -= 1
    broken(allocator, f"flexible holds {mb(60)} bytes, its limit is {mb(60) - 1}")


def test_claims_can_be_met_from_what_is_free_and_what_is_leaving():
    allocator = leaving(mapped=False)
    zone = allocator.zones["flexible"]
    zone.limit = mb(70)
    check(allocator)
    zone.limit -= 1
    broken(allocator, f"flexible owes {mb(50)} bytes, {mb(10) - 1} are free and {mb(40)} leaving")


@pytest.mark.parametrize("off", [-1, 1])
def test_models_and_guests_are_counted(off):
    allocator = built(mapped=False)
    allocator.zones["flexible"].count += off
    broken(allocator, f"flexible counts {2 + off} models, has 2")
    allocator = built(mapped=False)
    allocator.zones["flexible"].guests += off
    broken(allocator, f"flexible counts {1 + off} guests, has 1")


def test_max_models():
    allocator = built(mapped=False)
    allocator.zones["flexible"].max_models = 2
    check(allocator)
    allocator.zones["flexible"].max_models = 1
    broken(allocator, "flexible has 2 models, max_models is 1")


def test_guests_only_where_their_priority_may_borrow():
    allocator = built(mapped=False)
    allocator.zones["flexible"].borrowers = frozenset()
    guest = f"<Model g resident in flexible, {mb(40)} bytes>"
    broken(allocator, f"{guest} is a guest where its priority may not borrow")
    allocator.zones["flexible"].borrowers = frozenset({allocator.models["g"].priority})
    check(allocator)


def test_claims_are_those_that_claim():
    allocator = leaving(mapped=False)
    allocator._loads.claims = []
    new = f"<Model new loading in flexible, {mb(50)} bytes>"
    broken(allocator, f"the claims are (), not [{new}]")
    allocator._loads.claims = [allocator.models["new"]] * 2
    broken(allocator, f"the claims are ({new}, {new}), not [{new}]")
    allocator._loads.claims = [allocator.models["m"]]
    broken(allocator, f"the claims are (<Model m resident in flexible, {mb(20)} bytes>,), not [{new}]")


# -- models ----------------------------------------------------------------------------------------------


def test_pins_and_states_agree():
    m = f"in flexible, {mb(20)} bytes>"
    allocator = built(mapped=False)
    model = allocator.models["m"]
    model.pins = 1
    broken(allocator, f"<Model m resident {m} has 1 pins")
    model.pins = -1
    broken(allocator, f"<Model m resident {m} has -1 pins")
    model.state, model.pins = State.IN_USE, 0
    broken(allocator, f"<Model m in use {m} is in use without a pin")
    model.state = State.RESIDENT
    model.pin()
    check(allocator)


def test_a_load_may_be_waited_for_or_not():
    allocator = leaving(mapped=False)
    assert allocator.models["new"].pins == 1
    allocator.models["new"].pins = 0
    check(allocator)


def test_only_a_load_claims():
    allocator = leaving(mapped=False)
    new = allocator.models["new"]
    new.state = State.RESIDENT
    broken(allocator, f"<Model new resident in flexible, {mb(50)} bytes> has a claim without being loaded")


@pytest.mark.parametrize("name", ["g", "m"])
def test_a_guest_knows_that_it_is_one(name):
    allocator = built(mapped=False)
    model = allocator.models[name]
    model.guest = not model.guest
    broken(allocator, f"{model}: guest or not?")


def test_what_an_absent_model_was_does_not_matter():
    allocator = built(mapped=False)
    assert allocator.models["new"].state is State.ABSENT
    allocator.models["new"].guest = True
    check(allocator)


# -- the map ---------------------------------------------------------------------------------------------


def put(allocator, name, *places):
    """Say that a model lies there, in MB, and take the holes as they follow."""
    extents = allocator.placement.maps["flexible"]
    extents.placed[name] = tuple(Extent(mb(offset), mb(length)) for offset, length in places)


def test_no_byte_twice():
    allocator = built()
    put(allocator, "m", (39, 21))
    piece = Extent(mb(39), mb(21))
    broken(allocator, f"flexible: {piece}, the one before ends at {mb(40)}")


def test_no_byte_lost():
    allocator = built()
    put(allocator, "m", (41, 19))
    broken(allocator, f"flexible: {Extent(mb(41), mb(19))}, the one before ends at {mb(40)}")


def test_no_empty_piece():
    allocator = built()
    put(allocator, "m", (40, 0), (40, 20))
    broken(allocator, f"flexible: {Extent(mb(40), 0)}, the one before ends at {mb(40)}")


def test_the_map_is_as_large_as_the_zone():
    allocator = built()
    allocator.placement.maps["flexible"]._holes = [Extent(mb(60), mb(39))]
    broken(allocator, f"flexible: its map ends at {mb(99)}, it has {mb(100)} bytes")


def test_holes_do_not_touch():
    allocator = built()
    allocator.placement.maps["flexible"]._holes = [Extent(mb(60), mb(10)), Extent(mb(70), mb(30))]
    broken(allocator, "flexible has holes that touch")


def test_a_piece_of_one_byte_is_a_piece():
    allocator = built()
    extents = allocator.placement.maps["flexible"]
    extents.placed["m"] = (Extent(mb(40), 1), Extent(mb(40) + 1, mb(20) - 1))
    check(allocator)


@pytest.mark.parametrize("placement", ["paged", "contiguous"])
def test_who_is_there_is_on_the_map(placement):
    allocator = built(placement)
    allocator.placement.maps["flexible"].remove("m")
    placed = {"g": (Extent(0, mb(40)),)}
    broken(allocator, f"flexible: {placed}")


def test_who_claims_is_not_on_the_map_and_who_leaves_is():
    allocator = leaving()
    assert set(allocator.placement.maps["flexible"].placed) == {"g", "m"}
    allocator.placement.maps["flexible"].remove("g")
    broken(allocator, f"flexible: { {'m': (Extent(mb(40), mb(20)),)} }")


def test_where_contiguous_who_claims_is_on_the_map_and_who_leaves_is_not():
    allocator = built("contiguous")
    assert allocator.request("new", 9.0).victims == ("m",)  # with it [40, 100) is free
    assert allocator.models["new"].claiming
    check(allocator)
    assert set(allocator.placement.maps["flexible"].placed) == {"g", "new"}
    allocator.placement.maps["flexible"].remove("new")
    broken(allocator, f"flexible: { {'g': (Extent(0, mb(40)),)} }")


def test_the_pieces_add_up():
    allocator = built()
    extents = allocator.placement.maps["flexible"]
    put(allocator, "m", (40, 19))
    extents._holes = [Extent(mb(59), mb(41))]
    broken(allocator, f"{allocator.models['m']} lies in {(Extent(mb(40), mb(19)),)}")


def test_contiguous_is_one_piece():
    allocator = built("contiguous")
    put(allocator, "m", (40, 10), (50, 10))
    broken(allocator, f"{allocator.models['m']} lies in 2 pieces")
    allocator = built("paged")
    put(allocator, "m", (40, 10), (50, 10))
    check(allocator)


def test_contiguous_what_is_leaving_still_has_its_place():
    allocator = built("contiguous")
    allocator.unload("g", 5.0)
    check(allocator)
    g, m = Extent(0, mb(40) + 1), Extent(mb(40), mb(20))
    allocator.placement.leaving[allocator.models["g"]] = g
    broken(allocator, f"flexible: {g} and {m} overlap")
