"""Runs of hits applied in bulk, against one request after the other: equal to the last bit."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.allocator.building import a_config
from vramlab.allocator import Allocator
from vramlab.allocator.policies import aged, make_policy, policy_names
from vramlab.config.schema import ModelSpec, ScoringConfig, VramConfig
from vramlab.simulation import decide as decide_module
from vramlab.simulation.decide import decide, tell_hits
from vramlab.traces.trace import Trace

MERGING = [name for name in policy_names() if make_policy(ScoringConfig(policy=name)).merges_uses]


def same(one, other):
    assert np.array_equal(one.outcomes, other.outcomes)
    assert np.array_equal(one.finish_s, other.finish_s)
    assert one.loads == other.loads
    assert one.evictions == other.evictions
    assert one.usage == other.usage
    assert (one.model_names, one.zone_names) == (other.model_names, other.zone_names)


def test_who_merges():
    apart = {"decayed", "lru_k", "lhd", "s3_fifo"}  # the first takes runs where it may
    assert set(policy_names()) - set(MERGING) == apart


@st.composite
def workloads(draw):
    count = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    requests = draw(st.integers(1, 400))
    weights = 1.0 / np.arange(1, count + 1) ** draw(st.sampled_from([0.0, 1.0, 2.0]))
    codes = rng.choice(count, size=requests, p=weights / weights.sum())
    times = np.cumsum(rng.choice([0.0, 0.1, 1.0, 30.0], size=requests))
    frame = pd.DataFrame({"time_s": times, "model": [f"m{code}" for code in codes]})
    if draw(st.booleans()):
        frame["priority"] = rng.choice(["high", "medium", "low"], size=requests)
    fallbacks = draw(st.sampled_from([("none",), ("none", "cpu_standard")]))
    inventory = {
        f"m{i}": ModelSpec(
            priority=str(rng.choice(["high", "medium", "low"])),
            vram_size_mb=int(rng.integers(1, 9)),
            load_time_ms=int(rng.integers(1, 500)),
            cpu_fallback=str(rng.choice(fallbacks)),
            always_loaded=bool(rng.random() < 0.1),
        )
        for i in range(count)
    }
    return Trace.from_frame(frame), inventory


CONFIGS = {
    "one zone": lambda mb, more: a_config({"flexible": {"size_mb": mb}}, **more),
    "zones": lambda mb, more: VramConfig.model_validate(
        {
            "total_memory_mb": 800 + mb,
            "zones": {
                "critical": {"size_mb": 2},
                "high_priority": {"size_mb": mb / 2 + 1, "max_models": 3, "min_retention_time": 2},
                "flexible": {"size_mb": mb / 2 + 1, "min_retention_time": 1},
            },
            **more,
        }
    ),
}


# How runs are handed in: model by model, as columns whenever that may be (after a first chunk of one),
# and in turns, from chunk to chunk.
WAYS = {
    "model by model": {"_FEW": 10**9, "_MANY": 0},
    "columns": {"_FEW": 0, "_FIRST_CHUNK": 1},
    "in turns": {"_FEW": 3, "_MANY": 1, "_FIRST_CHUNK": 8, "_CHUNK": 24},
}


@contextmanager
def handed_in(way):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WAYS[way].items():
            patch.setattr(decide_module, name, value)
        yield


@pytest.mark.parametrize("policy", [*MERGING, "decayed"])
@given(
    workload=workloads(),
    mb=st.integers(4, 40),
    shape=st.sampled_from(sorted(CONFIGS)),
    admission=st.sampled_from(["always", "free_only", "compete"]),
    victims=st.sampled_from(["auto", "in_order", "pruned"]),
    way=st.sampled_from(sorted(WAYS)),
)
def test_bulk_is_one_by_one(policy, workload, mb, shape, admission, victims, way):
    trace, inventory = workload
    config = CONFIGS[shape](mb, {"scoring": {"policy": policy, "victims": victims}, "admission": admission})
    with handed_in(way):
        bulk = decide(trace, config, inventory)
    same(bulk, decide(trace, config, inventory, bulk=False))


@pytest.mark.filterwarnings("ignore:overflow")  # the less used, the dearer, and fading at once
@given(
    workload=workloads(),
    mb=st.integers(4, 40),
    half_life_s=st.sampled_from([0.01, 1.0, 60.0, 1e6]),
    weights=st.fixed_dictionaries(
        {
            "frequency": st.sampled_from([-1.0, 0.0, 0.01, 0.3, 2.0]),
            "recency": st.sampled_from([-1.0, 0.0, 0.7]),
        }
    ),
    victims=st.sampled_from(["pruned", "exact"]),
    way=st.sampled_from(sorted(WAYS)),
    one_by_one=st.sampled_from([1, 8]),
)
def test_counts_that_fade(workload, mb, half_life_s, weights, victims, way, one_by_one):
    trace, inventory = workload
    scoring = {"policy": "decayed", "victims": victims, "weights": weights, "half_life_s": half_life_s}
    config = CONFIGS["one zone"](mb, {"scoring": scoring})
    with handed_in(way), pytest.MonkeyPatch.context() as patch:
        patch.setattr(aged, "_ONE_BY_ONE", one_by_one)  # victims that are found before the rest is sorted
        bulk = decide(trace, config, inventory)
    same(bulk, decide(trace, config, inventory, bulk=False))


@pytest.mark.parametrize("policy", ["seed", "seed_fixed"])
@given(
    workload=workloads(),
    mb=st.integers(4, 40),
    frequency=st.sampled_from([0.0, 0.3, 2.0, -1.0]),
    victims=st.sampled_from(["pruned", "exact"]),
)
def test_any_weights_and_exact_sets(policy, workload, mb, frequency, victims):
    trace, inventory = workload
    scoring = {"policy": policy, "victims": victims, "weights": {"frequency": frequency, "recency": 0.7}}
    config = CONFIGS["one zone"](mb, {"scoring": scoring})
    with handed_in("columns"):
        bulk = decide(trace, config, inventory)
    same(bulk, decide(trace, config, inventory, bulk=False))


class Lean:
    """A policy of one's own that merges uses and inherits nothing: fewest uses since loading leaves first."""

    merges_uses = True

    def __init__(self):
        self.tracked = {}

    def admitted(self, model, now_s):
        self.tracked[model] = model.uses

    def used(self, model, now_s):
        self.tracked[model] = model.uses

    def removed(self, model, evicted):
        del self.tracked[model]

    def score(self, model, now_s):
        return self.tracked.get(model, 1)

    def ranked(self, now_s):
        return sorted(self.tracked, key=self.tracked.get)


