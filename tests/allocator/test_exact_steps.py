"""``victims: exact`` over several zones and guests, against all subsets tried out, step by step."""

from itertools import combinations

import numpy as np
import pytest

from tests.allocator.building import an_allocator, load, mb
from vramlab.allocator import Kind
from vramlab.allocator.eviction import Requester, Shortage, candidates, choose_victims, giving_zones
from vramlab.allocator.invariants import check

ZONES = {
    "high_priority": {"size_mb": 90, "eviction_policy": "reluctant_lru", "borrowers": ["medium"]},
    "flexible": {"size_mb": 110, "borrowers": ["high"], "max_models": 6},
    "other": {"size_mb": 60},
}


def random_allocator(seed):
    rng = np.random.default_rng(seed)
    models = {
        f"m{i}": {
            "vram_size_mb": int(rng.integers(5, 45)),
            "load_time_ms": int(rng.integers(1, 900)),
            "priority": str(rng.choice(["high", "medium", "medium", "low"])),
            "zone": str(rng.choice(["high_priority", "flexible", "flexible", "other"])),
        }
        for i in range(14)
    }
    allocator = an_allocator(ZONES, models, total_mb=210, scoring={"policy": "lfu", "victims": "exact"})
    for now_s, i in enumerate(rng.permutation(14)):
        decision = allocator.request(f"m{i}", float(now_s), pin=False)
        if decision.kind is Kind.LOAD:
            allocator.settle(decision, float(now_s))
            for _ in range(int(rng.integers(6))):
                allocator.request(f"m{i}", float(now_s), pin=False)
    check(allocator)
    return allocator


def steps_of(zone, guest, willing, requester):
    """Candidates by zone, guests first, in the order in which the rules touch them."""
    steps = []
    for other in willing:
        there = list(candidates(other, other is not zone or guest, requester))
        for part in ([m for m in there if m.guest], [m for m in there if not m.guest]):
            if part:
                steps.append(part)
    return steps


def least(models, zone, needed, needed_here, slots):
    """Least total score of a subset that gives the bytes, the bytes here and the slots, and its bytes."""
    found = None
    for count in range(len(models) + 1):
        for subset in combinations(models, count):
            here = [m for m in subset if m.zone is zone]
            if (
                sum(m.bytes for m in subset) >= needed
                and sum(m.bytes for m in here) >= needed_here
                and len(here) >= slots
            ):
                score = sum(m.zone.policy.score(m, 99.0) for m in subset)
                if found is None or score < found:
                    found = score
    return found


@pytest.mark.parametrize("seed", range(12))
def test_every_step_takes_the_least_that_the_steps_before_it_cannot_give(seed):
    allocator = random_allocator(seed)
    zones = list(allocator.zones.values())
    tried = 0
    for zone in zones:
        for size_mb in (20, 45, 70, 100):
            for rank in (1, 2, 3):
                requester, short = Requester(rank, 99.0), Shortage(mb(size_mb), zone)
                victims = choose_victims(mb(size_mb), zone, False, zones, requester, "exact")
                if short.none:
                    assert victims == []
                    continue
                steps = steps_of(zone, False, giving_zones(zones, zone, short), requester)
                everybody = [m for step in steps for m in step]
                most = least(everybody, zone, short.device, short.zone, short.slots)
                if most is None:
                    assert victims is None
                    continue
                assert victims is not None
                assert len(set(victims)) == len(victims)
                assert sum(m.bytes for m in victims) >= short.device
                assert sum(m.bytes for m in victims if m.zone is zone) >= short.zone
                assert sum(m.zone is zone for m in victims) >= short.slots
                for without in victims:  # nobody in vain
                    rest = [m for m in victims if m is not without]
                    assert (
                        sum(m.bytes for m in rest) < short.device
                        or sum(m.bytes for m in rest if m.zone is zone) < short.zone
                        or sum(m.zone is zone for m in rest) < short.slots
                    )
                if len(steps) == 1:
                    assert sum(m.zone.policy.score(m, 99.0) for m in victims) == most
                # the last step touched gives no more than it must: with all of the steps before it
                last = [m for m in victims if m in steps[-1]]
                before = [m for step in steps[:-1] for m in step]
                freed, freed_here = (
                    sum(m.bytes for m in before),
                    sum(m.bytes for m in before if m.zone is zone),
                )
                slots = sum(m.zone is zone for m in before)
                expected = least(
                    steps[-1], zone, short.device - freed, short.zone - freed_here, short.slots - slots
                )
                assert sum(m.zone.policy.score(m, 99.0) for m in last) <= expected
                tried += 1
    assert tried


