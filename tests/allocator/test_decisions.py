"""Every decision in full, what is said about bad calls, and decide mode against the same with reports."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.allocator.building import a_config, an_allocator, load, mb
from vramlab.allocator import Allocator, Decision, IllegalTransition, Kind, State, make_allocator
from vramlab.allocator.invariants import check
from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority

ONE = {"flexible": {"size_mb": 100}}
NO_CPU = {"fallback": {"cpu_fallback_enabled": False}}


def of_sizes(**sizes_mb):
    return {name: {"vram_size_mb": size} for name, size in sizes_mb.items()}


def specs(models):
    return {
        name: ModelSpec.model_validate({"priority": "medium", "load_time_ms": 100, **values})
        for name, values in models.items()
    }


def test_load_join_hit_wait():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60))
    assert allocator.request("a", 0.0) == Decision(Kind.LOAD, "a", "flexible", (), "")
    assert allocator.request("a", 0.5) == Decision(Kind.JOIN, "a", "flexible", (), "")
    assert allocator.models["a"].last_used_s == 0.5
    allocator.loaded("a", 1.0)
    assert allocator.models["a"].loaded_at_s == 1.0
    assert allocator.request("a", 2.0) == Decision(Kind.HIT, "a", "flexible", (), "")
    for _ in range(3):
        allocator.released("a")
    assert allocator.request("b", 3.0) == Decision(Kind.LOAD, "b", "flexible", ("a",), "")
    assert allocator.models["b"].loaded_at_s == 3.0
    wait = Decision(Kind.WAIT, "a", None, (), "it is just being unloaded")
    assert allocator.request("a", 4.0) == wait
    assert allocator.models["a"].uses == 1
    allocator.unloaded("a")
    assert allocator.request("a", 5.0) == Decision(
        Kind.CPU, "a", None, (), "no room, and no victims that may leave"
    )


def test_unpinned_requests_pin_nothing():
    allocator = an_allocator(ONE, of_sizes(a=60))
    allocator.request("a", 0.0, pin=False)
    assert allocator.models["a"].pins == 0
    allocator.request("a", 0.0, pin=False)
    assert allocator.models["a"].pins == 0
    allocator.loaded("a", 0.0)
    allocator.request("a", 0.0, pin=False)
    assert (allocator.models["a"].pins, allocator.models["a"].state) == (0, State.RESIDENT)


def test_low_priority_and_what_loses():
    models = of_sizes(a=60, low=60, b=60)
    models["low"]["priority"] = "low"
    allocator = an_allocator(ONE, models, admission="compete", scoring={"policy": "lfu"})
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0, pin=False)
    assert allocator.request("low", 2.0) == Decision(Kind.CPU, "low", None, (), "loads only into free room")
    lost = "worth less than its victims"
    assert allocator.request("b", 3.0) == Decision(Kind.CPU, "b", None, (), lost)
    allocator = an_allocator(
        ONE, of_sizes(a=60, b=60), admission="compete", scoring={"policy": "lfu"}, **NO_CPU
    )
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0, pin=False)
    assert allocator.request("b", 3.0, pin=False) == Decision(Kind.BYPASS, "b", None, (), lost)


def test_waiting_and_refusal():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60), **NO_CPU)
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0)
    wait = Decision(Kind.WAIT, "b", None, (), "models in use stand in its way")
    assert allocator.request("b", 2.0) == wait
    zones = {"flexible": {"size_mb": 100, "eviction_policy": "never"}}
    allocator = an_allocator(zones, of_sizes(a=60, b=60), **NO_CPU)
    load(allocator, "a", 0.0)
    refused = Decision(Kind.REFUSE, "b", None, (), "no room, and nothing that may leave for it")
    assert allocator.request("b", 2.0) == refused


def test_unloading():
    allocator = an_allocator(ONE, of_sizes(a=60))
    assert allocator.unload("a", 0.0) is None
    load(allocator, "a", 0.0)
    assert allocator.unload("a", 1.0) == Decision(Kind.UNLOAD, "a", None, ("a",), "")
    assert allocator.models["a"].state is State.EVICTING
    assert allocator.unload("a", 1.0) is None


def test_preloading():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60))
    assert allocator.reserve("a", 7.0) == Decision(Kind.LOAD, "a", "flexible", (), "")
    model = allocator.models["a"]
    assert (model.uses, model.uses_total, model.pins) == (0, 0, 0)
    assert (model.last_used_s, model.loaded_at_s) == (7.0, 7.0)
    assert allocator.reserve("b", 8.0) is None  # no room
    assert allocator.models["b"].last_used_s == float("-inf")


def test_a_model_that_changes_zones_says_so_at_a_hit():
    zones = {
        "high_priority": {"size_mb": 50},
        "flexible": {"size_mb": 50, "borrowers": ["high"]},
    }
    models = {name: {"vram_size_mb": 30, "priority": "high"} for name in "ab"}
    allocator = an_allocator(zones, models)
    load(allocator, "a", 0.0)
    assert load(allocator, "b", 1.0).zone == "flexible"
    assert allocator.request("b", 2.0, pin=False) == Decision(Kind.HIT, "b", "flexible")
    for name in "ba":
        allocator.unload(name, 3.0)
        allocator.unloaded(name)
        check(allocator)
    assert load(allocator, "b", 4.0).zone == "high_priority"
    assert allocator.request("b", 5.0, pin=False) == Decision(Kind.HIT, "b", "high_priority")
    assert not allocator.models["b"].guest


CALLS = {
    "request": lambda allocator: allocator.request("arcfase", 0.0),
    "ask_again": lambda allocator: allocator.ask_again("arcfase", 0.0),
    "reserve": lambda allocator: allocator.reserve("arcfase", 0.0),
    "unload": lambda allocator: allocator.unload("arcfase", 0.0),
    "loaded": lambda allocator: allocator.loaded("arcfase", 0.0),
    "load_failed": lambda allocator: allocator.load_failed("arcfase"),
    "unloaded": lambda allocator: allocator.unloaded("arcfase"),
    "released": lambda allocator: allocator.released("arcfase"),
    "withdraw": lambda allocator: allocator.withdraw("arcfase"),
    "grow": lambda allocator: allocator.grow("arcfase", 1),
    "model": lambda allocator: allocator.model("arcfase"),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_unknown_name_is_one_line(call):
    allocator = an_allocator(ONE, {"arcface": {"vram_size_mb": 1}})
    expected = "request: model: found 'arcfase', expected a model of the inventory (did you mean 'arcface'?)"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        CALLS[call](allocator)


def test_an_unknown_zone_is_one_line():
    models = specs({"m": {"vram_size_mb": 1, "zone": "attic"}})
    expected = "inventory: models.m.zone: found 'attic', expected one of critical, flexible"
    config = a_config({"critical": {"size_mb": 5}, "flexible": {"size_mb": 5}})
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        Allocator(config, models)


ILLEGAL = {
    "loaded: model 'a' is absent, must be loading": lambda allocator: allocator.loaded("a", 0.0),
    "load failed: model 'a' is absent, must be loading": lambda allocator: allocator.load_failed("a"),
    "unloaded: model 'a' is absent, must be evicting": lambda allocator: allocator.unloaded("a"),
    "released: model 'a' is absent, must be in use": lambda allocator: allocator.released("a"),
    "withdrawn: nobody waits for the load of model 'b'": lambda allocator: allocator.withdraw("b"),
    "loaded: model 'c' still waits for the bytes of its victims": lambda a: a.loaded("c", 0.0),
    "evict: model 'b' is loading, must be resident": lambda a: a._loads.evict(a.models["b"]),
    "unloaded: model 'b' is loading, must be evicting": lambda a: a.settle(
        Decision(Kind.LOAD, "c", "flexible", ("b",)), 0.0
    ),
    "loaded: model 'd' is evicting, must be loading": lambda a: a.settle(
        Decision(Kind.LOAD, "d", "flexible", ()), 0.0
    ),
}


@pytest.mark.parametrize("message", ILLEGAL)
def test_an_illegal_report_names_event_model_and_state(message):
    allocator = an_allocator(ONE, of_sizes(a=10, b=10, c=80, d=80))
    load(allocator, "d", 0.0)
    allocator.reserve("b", 0.0)
    assert allocator.request("c", 1.0).victims == ("d",)
    with pytest.raises(IllegalTransition, match=f"^{re.escape(message)}$"):
        ILLEGAL[message](allocator)


def test_withdrawing_during_a_load_never_frees():
    allocator = an_allocator(ONE, of_sizes(a=60))
    allocator.request("a", 0.0)
    assert allocator.withdraw("a") is False
    assert allocator.models["a"].pins == 0
    allocator.request("a", 0.0)
    allocator.request("a", 0.0)
    allocator.loaded("a", 0.0)
    assert allocator.withdraw("a") is False
    assert allocator.withdraw("a") is True


def test_a_device_that_shrinks_and_recovers_meets_its_claims():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60))
    load(allocator, "a", 0.0)
    assert allocator.request("b", 1.0).victims == ("a",)
    assert allocator.set_budget(mb(50)) == []
    assert (allocator.device.cap, allocator.device.limit) == (mb(50), mb(60))
    assert allocator.unloaded("a") == []  # 60 MB do not go into 50
    check(allocator)
    assert allocator.set_budget(mb(60) - 1) == []
    assert allocator.set_budget(mb(60)) == ["b"]
    assert allocator.device.limit == mb(60)
    check(allocator)
    allocator.loaded("b", 2.0)
    assert allocator.set_budget(mb(80)) == []
    assert allocator.device.limit == mb(80)


def test_the_limit_is_the_larger_of_what_is_there_and_what_is_promised():
    allocator = an_allocator(ONE, of_sizes(a=40, b=90))
    load(allocator, "a", 0.0)
    assert allocator.request("b", 1.0).victims == ("a",)
    allocator.set_budget(mb(30))
    assert allocator.device.limit == mb(90)  # 40 are held, 90 promised
    check(allocator)


def test_relieve_names_its_victims_in_the_order_of_leaving():
    allocator = an_allocator(ONE, of_sizes(a=20, b=30, c=40))
    for now_s, name in enumerate("bac"):
        load(allocator, name, float(now_s))
    assert allocator.relieve(mb(50), 5.0) == ["b", "a"]
    assert [allocator.models[name].state for name in "abc"] == [
        State.EVICTING,
        State.EVICTING,
        State.RESIDENT,
    ]
    assert (allocator.device.held, allocator.device.committed) == (mb(90), mb(40))
    check(allocator)


def test_footprints_that_are_learned():
    zones = {"flexible": {"size_mb": 50}, "other": {"size_mb": 80, "borrowers": ["medium"]}}
    allocator = an_allocator(zones, of_sizes(a=40), total_mb=100)
    model = allocator.models["a"]
    assert allocator.grow("a", mb(40)) is False
    assert allocator.grow("a", mb(40) + 1) is True
    assert model.bytes == mb(40) + 1
    load(allocator, "a", 0.0)
    assert allocator.grow("a", mb(45)) is True
    assert allocator.grow("a", mb(45)) is False  # known, though not yet accounted for
    assert allocator.grow("a", mb(46)) is True
    assert model.bytes == mb(40) + 1
    assert allocator.grow("a", mb(500)) is True  # as far as its largest place
    allocator.unload("a", 1.0)
    assert model.bytes == mb(40) + 1
    allocator.unloaded("a")
    assert model.bytes == mb(80)
    allocator.set_budget(mb(60))
    fresh = an_allocator(zones, of_sizes(a=40), total_mb=60)
    assert fresh.grow("a", mb(500)) is True
    assert fresh.models["a"].bytes == mb(60)  # and as far as the device


def test_always_loaded_is_ones_own_list():
    allocator = an_allocator(ONE, {"a": {"vram_size_mb": 1, "always_loaded": True}})
    allocator.always_loaded().clear()
    assert allocator.always_loaded() == ["a"]


BY_RECENCY = {"policy": "seed", "weights": {"frequency": 0.0, "size": 0.0, "cost": 0.0}}


@pytest.mark.parametrize(("scoring", "victims"), [({"policy": "lru"}, ("a", "b")), (BY_RECENCY, ("b",))])
def test_auto_is_in_order_where_the_policy_is_an_order_and_pruned_for_scores(scoring, victims):
    allocator = an_allocator(ONE, of_sizes(a=20, b=60, new=70), scoring=scoring)
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    assert load(allocator, "new", 2.0).victims == victims  # b alone would do


# -- decide mode -----------------------------------------------------------------------------------------

ZONES = {
    "critical": {"size_mb": 20, "eviction_policy": "never"},
    "high_priority": {"size_mb": 60, "eviction_policy": "reluctant_lru", "max_models": 3},
    "flexible": {"size_mb": 80, "borrowers": ["high"], "min_retention_time": 2},
}
MODELS = st.lists(
    st.tuples(
        st.integers(1, 40), st.sampled_from(["critical", "high", "high", "medium", "low"]), st.booleans()
    ),
    min_size=3,
    max_size=9,
)
REQUESTS = st.lists(st.tuples(st.integers(0, 8), st.sampled_from([None, None, *Priority])), max_size=80)


@given(
    MODELS,
    REQUESTS,
    st.sampled_from(["lru", "gdsf", "seed_fixed", "s3_fifo"]),
    st.sampled_from(["always", "compete"]),
    st.integers(100, 160),
)
def test_at_once_is_as_if_it_took_no_time(models, requests, policy, admission, total_mb):
    config = a_config(ZONES, total_mb, scoring={"policy": policy}, admission=admission)
    inventory = specs(
        {
            f"m{i}": {"vram_size_mb": size, "priority": priority, "cpu_fallback": "cpu" if cpu else "none"}
            for i, (size, priority, cpu) in enumerate(models)
        }
    )
    at_once, reported = Allocator(config, inventory, instant=True), Allocator(config, inventory)
    for now_s, (index, priority) in enumerate(requests):
        name = f"m{index % len(models)}"
        decision = at_once.request(name, float(now_s), priority, pin=False)
        assert decision == reported.request(name, float(now_s), priority, pin=False)
        if decision.kind is Kind.LOAD:
            reported.settle(decision, float(now_s))
        check(at_once)
        check(reported)
        for one, other in zip(at_once.models.values(), reported.models.values(), strict=True):
            for what in ("state", "uses", "uses_total", "loaded_at_s", "last_used_s", "guest", "hit", "pins"):
                assert getattr(one, what) == getattr(other, what)
            assert one.zone.name == other.zone.name
    victims = at_once.relieve(mb(30), float(len(requests)))
    assert victims == reported.relieve(mb(30), float(len(requests)))
    for name in victims:
        reported.unloaded(name)
    check(at_once)
    assert at_once.device.held == reported.device.held


def test_at_once_by_hand():
    zones = {"high_priority": {"size_mb": 50}, "flexible": {"size_mb": 100, "borrowers": ["high"]}}
    models = specs(
        {
            "h": {"vram_size_mb": 50, "priority": "high"},
            "g": {"vram_size_mb": 40, "priority": "high"},
            "m": {"vram_size_mb": 30},
            "n": {"vram_size_mb": 50},
        }
    )
    allocator = Allocator(a_config(zones), models, instant=True)
    assert allocator.request("h", 0.0, pin=False) == Decision(Kind.LOAD, "h", "high_priority")
    assert allocator.request("g", 1.0, pin=False) == Decision(Kind.LOAD, "g", "flexible")
    assert allocator.models["g"].guest
    assert allocator.request("m", 2.0, pin=False) == Decision(Kind.LOAD, "m", "flexible")
    assert allocator.request("n", 3.0, pin=False) == Decision(Kind.LOAD, "n", "flexible", ("g",), "")
    assert allocator.models["g"].state is State.ABSENT
    assert allocator.models["n"].loaded_at_s == 3.0
    assert allocator.request("g", 4.0, pin=False).victims == ("h",)
    assert allocator.request("g", 5.0, pin=False) == Decision(Kind.HIT, "g", "high_priority")
    assert allocator.relieve(1, 6.0) == ["m"]  # used longest ago, and gone when that returns
    assert allocator.models["m"].state is State.ABSENT
    check(allocator)


# -- what the policies are told --------------------------------------------------------------------------


class Told:
    """A policy that writes down what it is told."""

    in_order = True

    def __init__(self):
        self.calls = []
        self.there = []

    def admitted(self, model, now_s):
        self.calls.append(("admitted", model.name, now_s))
        self.there.append(model)

    def used(self, model, now_s):
        self.calls.append(("used", model.name, now_s))

    def removed(self, model, evicted):
        self.calls.append(("removed", model.name, evicted))
        self.there.remove(model)

    def rejected(self, model, now_s):
        self.calls.append(("rejected", model.name, now_s))

    def score(self, model, now_s):
        return {"a": 5.0, "b": 1.0}.get(model.name, 3.0)

    def ranked(self, now_s):
        return self.there


def told(models, placement="paged", mapped=False, **more):
    config = a_config(ONE, placement=placement, scoring={"policy": f"{__name__}:Told"}, **more)
    allocator = make_allocator(config, specs(models), mapped=mapped)
    return allocator, allocator.zones["flexible"].policy.calls


EVERYWHERE = pytest.mark.parametrize(
    ("placement", "mapped"), [("paged", False), ("paged", True), ("contiguous", True)]
)


@EVERYWHERE
def test_policies_are_told_of_victims_and_of_others_who_leave(placement, mapped):
    allocator, calls = told(of_sizes(a=60, b=60), placement, mapped)
    allocator.request("a", 1.0)
    allocator.request("a", 2.0)
    allocator.load_failed("a")
    assert calls == [("admitted", "a", 1.0), ("used", "a", 2.0), ("removed", "a", False)]
    load(allocator, "a", 3.0)
    allocator.request("a", 4.0, pin=False)
    calls.clear()
    allocator.request("b", 5.0)
    assert calls == [("removed", "a", True), ("admitted", "b", 5.0)]
    allocator.unloaded("a")
    allocator.loaded("b", 6.0)
    allocator.released("b")
    calls.clear()
    allocator.unload("b", 7.0)
    assert calls == [("removed", "b", False)]
    allocator.unloaded("b")
    load(allocator, "a", 8.0)
    calls.clear()
    assert allocator.relieve(1, 9.0) == ["a"]
    assert calls == [("removed", "a", True)]
    allocator.unloaded("a")
    calls.clear()
    allocator.reserve("b", 10.0)
    assert calls == [("admitted", "b", 10.0)]


@EVERYWHERE
def test_a_claim_that_fails_is_a_claim_no_more(placement, mapped):
    allocator, _ = told(of_sizes(a=60, b=60), placement, mapped)
    load(allocator, "a", 0.0)
    allocator.request("b", 1.0)
    allocator.load_failed("b")
    assert allocator.models["b"].claiming is False
    allocator.unloaded("a")
    load(allocator, "a", 2.0)
    allocator.request("b", 3.0)
    assert allocator.unloaded("a") == ["b"]
    assert allocator.models["b"].claiming is False


def test_at_once_policies_are_told_the_same():
    config = a_config(ONE, scoring={"policy": f"{__name__}:Told"})
    allocator = Allocator(config, specs(of_sizes(a=60, b=60)), instant=True)
    calls = allocator.zones["flexible"].policy.calls
    allocator.request("a", 1.0, pin=False)
    allocator.request("b", 2.0, pin=False)
    assert calls == [("admitted", "a", 1.0), ("removed", "a", True), ("admitted", "b", 2.0)]


def test_asking_again_is_at_the_new_time_with_the_old_rights():
    zones = {"flexible": {"size_mb": 100, "eviction_policy": "reluctant_lru"}}
    models = of_sizes(boss=60, b=60)
    models["boss"] |= {"priority": "high", "zone": "flexible"}
    models["b"]["cpu_fallback"] = "none"
    allocator = an_allocator(zones, models)
    load(allocator, "boss", 0.0)
    allocator.request("boss", 1.0)
    assert allocator.request("b", 2.0, Priority.HIGH).kind is Kind.WAIT
    allocator.released("boss")
    assert allocator.ask_again("b", 3.0).kind is Kind.REFUSE  # with its own rights it may not
    assert allocator.ask_again("b", 4.0, Priority.HIGH).victims == ("boss",)
    assert allocator.models["b"].last_used_s == allocator.models["b"].loaded_at_s == 4.0
    assert allocator.models["b"].uses_total == 1


def test_policies_are_told_when():
    allocator, calls = told(of_sizes(a=60, b=60), admission="compete")
    load(allocator, "a", 0.0)
    calls.clear()
    allocator.request("a", 1.0, pin=False)
    allocator.request("b", 5.0)
    assert calls == [("used", "a", 1.0), ("rejected", "b", 5.0)]


@pytest.mark.parametrize(("a_is_worth", "kind"), [("a", Kind.CPU), ("b", Kind.LOAD)])
def test_compete_asks_the_zones_policy(a_is_worth, kind):
    other = "b" if a_is_worth == "a" else "a"
    allocator, _ = told(of_sizes(a=60, b=60), admission="compete")
    load(allocator, a_is_worth, 0.0)
    assert allocator.request(other, 1.0).kind is kind


def test_a_model_says_what_it_is():
    allocator = an_allocator(ONE, {"a": {"vram_size_mb": 2, "load_time_ms": 250, "priority": "high"}})
    model = allocator.models["a"]
    assert repr(model) == f"<Model a absent in flexible, {mb(2)} bytes>"
    assert (model.name, model.number, model.bytes, model.load_s, model.rank) == ("a", 0, mb(2), 0.25, 1)
    assert (model.priority, model.priority_weight, model.critical) == (Priority.HIGH, 1000.0, False)
    assert (model.guest, model.claiming, model.pins, model.uses, model.uses_total) == (False, False, 0, 0, 0)
    assert (model.last_used_s, model.loaded_at_s) == (float("-inf"), float("-inf"))
