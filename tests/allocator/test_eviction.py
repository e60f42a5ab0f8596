"""Who may be evicted, for whom, and that nobody is evicted in vain."""

import pytest

from tests.allocator.building import a_config, an_allocator, load, mb, resident, specs_of
from vramlab.allocator import Kind, State, make_allocator
from vramlab.allocator.eviction import Requester, Shortage, choose_victims, giving_zones
from vramlab.allocator.invariants import check
from vramlab.config.schema import Priority

ONE = {"flexible": {"size_mb": 100}}


def of_sizes(**sizes_mb):
    return {name: {"vram_size_mb": size} for name, size in sizes_mb.items()}


def mapped(zones, models, placement, total_mb=None):
    return make_allocator(a_config(zones, total_mb, placement=placement), specs_of(models))


def test_free_space_counts():
    allocator = an_allocator(ONE, of_sizes(a=40, b=40, c=50))
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    # 20 MB are free, so 30 MB of victims are enough. (The specification's code asks for 50.)
    assert load(allocator, "c", 2.0).victims == ("a",)


def test_nothing_is_evicted_if_all_together_do_not_suffice():
    allocator = an_allocator(ONE, of_sizes(a=30, busy=40, c=70))
    load(allocator, "a", 0.0)
    load(allocator, "busy", 1.0)
    allocator.request("busy", 2.0)
    assert allocator.request("c", 3.0).kind is Kind.CPU  # a alone would give 60 MB
    assert resident(allocator) == {"a", "busy"}
    check(allocator)


@pytest.mark.parametrize(("victims", "expected"), [("in_order", ("a", "b")), ("pruned", ("b",))])
def test_a_victim_that_a_later_one_makes_unnecessary(victims, expected):
    allocator = an_allocator(ONE, of_sizes(a=20, b=60, c=70), scoring={"policy": "lru", "victims": victims})
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    # 20 MB are free, 50 are short: the first in order gives 20, the second 60
    assert load(allocator, "c", 2.0).victims == expected


def test_models_in_use_being_loaded_or_leaving_stay_out():
    allocator = an_allocator(ONE, of_sizes(used=30, loading=30, idle=30, new=30))
    load(allocator, "used", 0.0)
    allocator.request("used", 1.0)
    allocator.request("loading", 1.0)
    load(allocator, "idle", 2.0)
    decision = allocator.request("new", 3.0)
    assert (decision.kind, decision.victims) == (Kind.LOAD, ("idle",))
    check(allocator)
    assert allocator.request("idle", 4.0).kind is Kind.WAIT  # it is just leaving


def test_critical_models_are_never_evicted():
    models = of_sizes(c=60, new=60)
    models["c"] |= {"priority": "critical", "zone": "flexible"}
    models["new"] |= {"priority": "critical", "zone": "flexible", "cpu_fallback": "none"}
    allocator = an_allocator(ONE, models)
    load(allocator, "c", 0.0)
    decision = allocator.request("new", 1e6)
    assert decision.kind is Kind.REFUSE
    assert resident(allocator) == {"c"}


def test_a_zone_that_never_evicts():
    zones = {"flexible": {"size_mb": 100, "eviction_policy": "never"}}
    allocator = an_allocator(zones, of_sizes(a=60, b=60))
    load(allocator, "a", 0.0)
    assert allocator.request("b", 1e6).kind is Kind.CPU


def test_reluctant_protects_higher_priority_and_aggressive_does_not():
    for rule, kind in (("reluctant_lru", Kind.CPU), ("aggressive_lru", Kind.LOAD)):
        models = of_sizes(boss=60, new=60)
        models["boss"] |= {"priority": "high", "zone": "flexible"}
        allocator = an_allocator({"flexible": {"size_mb": 100, "eviction_policy": rule}}, models)
        load(allocator, "boss", 0.0)
        assert allocator.request("new", 1.0).kind is kind


def test_reluctant_lets_equals_and_the_less_important_go():
    zones = {"high_priority": {"size_mb": 100, "eviction_policy": "reluctant_lru"}}
    models = {
        "medium": {"vram_size_mb": 50, "zone": "high_priority"},
        "high": {"vram_size_mb": 50, "priority": "high"},
        "a": {"vram_size_mb": 50, "priority": "high"},
        "b": {"vram_size_mb": 100, "priority": "high"},
    }
    allocator = an_allocator(zones, models)
    load(allocator, "high", 0.0)
    load(allocator, "medium", 1.0)
    assert load(allocator, "a", 2.0).victims == ("high",)  # an equal, the least recently used
    assert set(load(allocator, "b", 3.0).victims) == {"medium", "a"}


def test_the_requests_priority_gives_the_right_to_evict():
    models = of_sizes(boss=60, new=60)
    models["boss"] |= {"priority": "high", "zone": "flexible"}
    zones = {"flexible": {"size_mb": 100, "eviction_policy": "reluctant_lru"}}
    allocator = an_allocator(zones, models)
    load(allocator, "boss", 0.0)
    assert allocator.request("new", 1.0).kind is Kind.CPU
    assert load(allocator, "new", 2.0, priority=Priority.HIGH).victims == ("boss",)


