"""The offline bound and the rounded schedule, against exact optima of small traces by hand and by force."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramlab.analysis.bounds import cpu_extra_per_item_s, offline_bound, zoned_bound
from vramlab.analysis.schedules import round_schedule, round_zoned_schedule
from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority, VramConfig
from vramlab.config.units import MIB
from vramlab.traces.importers.genai_2026 import genai_2026_inventory, import_genai_2026
from vramlab.traces.trace import Trace

REAL = Path(__file__).resolve().parents[3] / "shared/data/genai_2026_requests.csv.gz"
NAMES = "ABCDEF"


def asked(models):
    return Trace.from_frame(pd.DataFrame({"time_s": np.arange(float(len(models))), "model": list(models)}))


def inventory(sizes_mb, loads_s, priorities=None):
    return {
        name: ModelSpec(
            priority=priorities[index] if priorities else Priority.MEDIUM,
            vram_size_mb=size,
            load_time_ms=1000.0 * load,
        )
        for index, (name, size, load) in enumerate(zip(NAMES, sizes_mb, loads_s, strict=False))
    }


def exact(models, specs, may_hold, admission, skip=None, counted_from=0):
    """Least cost by dynamic programming over the sets in memory; `may_hold(set)` says which sets fit."""
    states = {frozenset(): 0.0}
    for position, model in enumerate(models):
        load = specs[model].load_s if position >= counted_from else 0.0
        missed = load if skip is None else min(load, skip[position])
        following: dict[frozenset, float] = {}

        def reach(held, cost, following=following):
            following[held] = min(cost, following.get(held, np.inf))

        fits = may_hold(frozenset({model}))
        for held, cost in states.items():
            if not fits:
                reach(held, cost + load)
                continue
            hit = model in held
            for chosen in subsets(held - {model}):
                both = chosen | {model}
                if may_hold(both):
                    reach(both, cost + (0.0 if hit else load))
                if admission == "bypass":
                    reach(chosen, cost + (0.0 if hit else missed))
        states = following
    return min(states.values())


def subsets(held):
    found = [frozenset()]
    for model in held:
        found += [chosen | {model} for chosen in found]
    return found


def in_one(specs, capacity_mb):
    return lambda held: sum(specs[name].footprint_bytes for name in held) <= capacity_mb * MIB


# -- by hand ---------------------------------------------------------------------------------------------


def test_two_of_three_models_fit():
    # A B C A B: three first loads; at C only one of A and B may stay, so one more load: 4 in all.
    specs = inventory([1, 1, 1], [1, 1, 1])
    bound = offline_bound(asked("ABCAB"), specs, 2 * MIB)
    assert bound.load_cost_s == pytest.approx(4.0)
    assert bound.load_cost_all_miss_s == 5.0
    assert bound.compulsory_cost_s == 3.0
    assert bound.requests == 5
    assert bound.admission == "forced"
    assert bound.windows == 1
    # the next MB would hold the third model
    assert bound.marginal_s_per_mb == pytest.approx(1.0)
    schedule = round_schedule(bound, asked("ABCAB"), specs)
    assert schedule.load_cost_s == 4.0
    assert (schedule.hits, schedule.misses) == (1, 4)


def test_bypass_serves_the_stranger_without_giving_way():
    # A B C A B with room for two: C passes by, A and B stay: 3 loads.
    specs = inventory([1, 1, 1], [1, 1, 1])
    bound = offline_bound(asked("ABCAB"), specs, 2 * MIB, "bypass")
    assert bound.load_cost_s == pytest.approx(3.0)
    assert round_schedule(bound, asked("ABCAB"), specs).load_cost_s == 3.0


def test_the_dear_model_stays():
    # room for one beside the one asked for; C makes either A (10 s) or B (1 s) leave
    bound = offline_bound(asked("ABCAB"), inventory([1, 1, 1], [10, 1, 1]), 2 * MIB)
    assert bound.load_cost_s == pytest.approx(10 + 1 + 1 + 1)
    assert bound.keep.tolist() == pytest.approx([0, 0, 0, 1, 0])


def test_runs_are_free_but_for_their_first():
    specs = inventory([1, 1], [3, 2])
    bound = offline_bound(asked("AAABBA"), specs, 1 * MIB)
    assert bound.load_cost_s == pytest.approx(3 + 2 + 3)
    assert bound.load_cost_all_miss_s == 3 * 4 + 2 * 2
    assert bound.keep.tolist() == [0, 1, 1, 0, 1, 0]


def test_a_model_larger_than_memory_is_missed_each_time_and_takes_nothing():
    specs = inventory([1, 9], [3, 2])
    bound = offline_bound(asked("ABBA"), specs, 2 * MIB)
    assert bound.load_cost_s == 3 + 2 + 2
    assert (bound.oversized_requests, bound.oversized_cost_s) == (2, 4.0)
    assert round_schedule(bound, asked("ABBA"), specs).load_cost_s == 7.0


def test_what_is_always_loaded_was_there_before():
    specs = inventory([1, 1, 1], [3, 1, 1])
    specs["A"] = specs["A"].model_copy(update={"always_loaded": True})
    assert offline_bound(asked("ABA"), specs, 2 * MIB).load_cost_s == pytest.approx(1.0)
    assert offline_bound(asked("BCABC"), specs, 2 * MIB).compulsory_cost_s == 2.0


def test_no_memory_at_all():
    bound = offline_bound(asked("ABA"), inventory([1, 1], [1, 1]), 0)
    assert bound.load_cost_s == bound.load_cost_all_miss_s == 3.0


def test_cpu_answers_where_they_cost_less():
    # B asked for once costs 5 s to load and 1 s on the CPU; A is worth its load of 2 s: 3 CPU answers cost 3
    specs = inventory([1, 1], [2, 5])
    bound = offline_bound(asked("ABAA"), specs, 1 * MIB, "bypass", cpu_cost={"A": 1.0, "B": 1.0})
    assert bound.load_cost_s == pytest.approx(2 + 1)
    # without the CPU for A and B the same trace costs a load of each
    assert offline_bound(asked("ABAA"), specs, 1 * MIB, "bypass").load_cost_s == pytest.approx(7)


def test_cpu_extra_cost():
    specs = {
        "A": ModelSpec(priority=Priority.LOW, vram_size_mb=1, load_time_ms=10, inference_ms=100),
        "B": ModelSpec(priority=Priority.HIGH, vram_size_mb=1, load_time_ms=10, cpu_fallback="none"),
    }
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 1.0], "model": list("AB")}))
    assert cpu_extra_per_item_s(trace, specs, 0.5).tolist() == pytest.approx([0.1, np.inf])


def test_zones_cap_their_own_models():
    # one slot each for high (A, C) and medium (B): the device could hold two, A and C alternate in one
    specs = inventory([1, 1, 1], [1, 1, 1], [Priority.HIGH, Priority.MEDIUM, Priority.HIGH])
    config = zones(high=1, flexible=1, borrowers=())
    trace = asked("ABCABC")
    bound = zoned_bound(trace, specs, config)
    assert bound.load_cost_s == pytest.approx(5.0)  # A B C A C; B stays
    assert offline_bound(trace, specs, 2 * MIB).load_cost_s == pytest.approx(4.0)  # A B C B
    # where high may borrow the other slot, the two are one memory
    lent = zones(high=1, flexible=1, borrowers=("high",))
    assert zoned_bound(trace, specs, lent).load_cost_s == pytest.approx(4.0)
    assert round_zoned_schedule(bound, trace, specs, config).load_cost_s == 5.0


def zones(high, flexible, borrowers, budget=100.0):
    return VramConfig.model_validate(
        {
            "total_memory_mb": float(budget),
            "overhead": {"cuda_context_mb": 0, "framework_mb": 0, "buffer_mb": 0},
            "zones": {
                "high_priority": {"size_mb": high, "borrowers": ()},
                "flexible": {"size_mb": flexible, "borrowers": borrowers},
            },
        }
    )


# -- by force --------------------------------------------------------------------------------------------

requests = st.lists(st.sampled_from(NAMES[:5]), min_size=1, max_size=14)
loads = st.lists(st.integers(1, 9), min_size=5, max_size=5)
sizes = st.lists(st.integers(1, 6), min_size=5, max_size=5)


@settings(max_examples=60, deadline=None)
@given(requests, loads, st.integers(1, 4), st.sampled_from(["forced", "bypass"]))
def test_exact_where_all_sizes_are_equal(models, loads_s, slots, admission):
    specs = inventory([1] * 5, loads_s)
    bound = offline_bound(asked(models), specs, slots * MIB, admission)
    best = exact(models, specs, in_one(specs, slots), admission)
    assert bound.load_cost_s == pytest.approx(best, abs=1e-6)
    assert abs(bound.gap_s) < 1e-6


@settings(max_examples=80, deadline=None)
@given(requests, sizes, loads, st.integers(1, 14), st.sampled_from(["forced", "bypass"]), st.integers(2, 20))
def test_bound_optimum_schedule(models, sizes_mb, loads_s, capacity_mb, admission, window_steps):
    specs, trace = inventory(sizes_mb, loads_s), asked(models)
    bound = offline_bound(trace, specs, capacity_mb * MIB, admission)
    best = exact(models, specs, in_one(specs, capacity_mb), admission)
    schedule = round_schedule(bound, trace, specs)
    assert bound.load_cost_s <= best + 1e-6
    assert best <= schedule.load_cost_s + 1e-6
    assert bound.compulsory_cost_s <= bound.load_cost_s + 1e-6
    assert schedule.load_cost_s <= bound.load_cost_all_miss_s + 1e-6
    assert_holds(models, specs, capacity_mb, schedule)
    # prices found window by window prove a bound too, if a weaker one, and its schedule can be had as well
    windowed = offline_bound(trace, specs, capacity_mb * MIB, admission, window_steps=window_steps)
    assert windowed.load_cost_s <= bound.load_cost_s + 1e-6
    assert best <= round_schedule(windowed, trace, specs).load_cost_s + 1e-6


def assert_holds(models, specs, capacity_mb, schedule):
    """Walk through the schedule: its memory never overflows, and its cost is what it says."""
    cost = 0.0
    last = {}
    for position, model in enumerate(models):
        cost += 0.0 if schedule.kept[position] else specs[model].load_s
        last[position] = next((p for p in range(position - 1, -1, -1) if models[p] == model), None)
    assert cost == pytest.approx(schedule.load_cost_s)
    for now, model in enumerate(models):
        held = {models[p] for p in range(len(models)) if schedule.kept[p] and last[p] < now < p}
        if schedule.admission == "forced" and in_one(specs, capacity_mb)({model}):
            held |= {model}
        assert in_one(specs, capacity_mb)(held)


@settings(max_examples=60, deadline=None)
@given(requests, sizes, loads, st.integers(1, 14), st.data())
def test_bound_optimum_schedule_with_a_cpu(models, sizes_mb, loads_s, capacity_mb, data):
    specs, trace = inventory(sizes_mb, loads_s), asked(models)
    costs = st.one_of(st.integers(0, 12).map(float), st.just(np.inf))
    skip = np.array(data.draw(st.lists(costs, min_size=len(models), max_size=len(models))))
    bound = offline_bound(trace, specs, capacity_mb * MIB, "bypass", cpu_cost=skip)
    best = exact(models, specs, in_one(specs, capacity_mb), "bypass", skip)
    assert bound.load_cost_s <= best + 1e-6
    assert best <= round_schedule(bound, trace, specs, skip).load_cost_s + 1e-6
    assert abs(bound.gap_s) < 1e-6
    assert bound.load_cost_s <= offline_bound(trace, specs, capacity_mb * MIB, "bypass").load_cost_s + 1e-6


def placeable(specs, config):
    """Whether some assignment of the models to places fits: tries them all."""
    caps = {name: zone.size_bytes for name, zone in config.zones.items()}

    def places(name):
        home = "high_priority" if specs[name].priority is Priority.HIGH else "flexible"
        return [home] + [
            zone
            for zone, its in config.zones.items()
            if zone != home and specs[name].priority in its.borrowers
        ]

    def fits(names, free):
        if not names:
            return True
        size = specs[names[0]].footprint_bytes
        return any(
            fits(names[1:], {**free, zone: free[zone] - size})
            for zone in places(names[0])
            if free[zone] >= size
        )

    def may_hold(held):
        total = sum(specs[name].footprint_bytes for name in held)
        return total <= config.budget_bytes and fits(sorted(held), caps)

    return may_hold


@settings(max_examples=60, deadline=None)
@given(
    requests,
    sizes,
    loads,
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(4, 16),
    st.booleans(),
    st.booleans(),
)
def test_zoned_bound(models, sizes_mb, loads_s, high, flexible, budget, lends, bypass):
    priorities = [Priority.HIGH, Priority.MEDIUM, Priority.HIGH, Priority.LOW, Priority.MEDIUM]
    specs, trace = inventory(sizes_mb, loads_s, priorities), asked(models)
    config = zones(high, flexible, ("high",) if lends else (), budget)
    admission = "bypass" if bypass else "forced"
    bound = zoned_bound(trace, specs, config, admission)
    # models may move between zones for free here, as in the relaxation
    best = exact(models, specs, placeable(specs, config), admission)
    assert bound.load_cost_s <= best + 1e-6
    schedule = round_zoned_schedule(bound, trace, specs, config)
    assert bound.load_cost_s <= schedule.load_cost_s + 1e-6
    if not lends:
        assert best <= schedule.load_cost_s + 1e-6


# -- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity_bytes": -1}, "bound: capacity_bytes: found -1, expected a size of at least 0"),
        ({"admission": "never"}, "bound: admission: found 'never', expected one of forced, bypass"),
        (
            {"cpu_cost": {"A": 1.0}},
            "bound: cpu_cost: found costs of the CPU, expected none with admission `forced`",
        ),
        (
            {"admission": "bypass", "cpu_cost": np.ones(3)},
            "bound: cpu_cost: found shape (3,), expected one cost per request (2,)",
        ),
        (
            {"admission": "bypass", "cpu_cost": {"A": -1.0}},
            "bound: cpu_cost: found a negative or missing cost, expected seconds of at least 0",
        ),
        ({"window_steps": 1}, "bound: window_steps: found 1, expected at least 2"),
    ],
)
def test_bad_input(changes, message):
    arguments = {"capacity_bytes": MIB, **changes}
    with pytest.raises(InputError) as caught:
        offline_bound(asked("AB"), inventory([1, 1], [1, 1]), **arguments)
    assert str(caught.value) == message


def test_unknown_model():
    with pytest.raises(InputError, match="model: found 'F', expected a model of the inventory"):
        offline_bound(asked("AF"), inventory([1, 1], [1, 1]), MIB)


# -- the real trace --------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.exists(), reason=f"the real trace is not at {REAL}")
def test_real_trace_at_24_gb():
    trace, _ = import_genai_2026(REAL)
    specs = genai_2026_inventory(trace)
    bound = offline_bound(trace, specs, 24_576 * MIB)
    assert bound.load_cost_s == pytest.approx(46_951.1168, rel=1e-6)
    assert abs(bound.gap_s) < 1e-3
    schedule = round_schedule(bound, trace, specs)
    assert bound.load_cost_s < schedule.load_cost_s < 1.15 * bound.load_cost_s
    windowed = offline_bound(trace, specs, 24_576 * MIB, window_steps=3_000)
    assert windowed.windows == 11
    assert 0.999 * bound.load_cost_s < windowed.load_cost_s <= bound.load_cost_s + 1e-3
    # leaving a choice to the schedule never costs more
    assert offline_bound(trace, specs, 24_576 * MIB, "bypass").load_cost_s < bound.load_cost_s
    figures = bound.document()
    assert "keep" not in figures
    assert {
        "load_cost_s",
        "load_cost_all_miss_s",
        "capacity_bytes",
        "requests",
        "admission",
        "method",
    } <= set(figures)


def test_a_part_that_does_not_count_is_free_and_leaves_behind_what_helps_later():
    # room for two; C has to be in memory at request 2, with A or B
    specs = inventory([1, 1, 1], [1.0, 2.0, 4.0])
    bound = offline_bound(asked("ABCABAC"), specs, 2 * MIB, counted_from=3)
    # C and A are there at 3; B takes A's place (2 s), A takes B's (1 s), and C, the dearest, stays
    assert bound.load_cost_s == pytest.approx(2.0 + 1.0)
    assert (bound.requests, bound.load_cost_all_miss_s) == (4, 1.0 + 2.0 + 1.0 + 4.0)
    assert offline_bound(asked("ABCABAC"), specs, 3 * MIB, counted_from=3).load_cost_s == pytest.approx(0.0)


@settings(max_examples=80)
@given(
    st.lists(st.sampled_from("ABCD"), min_size=2, max_size=12),
    st.lists(st.sampled_from([0.5, 1.0, 2.5]), min_size=4, max_size=4),
    st.integers(1, 3), st.integers(0, 11), st.sampled_from(["forced", "bypass"]), st.booleans(),
)  # fmt: skip
def test_what_does_not_count_against_brute_force(models, loads_s, slots, first, admission, equal):
    first = min(first, len(models) - 1)
    specs = inventory([2, 2, 2, 2] if equal else [1, 2, 3, 2], loads_s)
    capacity_mb = 2 * slots
    if not equal:
        capacity_mb = max(3, capacity_mb)
    least = exact(models, specs, in_one(specs, capacity_mb), admission, counted_from=first)
    bound = offline_bound(asked(models), specs, capacity_mb * MIB, admission, counted_from=first).load_cost_s
    if equal:
        assert bound == pytest.approx(least)
    else:
        assert bound <= least + 1e-9
