"""Victim sets against brute force over all of them."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.allocator.building import an_allocator, load, mb
from vramlab.allocator import Kind, exact
from vramlab.allocator.exact import cheapest_cover
from vramlab.allocator.invariants import check

ONE = {"flexible": {"size_mb": 100}}

scores_strategy = st.one_of(
    st.floats(0, 1000, allow_nan=False), st.integers(0, 5).map(float), st.floats(1e-9, 1e9)
)
candidates_strategy = st.lists(st.tuples(scores_strategy, st.integers(1, 60)), max_size=12)


def least_by_brute_force(scores, sizes, needed):
    """Least total score of all subsets that free `needed`; None if none does."""
    everyone = range(len(scores))
    totals = [
        sum(scores[i] for i in subset)
        for count in range(len(scores) + 1)
        for subset in combinations(everyone, count)
        if sum(sizes[i] for i in subset) >= needed
    ]
    return min(totals, default=None)


@given(candidates_strategy, st.integers(0, 400))
def test_exact_is_the_least_of_all_subsets(candidates, needed):
    scores = [score for score, _ in candidates]
    sizes = [size for _, size in candidates]
    found = cheapest_cover(scores, sizes, needed)
    least = least_by_brute_force(scores, sizes, needed)
    if least is None:
        assert found is None
    else:
        assert sorted(set(found)) == found
        assert sum(sizes[i] for i in found) >= needed
        assert sum(scores[i] for i in found) == pytest.approx(least, rel=1e-12, abs=0)


def test_exact_by_hand():
    # 100 are needed: 60 + 50 for 7 beats the single 100 for 8, and greedy's cheap 30 first
    assert cheapest_cover([1.0, 3.0, 4.0, 8.0], [30, 60, 50, 100], 100) == [1, 2]
    assert cheapest_cover([1.0, 3.0, 4.0, 8.0], [30, 60, 50, 100], 140) == [0, 1, 2]
    assert cheapest_cover([1.0, 3.0], [30, 60], 91) is None
    assert cheapest_cover([1.0, 3.0], [30, 60], 0) == []
    assert cheapest_cover([1.0, 3.0], [30, 60], 90) == [0, 1]  # all of them, to the last byte
    assert cheapest_cover([2.0, 2.0], [30, 60], 30) == [1]  # a tie goes to the one that frees more
    assert cheapest_cover([-5.0, 1.0, 3.0], [30, 60, 90], 61) == [0, 1]  # a negative score counts as 0


def test_exact_looks_on_after_a_good_set():
    # cheapest bytes first: 0 and 1 for 20.05 are found first, 0 and 2 for 19.95 are the least
    assert cheapest_cover([10.0, 10.05, 9.95], [51, 51, 50], 101) == [0, 2]
    # the second alone for 4 is found first; the others for 4 free one more
    assert cheapest_cover([1.0, 4.0, 3.0], [100, 200, 101], 150) == [0, 2]


def test_exact_ties_at_nothing_and_in_the_last_digit():
    # no bytes cost anything: 0 alone is found first, 1 and 2 free more
    assert cheapest_cover([0.0, 0.0, 0.0], [60, 30, 40], 50) == [1, 2]
    # 0.1 + 0.2 is a little more than 0.3
    assert cheapest_cover([0.1, 0.2, 0.3], [10, 20, 30], 30) == [2]


def test_exact_says_when_it_has_too_many_candidates():
    count = exact.CANDIDATES_LIMIT
    assert cheapest_cover([1.0] * count, [1] * count, 5) is not None
    assert cheapest_cover([1.0] * (count + 1), [1] * (count + 1), 5) is None


def test_exact_says_when_too_many_sets_stand_side_by_side(monkeypatch):
    scores, sizes = [1.0, 2.1, 4.3, 8.7, 16.9], [1, 2, 4, 8, 16]
    assert cheapest_cover(scores, sizes, 23) == [0, 1, 2, 4]
    # kept are those that may still become a set that is enough, and cheaper than the best: never more than 4
    monkeypatch.setattr(exact, "FRONTIER_LIMIT", 4)
    assert cheapest_cover(scores, sizes, 23) == [0, 1, 2, 4]
    monkeypatch.setattr(exact, "FRONTIER_LIMIT", 3)
    assert cheapest_cover(scores, sizes, 23) is None


def test_of_sets_of_one_score_the_one_that_frees_the_most_is_kept():
    empty, less, more, dear = (
        exact._Set(score, freed, member, None)
        for member, (score, freed) in enumerate([(0.0, 0), (1.0, 10), (1.0, 20), (2.0, 20)])
    )
    assert exact._undominated([empty, less], [more, dear]) == [empty, more]


def filled(sizes, uses, victims, needed_mb, **zone):
    """A zone that is full of models with these sizes, of so many uses each, and the decision about `new`."""
    models = {f"m{i}": {"vram_size_mb": size} for i, size in enumerate(sizes)}
    models["new"] = {"vram_size_mb": needed_mb, "cpu_fallback": "none"}
    allocator = an_allocator(
        {"flexible": {"size_mb": sum(sizes), **zone}}, models, scoring={"policy": "lfu", "victims": victims}
    )
    for i, count in enumerate(uses):
        load(allocator, f"m{i}", float(i))
        for _ in range(count - 1):
            allocator.request(f"m{i}", float(i), pin=False)
    return allocator, allocator.request("new", 100.0)


filling = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=10)


@given(filling, st.integers(1, 400))
def test_exact_in_the_allocator_is_the_least_total_score(filling, needed_mb):
    sizes = [size for size, _ in filling]
    uses = [count for _, count in filling]
    allocator, decision = filled(sizes, uses, "exact", needed_mb)
    least = least_by_brute_force(uses, sizes, needed_mb)
    if least is None:
        assert decision.kind is Kind.REFUSE
    else:
        assert decision.kind is Kind.LOAD
        assert sum(uses[int(name[1:])] for name in decision.victims) == least
    check(allocator)


@given(filling, st.integers(1, 400), st.sampled_from(["pruned", "exact", "in_order"]))
def test_nobody_is_evicted_beside_a_sufficient_set(filling, needed_mb, victims):
    sizes = [size for size, _ in filling]
    allocator, decision = filled(sizes, [count for _, count in filling], victims, needed_mb)
    if needed_mb > sum(sizes):
        assert decision.victims == ()
        return
    freed = [sizes[int(name[1:])] for name in decision.victims]
    assert sum(freed) >= needed_mb
    if victims == "in_order":
        assert sum(freed[:-1]) < needed_mb
    else:  # no strict subset suffices: enough to look at those with one less
        for count in range(len(freed)):
            for fewer in combinations(freed, count):
                assert sum(fewer) < needed_mb
    check(allocator)


@given(filling, st.integers(1, 400))
def test_pruned_is_in_order_without_some(filling, needed_mb):
    sizes = [size for size, _ in filling]
    uses = [count for _, count in filling]
    _, in_order = filled(sizes, uses, "in_order", needed_mb)
    _, pruned = filled(sizes, uses, "pruned", needed_mb)
    assert set(pruned.victims) <= set(in_order.victims)
    assert list(pruned.victims) == [name for name in in_order.victims if name in pruned.victims]


def test_exact_beats_greedy_where_it_can():
    # 60 MB short. Greedy takes m0 (1 use) and m1 (3 uses), and needs both; m2 alone has 60 MB for 3 uses.
    sizes, uses = [50, 50, 60], [1, 3, 3]
    _, greedy = filled(sizes, uses, "pruned", 60)
    _, best = filled(sizes, uses, "exact", 60)
    assert greedy.victims == ("m0", "m1")  # a total of 4
    assert best.victims == ("m2",)  # 3


def guests_and_own(victims, needed_mb):
    """Flexible, full: a guest `g` of 40 MB (9 uses) and its own `a`, `b` of 30 MB (1 use each)."""
    zones = {
        "high_priority": {"size_mb": 50, "eviction_policy": "reluctant_lru"},
        "flexible": {"size_mb": 100, "borrowers": ["high"]},
    }
    models = {
        "h": {"vram_size_mb": 50, "priority": "high"},
        "g": {"vram_size_mb": 40, "priority": "high"},
        "a": {"vram_size_mb": 30},
        "b": {"vram_size_mb": 30},
        "new": {"vram_size_mb": needed_mb},
    }
    allocator = an_allocator(zones, models, scoring={"policy": "lfu", "victims": victims})
    for time_s, name in enumerate("hgab"):
        load(allocator, name, float(time_s))
    for _ in range(8):
        allocator.request("g", 10.0, pin=False)
    assert allocator.models["g"].guest
    return load(allocator, "new", 20.0).victims


@pytest.mark.parametrize("victims", ["in_order", "pruned", "exact"])
def test_guests_first_however_much_they_are_worth(victims):
    assert guests_and_own(victims, 30) == ("g",)
    assert guests_and_own(victims, 70) == ("g", "a")


def test_exact_with_own_models_that_must_go_anyway():
    # 60 MB: the guest's 40 do not suffice, so one own model must go, and then both are needed
    assert guests_and_own("exact", 60) == ("g", "a")


@pytest.mark.parametrize("victims", ["pruned", "exact"])
def test_a_slot_is_freed_by_the_least_valuable_alone(victims):
    allocator, decision = filled([30, 40, 20], [3, 2, 1], victims, 5, size_mb=200, max_models=3)
    assert decision.victims == ("m2",)
    check(allocator)


def test_device_and_zone_short_at_once_exactly():
    zones = {"flexible": {"size_mb": 60}, "other": {"size_mb": 80}}
    models = {
        "a": {"vram_size_mb": 30},
        "b": {"vram_size_mb": 30},
        "o": {"vram_size_mb": 20, "zone": "other"},
        "p": {"vram_size_mb": 40, "zone": "other"},
        "new": {"vram_size_mb": 50},
    }
    allocator = an_allocator(zones, models, total_mb=125, scoring={"policy": "lfu", "victims": "exact"})
    for time_s, name in enumerate("abop"):
        load(allocator, name, float(time_s))
    assert allocator.device.cap - allocator.device.committed == mb(5)
    # The zone needs 50 MB of its own: a and b. They give the device 60, it needs 45: o and p stay.
    assert load(allocator, "new", 9.0).victims == ("a", "b")


def test_a_slot_that_a_guest_can_give_costs_no_own_model():
    zones = {
        "high_priority": {"size_mb": 50, "eviction_policy": "reluctant_lru"},
        "flexible": {"size_mb": 200, "max_models": 2, "borrowers": ["high"]},
    }
    models = {
        "h": {"vram_size_mb": 50, "priority": "high"},
        "g": {"vram_size_mb": 40, "priority": "high"},
        "a": {"vram_size_mb": 30},
        "new": {"vram_size_mb": 10},
    }
    allocator = an_allocator(zones, models, scoring={"policy": "lfu", "victims": "exact"})
    for time_s, name in enumerate("hga"):
        load(allocator, name, float(time_s))
    allocator.request("g", 10.0, pin=False)  # worth more than a, but a guest
    assert load(allocator, "new", 20.0).victims == ("g",)


def test_a_slot_of_a_reluctant_zone_and_a_shortage_of_the_device_exactly():
    zones = {
        "high_priority": {"size_mb": 100, "max_models": 1, "eviction_policy": "reluctant_lru"},
        "flexible": {"size_mb": 160},
    }
    models = {
        "h": {"vram_size_mb": 10, "priority": "high"},
        "m0": {"vram_size_mb": 50},
        "m1": {"vram_size_mb": 50},
        "m2": {"vram_size_mb": 60},
        "new": {"vram_size_mb": 70, "priority": "high"},
    }
    allocator = an_allocator(zones, models, total_mb=170, scoring={"policy": "lfu", "victims": "exact"})
    for time_s, name in enumerate(["h", "m0", "m1", "m2"]):
        load(allocator, name, float(time_s))
    for name in ["m1", "m1", "m2", "m2"]:
        allocator.request(name, 10.0, pin=False)
    # h must go for its slot and gives 10 MB; of the other 60, m2 alone (3 uses) is less than m0 and m1 (4)
    assert set(load(allocator, "new", 20.0).victims) == {"h", "m2"}
