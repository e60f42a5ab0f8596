"""Pins that are given back early, and footprints that turn out larger than the inventory says."""

import pytest

from tests.allocator.building import an_allocator, load, mb
from vramlab.allocator import Kind, State
from vramlab.allocator.invariants import check
from vramlab.allocator.states import IllegalTransition

ONE_ZONE = {"flexible": {"size_mb": 100}}
MODELS = {"a": {"vram_size_mb": 60}, "b": {"vram_size_mb": 40}, "c": {"vram_size_mb": 10}}


def test_a_request_that_gives_up_during_the_load_leaves_the_others_their_pins():
    allocator = an_allocator(ONE_ZONE, MODELS)
    allocator.request("a", 0.0)
    allocator.request("a", 0.1)
    assert not allocator.withdraw("a")
    assert allocator.models["a"].pins == 1
    assert not allocator.withdraw("a")
    allocator.loaded("a", 1.0)
    assert allocator.models["a"].state is State.RESIDENT
    check(allocator)


def test_a_request_that_gives_up_before_its_run_frees_the_model():
    allocator = an_allocator(ONE_ZONE, MODELS)
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0)
    assert allocator.withdraw("a")
    assert allocator.models["a"].state is State.RESIDENT


def test_nobody_can_give_up_what_nobody_waits_for():
    allocator = an_allocator(ONE_ZONE, MODELS)
    allocator.reserve("a", 0.0)
    with pytest.raises(IllegalTransition):
        allocator.withdraw("a")


def test_a_footprint_grows_at_once_where_the_model_is_absent():
    allocator = an_allocator(ONE_ZONE, MODELS)
    load(allocator, "b", 0.0)
    assert allocator.grow("a", mb(70))
    decision = allocator.request("a", 1.0)
    assert (decision.kind, decision.victims) == (Kind.LOAD, ("b",))
    check(allocator)


def test_a_footprint_grows_when_the_model_has_left():
    allocator = an_allocator(ONE_ZONE, MODELS)
    load(allocator, "a", 0.0)
    assert allocator.grow("a", mb(70))
    assert not allocator.grow("a", mb(70))  # no news
    assert not allocator.grow("a", mb(65))  # it never shrinks
    assert allocator.device.held == mb(60)
    check(allocator)
    allocator.unload("a", 1.0)
    allocator.unloaded("a")
    check(allocator)
    load(allocator, "a", 2.0)
    assert allocator.device.held == mb(70)


@pytest.mark.parametrize("policy", ["seed", "seed_fixed", "decayed", "hyperbolic"])
def test_scores_go_by_the_footprint_that_has_grown(policy):
    grown = an_allocator(ONE_ZONE, MODELS, scoring={"policy": policy})
    large = an_allocator(ONE_ZONE, MODELS | {"a": {"vram_size_mb": 70}}, scoring={"policy": policy})
    scores = []
    for allocator in (grown, large):
        load(allocator, "a", 0.0)
        allocator.models["a"].zone.policy.score(allocator.models["a"], 1.0)
        allocator.grow("a", mb(70))
        allocator.unload("a", 2.0)
        allocator.unloaded("a")
        load(allocator, "a", 3.0)
        scores.append(allocator.models["a"].zone.policy.score(allocator.models["a"], 4.0))
    assert scores[0] == scores[1]


def test_a_footprint_that_grows_during_a_load_that_fails_counts_from_the_next_on():
    allocator = an_allocator(ONE_ZONE, MODELS)
    allocator.request("a", 0.0)
    allocator.grow("a", mb(90))
    allocator.load_failed("a")
    check(allocator)
    allocator.request("a", 1.0)
    assert allocator.device.held == mb(90)


def test_a_footprint_never_grows_past_the_place_for_it():
    allocator = an_allocator(ONE_ZONE, MODELS)
    load(allocator, "b", 0.0)
    assert allocator.grow("a", mb(500))
    decision = allocator.request("a", 1.0)
    assert (decision.kind, decision.victims) == (Kind.LOAD, ("b",))
    assert not allocator.grow("a", mb(1000))