def test_a_device_shortage_is_met_with_what_the_zone_gives_anyway():
    zones = {"flexible": {"size_mb": 60}, "other": {"size_mb": 60}}
    models = {
        "a": {"vram_size_mb": 60},
        "o": {"vram_size_mb": 30, "zone": "other"},
        "p": {"vram_size_mb": 30, "zone": "other"},
        "new": {"vram_size_mb": 40},
    }
    for total_mb, victims in ((120, ("a",)), (130, ("a",))):
        allocator = an_allocator(
            zones, models, total_mb=total_mb, scoring={"policy": "lfu", "victims": "exact"}
        )
        for now_s, name in enumerate("aop"):
            load(allocator, name, float(now_s))
        assert load(allocator, "new", 9.0).victims == victims


def test_a_limit_of_slots_of_which_several_are_missing():
    zones = {"flexible": {"size_mb": 100, "max_models": 3}}
    models = {f"m{i}": {"vram_size_mb": 10} for i in range(4)}
    allocator = an_allocator(zones, models, scoring={"policy": "lfu", "victims": "exact"})
    for i in range(3):
        load(allocator, f"m{i}", float(i))
    zone = allocator.zones["flexible"]
    zone.max_models = 1
    requester = Requester(2, 9.0)
    for choice in ("in_order", "pruned"):
        victims = choose_victims(mb(10), zone, False, [zone], requester, choice)
        assert [m.name for m in victims] == ["m0", "m1", "m2"]


def test_shortages_to_the_byte():
    zones = {"flexible": {"size_mb": 50, "max_models": 2}}
    allocator = an_allocator(zones, {"a": {"vram_size_mb": 20}, "b": {"vram_size_mb": 20}}, total_mb=45)
    zone = allocator.zones["flexible"]
    load(allocator, "a", 0.0)
    short = Shortage(mb(25), zone)
    assert (short.zone, short.device, short.slots, short.none) == (mb(-5), 0, 0, True)
    assert choose_victims(mb(25), zone, False, [zone], Requester(2, 1.0), "exact") == []
    short = Shortage(mb(31), zone)
    assert (short.zone, short.device, short.slots, short.none) == (mb(1), mb(6), 0, False)
    assert not Shortage(mb(26), zone).none
    load(allocator, "b", 1.0)
    short = Shortage(1, zone)
    assert (short.slots, short.none) == (1, False)
    zone.max_models = None
    assert Shortage(1, zone).slots == 0
    assert Shortage(mb(5), zone).none


@pytest.mark.parametrize("victims", ["pruned", "exact"])
def test_one_slot_and_the_bytes_from_one_model(victims):
    zones = {"flexible": {"size_mb": 60, "max_models": 2}}
    models = {name: {"vram_size_mb": size} for name, size in (("a", 10), ("b", 40), ("new", 40))}
    allocator = an_allocator(zones, models, scoring={"policy": "lfu", "victims": victims})
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    assert load(allocator, "new", 2.0).victims == ("b",)  # 30 MB and a slot: a gives too little, b both


