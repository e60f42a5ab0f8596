"""Loads, joiners, claims, failures: what the driver reports, and when."""

import pytest

from tests.allocator.building import an_allocator, load, mb, resident
from vramlab.allocator import IllegalTransition, Kind, State
from vramlab.allocator.invariants import check
from vramlab.allocator.states import TRANSITIONS

ONE = {"flexible": {"size_mb": 100}}


def of_sizes(**sizes_mb):
    return {name: {"vram_size_mb": size} for name, size in sizes_mb.items()}


def test_joiners_hold_the_model_in_place():
    allocator = an_allocator(ONE, of_sizes(a=60))
    assert allocator.request("a", 0.0).kind is Kind.LOAD
    assert allocator.request("a", 1.0).kind is Kind.JOIN  # never two loads of one model
    assert allocator.request("a", 2.0).kind is Kind.JOIN
    allocator.loaded("a", 3.0)
    assert allocator.models["a"].state is State.IN_USE
    assert [allocator.released("a") for _ in range(3)] == [False, False, True]
    assert allocator.models["a"].state is State.RESIDENT
    assert allocator.models["a"].uses == allocator.models["a"].uses_total == 3


def test_a_load_without_requests_ends_resident():
    allocator = an_allocator(ONE, of_sizes(a=60))
    allocator.reserve("a", 0.0)
    allocator.loaded("a", 1.0)
    assert allocator.models["a"].state is State.RESIDENT


def test_a_failed_load_gives_its_bytes_back_and_drops_its_pins():
    allocator = an_allocator(ONE, of_sizes(a=60))
    allocator.request("a", 0.0)
    allocator.request("a", 0.5)
    assert allocator.device.held == mb(60)
    assert allocator.load_failed("a") == []
    model = allocator.models["a"]
    assert (allocator.device.held, model.pins, model.state) == (0, 0, State.ABSENT)
    check(allocator)
    assert load(allocator, "a", 1.0).kind is Kind.LOAD
    assert model.uses == 1  # uses since this load


def test_victims_bytes_become_the_newcomers_when_they_have_left():
    allocator = an_allocator(ONE, of_sizes(a=40, b=40, new=90))
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    decision = allocator.request("new", 2.0)
    new = allocator.models["new"]
    assert decision.victims == ("a", "b")
    assert new.claiming
    assert allocator.device.held == mb(80)  # the newcomer holds nothing yet
    with pytest.raises(IllegalTransition, match="waits for the bytes of its victims"):
        allocator.loaded("new", 2.5)
    assert allocator.unloaded("a") == []
    assert allocator.device.held == mb(40)
    assert allocator.unloaded("b") == ["new"]
    assert allocator.device.held == mb(90)
    allocator.loaded("new", 3.0)
    check(allocator)


def test_bytes_that_leave_for_one_load_are_not_given_to_another():
    allocator = an_allocator(ONE, of_sizes(a=90, first=90, late=50))
    load(allocator, "a", 0.0)
    allocator.request("first", 1.0)
    check(allocator)
    assert allocator.request("late", 2.0).kind is Kind.CPU  # all bytes are promised to `first`
    assert allocator.unloaded("a") == ["first"]


def test_a_later_claim_passes_only_where_it_takes_nothing_from_an_earlier_one():
    allocator = an_allocator(ONE, of_sizes(a=40, b=40, c=20, large=80, small=20))
    for time_s, name in enumerate("abc"):
        load(allocator, name, float(time_s))
    assert allocator.request("large", 3.0).victims == ("a", "b")
    assert allocator.request("small", 4.0).victims == ("c",)
    assert allocator.unloaded("a") == []  # 40 MB, kept for `large`, though `small` would fit
    check(allocator)
    assert allocator.unloaded("c") == []  # 60 MB free, all of them and 20 more wait for `large`
    assert allocator.unloaded("b") == ["large", "small"]
    check(allocator)


def test_claims_keep_their_turn_in_a_zone_where_the_device_has_room():
    allocator = an_allocator(ONE, of_sizes(a=40, b=40, c=20, large=80, small=20), total_mb=500)
    for time_s, name in enumerate("abc"):
        load(allocator, name, float(time_s))
    allocator.request("large", 3.0)
    allocator.request("small", 4.0)
    assert allocator.unloaded("c") == []  # 20 MB: enough for `small`, which comes after `large`
    assert allocator.unloaded("a") == []
    assert allocator.unloaded("b") == ["large", "small"]


