"""Whether a miss loads, runs on the CPU, waits, or is refused."""

import pytest

from tests.allocator.building import an_allocator, load, resident
from vramlab.allocator import Kind, State
from vramlab.allocator.invariants import check
from vramlab.config.schema import Priority

ONE = {"flexible": {"size_mb": 100}}
NO_CPU = {"fallback": {"cpu_fallback_enabled": False}}


def of_sizes(**sizes_mb):
    return {name: {"vram_size_mb": size} for name, size in sizes_mb.items()}


def test_low_priority_loads_only_into_free_room():
    models = of_sizes(a=60, low=40, other=40)
    models["low"]["priority"] = models["other"]["priority"] = "low"
    allocator = an_allocator(ONE, models)
    load(allocator, "a", 0.0)
    assert load(allocator, "low", 1.0).victims == ()
    decision = allocator.request("other", 2.0)
    assert (decision.kind, decision.reason) == (Kind.CPU, "loads only into free room")
    assert allocator.request("other", 3.0, Priority.HIGH).kind is Kind.LOAD  # the request's priority counts


def test_low_priority_may_be_told_to_evict():
    models = of_sizes(a=60, low=60)
    models["low"]["priority"] = "low"
    allocator = an_allocator(ONE, models, admission_by_priority={"low": "always"})
    load(allocator, "a", 0.0)
    assert load(allocator, "low", 1.0).victims == ("a",)


@pytest.mark.parametrize("switched_off", [True, False])
def test_without_a_cpu_free_only_does_not_hold_back(switched_off):
    models = of_sizes(a=60, low=60)
    models["low"] |= {"priority": "low"} if switched_off else {"priority": "low", "cpu_fallback": "none"}
    allocator = an_allocator(ONE, models, **(NO_CPU if switched_off else {}))
    load(allocator, "a", 0.0)
    assert load(allocator, "low", 1.0).victims == ("a",)


def compete(**more):
    # lfu: `a` is used three times, so a newcomer's first use is worth less
    models = of_sizes(a=60, b=60)
    models["b"] |= more.pop("b", {})
    allocator = an_allocator(ONE, models, admission="compete", scoring={"policy": "lfu"}, **more)
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0, pin=False)
    return allocator


def test_compete_the_loser_is_answered_by_the_cpu():
    allocator = compete()
    decision = allocator.request("b", 3.0)
    assert (decision.kind, decision.reason) == (Kind.CPU, "worth less than its victims")
    assert resident(allocator) == {"a"}


def test_compete_a_tie_or_better_loads():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60), admission="compete", scoring={"policy": "lfu"})
    load(allocator, "a", 0.0)
    assert load(allocator, "b", 1.0).victims == ("a",)  # one use each


def test_compete_loads_into_free_room():
    allocator = compete()
    allocator.unload("a", 2.0)
    allocator.unloaded("a")
    assert load(allocator, "b", 3.0).victims == ()


def test_compete_without_a_cpu_bypasses_where_a_run_takes_no_time():
    assert compete(**NO_CPU).request("b", 3.0, pin=False).kind is Kind.BYPASS
    assert compete(**NO_CPU).request("b", 3.0).kind is Kind.LOAD  # a real run needs its bytes


@pytest.mark.parametrize("pin", [True, False])
def test_compete_always_admits_what_may_never_run_on_the_cpu(pin):
    allocator = compete(b={"cpu_fallback": "none"})
    assert allocator.request("b", 3.0, pin=pin).kind is Kind.LOAD


def test_compete_admits_what_is_worth_more_than_one_of_its_victims():
    allocator = an_allocator(
        ONE, of_sizes(a=50, b=50, new=90), admission="compete", scoring={"policy": "lfu"}
    )
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    allocator.request("b", 2.0, pin=False)
    assert load(allocator, "new", 3.0).victims == ("a", "b")  # a has one use, as new has


def test_forced_waits_for_models_in_use_and_is_decided_again():
    models = of_sizes(a=60, b=60)
    models["b"]["cpu_fallback"] = "none"
    allocator = an_allocator(ONE, models)
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0)
    decision = allocator.request("b", 2.0)
    assert (decision.kind, decision.reason) == (Kind.WAIT, "models in use stand in its way")
    assert allocator.models["a"].state is State.IN_USE
    assert allocator.released("a")
    decision = allocator.ask_again("b", 3.0)
    assert (decision.kind, decision.victims) == (Kind.LOAD, ("a",))
    assert allocator.models["b"].uses_total == 1
    assert allocator.models["b"].uses == 1


def test_forced_waits_for_a_load_under_way():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60), **NO_CPU)
    allocator.request("a", 0.0)
    assert allocator.request("b", 1.0).kind is Kind.WAIT


def test_with_a_cpu_it_does_not_wait():
    allocator = an_allocator(ONE, of_sizes(a=60, b=60))
    allocator.request("a", 0.0)
    assert allocator.request("b", 1.0).kind is Kind.CPU


@pytest.mark.parametrize(
    ("zones", "total_mb", "reason"),
    [
        ({"flexible": {"size_mb": 50}}, 100, "can never fit: 60.0 MB, and zone flexible has 50.0 MB"),
        ({"flexible": {"size_mb": 50}}, 55, "can never fit: 60.0 MB, and the budget is 55.0 MB"),
        (
            {"flexible": {"size_mb": 50}, "other": {"size_mb": 55, "borrowers": ["medium"]}},
            105,
            "can never fit: 60.0 MB, and zone other has 55.0 MB",
        ),
    ],
)
def test_what_can_never_fit_is_told_so(zones, total_mb, reason):
    models = of_sizes(x=60, y=60)
    models["y"]["cpu_fallback"] = "none"
    allocator = an_allocator(zones, models, total_mb=total_mb)
    assert allocator.request("x", 0.0) == (Kind.CPU, "x", None, (), reason)
    assert allocator.request("y", 0.0) == (Kind.REFUSE, "y", None, (), reason)


@pytest.mark.parametrize(("size_mb", "total_mb"), [(60, 100), (100, 60), (60, 60)])
def test_what_just_fits_can_fit(size_mb, total_mb):
    allocator = an_allocator({"flexible": {"size_mb": size_mb}}, of_sizes(a=60, b=60), total_mb, **NO_CPU)
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0)
    assert allocator.request("b", 2.0).kind is Kind.WAIT
    allocator.released("a")
    assert allocator.ask_again("b", 3.0).victims == ("a",)


def test_refused_where_waiting_would_not_help():
    zones = {"flexible": {"size_mb": 100, "eviction_policy": "reluctant_lru"}}
    models = of_sizes(boss=60, b=60)
    models["boss"] |= {"priority": "high", "zone": "flexible"}
    models["b"]["cpu_fallback"] = "none"
    allocator = an_allocator(zones, models)
    load(allocator, "boss", 0.0)
    allocator.request("boss", 1.0)
    decision = allocator.request("b", 2.0)
    assert (decision.kind, decision.reason) == (Kind.REFUSE, "no room, and nothing that may leave for it")
    check(allocator)