def test_models_of_other_zones_make_no_slots_and_cost_none():
    zones = {"flexible": {"size_mb": 100, "max_models": 1}, "other": {"size_mb": 60}}
    models = {
        "a": {"vram_size_mb": 10},
        "o": {"vram_size_mb": 10, "zone": "other"},
        "p": {"vram_size_mb": 50, "zone": "other"},
        "new": {"vram_size_mb": 60},
    }
    scoring = {"policy": "lru", "victims": "pruned"}
    allocator = an_allocator(zones, models, total_mb=75, scoring=scoring)
    for now_s, name in enumerate("aop"):
        load(allocator, name, float(now_s))
    assert load(allocator, "new", 5.0).victims == ("a", "p")  # 55 MB: a for its slot, and p does without o


def with_guests(guests, own, needed_mb):
    """Victims for `needed_mb` more than is free and a slot, of a zone of ``name=(MB, uses)``."""
    zones = {
        "high_priority": {"size_mb": 50, "eviction_policy": "reluctant_lru"},
        "flexible": {"size_mb": 200, "borrowers": ["high"], "max_models": len([*guests, *own])},
    }
    models = {"h": {"vram_size_mb": 50, "priority": "high"}}  # fills the home of the guests
    models |= {name: {"vram_size_mb": size, "priority": "high"} for name, (size, _) in guests.items()}
    models |= {name: {"vram_size_mb": size} for name, (size, _) in own.items()}
    there = sum(size for size, _ in [*guests.values(), *own.values()])
    models["new"] = {"vram_size_mb": 200 - there + needed_mb}
    allocator = an_allocator(zones, models, scoring={"policy": "lfu", "victims": "exact"})
    load(allocator, "h", 0.0)
    for name, (_, uses) in {**guests, **own}.items():
        load(allocator, name, 1.0)
        for _ in range(uses - 1):
            allocator.request(name, 1.0, pin=False)
    assert [allocator.models[name].guest for name in guests] == [True] * len(guests)
    return set(load(allocator, "new", 9.0).victims)


def test_guests_give_what_the_own_models_that_must_go_leave_over():
    # 85 MB: the guests have 80, so that a, with 45, must go; of the other 40, g3 (3 uses) beats g1 and g2 (4)
    guests = {"g1": (20, 2), "g2": (20, 2), "g3": (40, 3)}
    assert with_guests(guests, {"a": (45, 1)}, 85) == {"g3", "a"}


def test_guests_stay_where_the_own_models_that_must_go_give_all():
    # 40 MB: the guest has 10, and of the other 30, d (3 uses) beats b and c (4); it gives all 40
    own = {"b": (15, 2), "c": (15, 2), "d": (40, 3)}
    assert with_guests({"g": (10, 1)}, own, 40) == {"d"}


def test_victims_of_no_worth_are_taken_only_as_far_as_they_are_needed():
    zones = {"flexible": {"size_mb": 60}}
    models = {name: {"vram_size_mb": size} for name, size in (("a", 10), ("b", 50), ("new", 50))}
    allocator = an_allocator(zones, models, scoring={"policy": "lfu", "victims": "exact"})
    for name in "ab":  # preloaded and never used: a score of 0
        allocator.reserve(name, 0.0)
        allocator.loaded(name, 0.0)
    assert load(allocator, "new", 1.0).victims == ("b",)


def test_a_reluctant_zone_gives_its_own_bytes_to_the_last_one():
    zones = {
        "high_priority": {"size_mb": 80, "eviction_policy": "reluctant_lru"},
        "flexible": {"size_mb": 60},
    }
    sizes_mb = {"x": 30, "w": 20, "y": 30, "new": 30}
    models = {name: {"vram_size_mb": size, "priority": "high"} for name, size in sizes_mb.items()}
    models["f"] = {"vram_size_mb": 10}
    allocator = an_allocator(zones, models, total_mb=95, scoring={"policy": "lfu", "victims": "exact"})
    allocator.models["x"].bytes -= 1
    allocator.models["new"].bytes += 1  # with the byte that x has not, 30 MB are short in the zone
    for name in "xwyf":
        load(allocator, name, 0.0)
    for name in "wyf":
        allocator.request(name, 0.0, pin=False)
    # x is worth 1 and a byte too small; y is worth 2, x and w 3
    assert load(allocator, "new", 1.0).victims == ("y",)