@given(workload=workloads(), mb=st.integers(4, 40))
def test_a_policy_that_knows_no_runs(workload, mb):
    trace, inventory = workload
    config = CONFIGS["one zone"](mb, {"scoring": {"policy": f"{__name__}:Lean"}})
    with handed_in("columns"):
        bulk = decide(trace, config, inventory)
    same(bulk, decide(trace, config, inventory, bulk=False))


@pytest.mark.parametrize("policy", [*MERGING, "decayed"])
def test_long_runs_over_several_chunks(policy, monkeypatch):
    monkeypatch.setattr(decide_module, "_CHUNK", 3000)
    monkeypatch.setattr(decide_module, "_FIRST_CHUNK", 1000)
    monkeypatch.setattr(decide_module, "_FEW", 10)
    monkeypatch.setattr(aged, "_ONE_BY_ONE", 1)  # further victims are sorted
    rng = np.random.default_rng(7)
    codes = rng.zipf(1.3, size=20_000) % 300
    times = np.cumsum(rng.exponential(1.0, size=20_000))
    trace = Trace.from_frame(pd.DataFrame({"time_s": times, "model": [f"m{code}" for code in codes]}))
    inventory = {
        f"m{i}": ModelSpec(priority="medium", vram_size_mb=int(rng.integers(1, 9)), load_time_ms=10)
        for i in range(300)
    }
    more = {"weights": {"frequency": 0.3}, "half_life_s": 1000.0} if policy == "decayed" else {}
    config = a_config({"flexible": {"size_mb": 1000}}, scoring={"policy": policy, **more})
    one = decide(trace, config, inventory, bulk=False)
    assert 0 < (one.outcomes > 0).mean() < 0.1
    same(decide(trace, config, inventory), one)


def test_hits_in_bulk_move_the_account():
    specs = {name: ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=1) for name in "ab"}
    allocator = Allocator(a_config({"flexible": {"size_mb": 100}}), specs, instant=True)
    allocator.request("a", 0.0, pin=False)
    allocator.request("b", 1.0, pin=False)
    model = allocator.models["a"]
    tell_hits(model, 5, 9.0)
    assert (model.uses, model.uses_total, model.last_used_s) == (5, 5, 9.0)
    tell_hits(model, 6, 10.0)
    assert (model.uses, model.uses_total, model.last_used_s) == (6, 6, 10.0)
    assert [m.name for m in model.zone.policy.ranked(11.0)] == ["b", "a"]