def test_claims_keep_their_turn_on_the_device_where_the_zones_have_room():
    zones = {"flexible": {"size_mb": 100}, "other": {"size_mb": 100}}
    models = of_sizes(a=40, b=40, large=80)
    models |= {name: {"vram_size_mb": 20, "zone": "other"} for name in ("c", "small")}
    allocator = an_allocator(zones, models, total_mb=100)
    for time_s, name in enumerate("abc"):
        load(allocator, name, float(time_s))
    assert allocator.request("large", 3.0).victims == ("a", "b")
    assert allocator.request("small", 4.0).victims == ("c",)
    assert allocator.unloaded("c") == []
    assert allocator.unloaded("a") == []
    assert allocator.unloaded("b") == ["large", "small"]


def test_the_device_keeps_its_bytes_for_all_claims_that_come_before():
    zones = {name: {"size_mb": 100} for name in ("flexible", "other", "third")}
    models = of_sizes(a=80, x=80)
    models |= {name: {"vram_size_mb": 10, "zone": "other"} for name in ("b", "y")}
    models |= {name: {"vram_size_mb": 10, "zone": "third"} for name in ("c", "z")}
    allocator = an_allocator(zones, models, total_mb=100)
    for time_s, name in enumerate("abc"):
        load(allocator, name, float(time_s))
    for name, victim in (("x", "a"), ("y", "b"), ("z", "c")):
        assert allocator.request(name, 3.0).victims == (victim,)
    assert allocator.unloaded("c") == []
    assert allocator.unloaded("b") == []  # 20 are free, and x and y want 90 before z
    assert allocator.unloaded("a") == ["x", "y", "z"]
    assert [allocator.models[name].claiming for name in "xyz"] == [False] * 3
    check(allocator)


def test_a_single_claim_waits_for_the_zones_bytes_where_the_device_has_room():
    allocator = an_allocator(ONE, of_sizes(a=60, b=40, new=90), total_mb=500)
    load(allocator, "b", 0.0)
    load(allocator, "a", 1.0)
    assert allocator.request("new", 2.0).victims == ("b", "a")
    assert allocator.unloaded("b") == []  # 60 are held, and the zone has 100
    check(allocator)
    assert allocator.unloaded("a") == ["new"]


def test_a_load_waits_for_the_devices_bytes_where_its_zone_has_room():
    zones = {"flexible": {"size_mb": 100}, "other": {"size_mb": 100}}
    models = of_sizes(new=60)
    models["o"] = {"vram_size_mb": 60, "zone": "other"}
    allocator = an_allocator(zones, models, total_mb=100)
    load(allocator, "o", 0.0)
    assert allocator.request("new", 1.0).victims == ("o",)
    assert allocator.models["new"].claiming
    check(allocator)


@pytest.mark.parametrize(("size_mb", "total_mb"), [(100, 500), (500, 100), (100, 100)])
def test_a_load_that_evicts_for_a_slot_alone_need_not_wait_for_the_bytes(size_mb, total_mb):
    zones = {"flexible": {"size_mb": size_mb, "max_models": 2}}
    allocator = an_allocator(zones, of_sizes(a=30, b=40, new=30), total_mb=total_mb)
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    assert allocator.request("new", 2.0).victims == ("a",)
    assert not allocator.models["new"].claiming  # 70 are held, and there are 100: to the last byte
    check(allocator)


def test_free_bytes_that_a_claim_counts_on_are_not_taken_before_it():
    allocator = an_allocator(ONE, of_sizes(a=90, large=80, small=10, tiny=10))
    load(allocator, "a", 0.0)
    allocator.request("large", 1.0)
    assert allocator.request("small", 2.0).victims == ()  # there will be room for both
    assert allocator.models["small"].claiming  # 10 MB are free now, but `large` comes first
    assert allocator.unloaded("a") == ["large", "small"]
    check(allocator)


def test_a_load_into_bytes_that_are_leaving_for_nobody_waits_for_them():
    allocator = an_allocator(ONE, of_sizes(a=90, new=50))
    load(allocator, "a", 0.0)
    allocator.unload("a", 1.0)
    decision = allocator.request("new", 2.0)
    assert (decision.kind, decision.victims) == (Kind.LOAD, ())
    assert allocator.models["new"].claiming
    assert allocator.unloaded("a") == ["new"]
    check(allocator)


def test_a_load_that_fits_beside_the_claims_starts_at_once():
    zones = {"flexible": {"size_mb": 100}, "other": {"size_mb": 50}}
    models = of_sizes(a=90, new=90)
    models["beside"] = {"vram_size_mb": 50, "zone": "other"}
    allocator = an_allocator(zones, models, total_mb=230)
    load(allocator, "a", 0.0)
    allocator.request("new", 1.0)
    allocator.request("beside", 2.0)
    assert not allocator.models["beside"].claiming
    assert [model.name for model in allocator.claims] == ["new"]
    check(allocator)