def test_retention_protects_from_loading_on():
    zones = {"flexible": {"size_mb": 100, "min_retention_time": 60}}
    allocator = an_allocator(zones, of_sizes(a=60, b=60))
    allocator.request("a", 0.0, pin=False)
    allocator.loaded("a", 5.0)
    assert allocator.request("b", 64.9).kind is Kind.CPU
    assert allocator.request("b", 65.0).kind is Kind.LOAD


def test_pressure_overrides_retention():
    zones = {"flexible": {"size_mb": 100, "min_retention_time": 60}}
    models = of_sizes(a=60, b=60)
    models["b"]["cpu_fallback"] = "none"
    allocator = an_allocator(zones, models)
    load(allocator, "a", 0.0)
    assert load(allocator, "b", 1.0).victims == ("a",)


def test_pressure_takes_the_unprotected_first():
    zones = {"flexible": {"size_mb": 100, "min_retention_time": 60}}
    models = of_sizes(old=50, young=50, new=50)
    models["new"]["cpu_fallback"] = "none"
    allocator = an_allocator(zones, models)
    load(allocator, "young", 50.0)
    allocator.models["young"].loaded_at_s = 50.0
    load(allocator, "old", 0.0)
    allocator.request("old", 55.0, pin=False)  # most recently used, but out of its retention
    assert load(allocator, "new", 61.0).victims == ("old",)


def test_a_device_shortage_takes_the_willing_zones_first():
    zones = {
        "high_priority": {"size_mb": 100, "eviction_policy": "reluctant_lru"},
        "flexible": {"size_mb": 100},
    }
    models = {
        "h1": {"vram_size_mb": 40, "priority": "high"},
        "h2": {"vram_size_mb": 40, "priority": "high"},
        "f": {"vram_size_mb": 40},
    }
    allocator = an_allocator(zones, models, total_mb=100)
    load(allocator, "h1", 0.0)
    load(allocator, "f", 1.0)
    # h2 has room in its zone, the device has not: f leaves, though h1 was used less recently
    assert load(allocator, "h2", 2.0).victims == ("f",)
    assert allocator.request("f", 3.0).kind is Kind.CPU  # and it may not push out a high one


def test_a_shortage_of_both_is_met_with_as_few_as_needed():
    zones = {"flexible": {"size_mb": 60}, "other": {"size_mb": 60}}
    models = of_sizes(a=30, b=30, new=60)
    models["o"] = {"vram_size_mb": 40, "zone": "other"}
    allocator = an_allocator(zones, models, total_mb=100, scoring={"policy": "lru", "victims": "pruned"})
    for time_s, name in enumerate("abo"):
        load(allocator, name, float(time_s))
    assert load(allocator, "new", 9.0).victims == ("a", "b")  # that gives the device its 60 MB too
    assert allocator.models["o"].state is State.RESIDENT


def test_unload_takes_idle_models_only():
    allocator = an_allocator(ONE, of_sizes(a=30))
    assert allocator.unload("a", 0.0) is None
    load(allocator, "a", 0.0)
    allocator.request("a", 1.0)
    assert allocator.unload("a", 2.0) is None
    allocator.released("a")
    decision = allocator.unload("a", 3.0)
    assert (decision.kind, decision.victims) == (Kind.UNLOAD, ("a",))
    assert allocator.device.held == allocator.models["a"].bytes  # until it has left
    assert allocator.unloaded("a") == []
    assert allocator.device.held == 0
    check(allocator)


@pytest.mark.parametrize("victims", ["in_order", "pruned", "exact"])
def test_a_guest_pushes_out_nobody_of_higher_priority(victims):
    zones = {"flexible": {"size_mb": 40}, "other": {"size_mb": 100, "borrowers": ["medium"]}}
    models = of_sizes(busy=40, new=40)
    models["boss"] = {"vram_size_mb": 80, "priority": "high", "zone": "other"}
    allocator = an_allocator(zones, models, scoring={"policy": "lfu", "victims": victims})
    load(allocator, "busy", 0.0)
    load(allocator, "boss", 1.0)
    allocator.request("busy", 2.0)
    assert allocator.request("new", 3.0).kind is Kind.CPU  # boss would give 80 MB
    assert resident(allocator) == {"busy", "boss"}


@pytest.mark.parametrize("victims", ["in_order", "pruned", "exact"])
@pytest.mark.parametrize("total_mb", [300, 200])
def test_a_byte_too_little_takes_one_victim_more(victims, total_mb):
    # short in the zone, where the device has room, and short on the device, where the zone has
    zones = {"flexible": {"size_mb": 200 if total_mb == 300 else 300}}
    allocator = an_allocator(zones, of_sizes(a=50, b=50), total_mb, scoring={"policy": "lfu"})
    load(allocator, "a", 0.0)
    load(allocator, "b", 1.0)
    zone = allocator.zones["flexible"]

    def chosen(size):
        found = choose_victims(size, zone, False, [zone], Requester(2, 2.0), victims)
        return [model.name for model in found]

    assert chosen(mb(100)) == []
    assert chosen(mb(100) + 1) == ["a"]
    assert chosen(mb(150)) == ["a"]
    assert chosen(mb(150) + 1) == ["a", "b"]