def test_a_load_that_fails_while_it_waits_frees_its_claim():
    allocator = an_allocator(ONE, of_sizes(a=50, b=50, new=90, next=60))
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    allocator.request("new", 2.0)
    assert allocator.load_failed("new") == []
    assert allocator.request("next", 3.0).kind is Kind.LOAD  # what leaves is free again
    assert allocator.models["next"].claiming
    assert allocator.unloaded("a") == []
    assert allocator.unloaded("b") == ["next"]
    check(allocator)


def test_a_failed_load_meets_claims_that_wait_for_bytes():
    allocator = an_allocator(ONE, of_sizes(a=60, b=40, new=100))
    load(allocator, "b", 0.0)
    allocator.request("a", 1.0)
    assert allocator.request("new", 2.0).kind is Kind.CPU  # a is being loaded: no victim
    assert allocator.load_failed("a") == []
    assert allocator.request("new", 3.0).victims == ("b",)
    assert allocator.unloaded("b") == ["new"]


def test_a_model_that_is_leaving_is_asked_for_again():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60))
    load(allocator, "a", 0.0)
    allocator.request("b", 1.0)
    decision = allocator.request("a", 2.0)
    assert (decision.kind, decision.zone) == (Kind.WAIT, None)
    assert allocator.models["a"].pins == 0
    allocator.unloaded("a")
    allocator.loaded("b", 3.0)
    allocator.released("b")
    assert allocator.ask_again("a", 4.0).victims == ("b",)


def test_settle_ends_load_and_evictions_at_once():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60))
    load(allocator, "a", 0.0)
    decision = allocator.request("b", 1.0, pin=False)
    allocator.settle(decision, 1.0)
    assert allocator.models["b"].state is State.RESIDENT
    assert allocator.models["b"].claiming is False
    assert allocator.models["a"].state is State.ABSENT
    check(allocator)


def test_settling_one_of_two_claims_leaves_the_other():
    zones = {"flexible": {"size_mb": 50}, "other": {"size_mb": 50}}
    models = of_sizes(a=50, x=50)
    models |= {name: {"vram_size_mb": 50, "zone": "other"} for name in ("b", "y")}
    allocator = an_allocator(zones, models, total_mb=150)
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    allocator.request("x", 2.0)
    decision = allocator.request("y", 3.0, pin=False)
    assert decision.victims == ("b",)
    allocator.settle(decision, 4.0)
    check(allocator)
    assert resident(allocator) == {"y"}
    assert [model.name for model in allocator.claims] == ["x"]
    assert allocator.unloaded("a") == ["x"]


def in_state(state):
    allocator = an_allocator(ONE, of_sizes(m=60))
    if state is not State.ABSENT:
        allocator.reserve("m", 0.0)
    if state in (State.RESIDENT, State.IN_USE, State.EVICTING):
        allocator.loaded("m", 0.0)
    if state is State.IN_USE:
        allocator.request("m", 0.0)
    if state is State.EVICTING:
        allocator.unload("m", 0.0)
    assert allocator.models["m"].state is state
    return allocator


REPORTS = {
    "loaded": (lambda allocator: allocator.loaded("m", 1.0), State.LOADING),
    "load_failed": (lambda allocator: allocator.load_failed("m"), State.LOADING),
    "unloaded": (lambda allocator: allocator.unloaded("m"), State.EVICTING),
    "released": (lambda allocator: allocator.released("m"), State.IN_USE),
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("report", REPORTS)
def test_a_report_in_the_wrong_state_raises_and_changes_nothing(report, state):
    allocator = in_state(state)
    call, allowed = REPORTS[report]
    if state is allowed:
        call(allocator)
        assert (state, allocator.models["m"].state) in TRANSITIONS
    else:
        with pytest.raises(IllegalTransition, match=f"'m' is {state.value}, must be {allowed.value}"):
            call(allocator)
        assert allocator.models["m"].state is state
    check(allocator)


def test_a_model_that_somebody_waits_for_is_heard_to_come_and_to_leave():
    allocator, heard = an_allocator(ONE, of_sizes(a=60, b=60, c=60)), []
    allocator.tell_moves(lambda model: heard.append((model.name, model.state)))
    load(allocator, "a", 0.0)
    assert not heard  # nobody waits
    for name in ("a", "b"):
        allocator.models[name].wanted = (0.0, 0)
    entitled = allocator.plan(allocator.models["b"], 1.0, 2, turn=(-1.0, 0))
    allocator.carry_out(entitled, 1.0)
    assert heard == [("a", State.EVICTING), ("b", State.LOADING)]