def test_other_zones_give_as_soon_as_the_device_lacks_a_byte():
    zones = {"high_priority": {"size_mb": 50, "eviction_policy": "reluctant_lru"}}
    zones |= {name: {"size_mb": 50} for name in ("flexible", "other")}
    allocator = an_allocator(zones, {}, total_mb=100)
    zone = allocator.zones["other"]

    def giving(size):
        short = Shortage(size, zone)
        return [giver.name for giver in giving_zones(allocator.zones.values(), zone, short)]

    assert giving(mb(100)) == ["other"]
    assert giving(mb(100) + 1) == ["other", "flexible", "high_priority"]


@pytest.mark.parametrize("placement", ["paged", "contiguous"])
def test_a_device_shortage_takes_the_own_zone_before_others(placement):
    zones = {"other": {"size_mb": 100}, "flexible": {"size_mb": 100}}
    models = of_sizes(a=40, new=40)
    models["o"] = {"vram_size_mb": 40, "zone": "other"}
    allocator = mapped(zones, models, placement, total_mb=100)
    load(allocator, "o", 0.0)  # used less recently, and its zone is the first
    load(allocator, "a", 1.0)
    assert load(allocator, "new", 2.0).victims == ("a",)


@pytest.mark.parametrize("placement", ["paged", "contiguous"])
def test_a_device_shortage_takes_nobody_of_higher_priority_from_another_zone(placement):
    zones = {"flexible": {"size_mb": 100}, "other": {"size_mb": 100}}
    models = of_sizes(new=60)
    models["boss"] = {"vram_size_mb": 60, "priority": "high", "zone": "other"}
    allocator = mapped(zones, models, placement, total_mb=100)
    load(allocator, "boss", 0.0)
    assert allocator.request("new", 1.0).kind is Kind.CPU
    models["new"] |= {"zone": "other"}  # but in its own zone it may
    allocator = mapped(zones, models, placement, total_mb=100)
    load(allocator, "boss", 0.0)
    assert load(allocator, "new", 1.0).victims == ("boss",)


def test_contiguous_a_device_shortage_takes_whom_the_own_zone_may_give():
    zones = {"flexible": {"size_mb": 100}, "other": {"size_mb": 100}}
    models = of_sizes(boss=40, new=50)
    models["boss"] |= {"priority": "high", "zone": "flexible"}
    models["o"] = {"vram_size_mb": 40, "zone": "other"}
    allocator = mapped(zones, models, "contiguous", total_mb=100)
    load(allocator, "boss", 0.0)
    load(allocator, "o", 1.0)
    # its zone has a hole of 60, the device 20: boss, of the same zone, is asked before o
    assert load(allocator, "new", 2.0).victims == ("boss",)


def test_contiguous_a_guest_pushes_out_nobody_of_higher_priority():
    zones = {"flexible": {"size_mb": 40}, "other": {"size_mb": 100, "borrowers": ["medium"]}}
    models = of_sizes(busy=40, new=40)
    models["boss"] = {"vram_size_mb": 80, "priority": "high", "zone": "other"}
    allocator = mapped(zones, models, "contiguous")
    load(allocator, "busy", 0.0)
    load(allocator, "boss", 1.0)
    allocator.request("busy", 2.0)
    assert allocator.request("new", 3.0).kind is Kind.CPU


def test_pruning_spares_whom_another_zone_need_not_give():
    zones = {"flexible": {"size_mb": 60}, "other": {"size_mb": 60}}
    models = of_sizes(a=30, new=60)
    models |= {name: {"vram_size_mb": size, "zone": "other"} for name, size in (("o", 10), ("p", 40))}
    scoring = {"policy": "lru", "victims": "pruned"}
    allocator = an_allocator(zones, models, total_mb=85, scoring=scoring)
    for time_s, name in enumerate("aop"):
        load(allocator, name, float(time_s))
    # the zone lacks 30, all that a has; the device 55: a, o and p give 80, and without o still 70
    assert load(allocator, "new", 9.0).victims == ("a", "p")


def test_pruning_keeps_what_the_device_needs():
    zones = {"flexible": {"size_mb": 100}, "other": {"size_mb": 90}}
    models = of_sizes(new=60)
    models |= {
        name: {"vram_size_mb": size, "zone": "other"} for name, size in (("o", 20), ("p", 30), ("q", 40))
    }
    scoring = {"policy": "lru", "victims": "pruned"}
    allocator = an_allocator(zones, models, total_mb=90, scoring=scoring)
    for time_s, name in enumerate("opq"):
        load(allocator, name, float(time_s))
    # 60 are short: o, p and q give 90; p may stay, and then nobody else
    assert load(allocator, "new", 9.0).victims == ("o", "q")
