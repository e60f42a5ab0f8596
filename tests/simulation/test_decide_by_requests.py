"""Decide mode, where loads and evictions are one step each, against an allocator asked request by request."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.allocator.building import a_config
from vramlab.allocator import Allocator, Kind
from vramlab.allocator.policies import policy_names
from vramlab.config.schema import ModelSpec, Priority, VramConfig
from vramlab.engine.outcomes import Outcome
from vramlab.simulation.decide import decide
from vramlab.traces.trace import Trace

OUTCOMES = {
    Kind.HIT: Outcome.HIT,
    Kind.LOAD: Outcome.COLD_START,
    Kind.BYPASS: Outcome.COLD_START,
    Kind.CPU: Outcome.FALLBACK,
    Kind.REFUSE: Outcome.REFUSED,
}


def asked_one_by_one(trace, config, inventory):
    """Outcomes, models that were loaded and models that left, each with the time."""
    allocator = Allocator(config, inventory)
    outcomes, loaded, left = [], [], []
    for name in allocator.always_loaded():
        decision = allocator.reserve(name, trace.times_s[0])
        if decision is not None:
            allocator.settle(decision, trace.times_s[0])
            loaded.append((trace.times_s[0], name))
    priorities = [None] * len(trace) if trace.priorities is None else trace.priorities
    names = [trace.model_names[code] for code in trace.model_codes]
    for time_s, name, priority in zip(trace.times_s.tolist(), names, priorities, strict=True):
        decision = allocator.request(name, time_s, Priority(priority) if priority else None, pin=False)
        outcomes.append(OUTCOMES[decision.kind])
        if decision.kind in (Kind.LOAD, Kind.BYPASS):
            loaded.append((time_s, name))
        if decision.kind is Kind.LOAD:
            left += [(time_s, victim) for victim in decision.victims]
            allocator.settle(decision, time_s)
    return outcomes, loaded, left


def agree(trace, config, inventory):
    decided = decide(trace, config, inventory)
    outcomes, loaded, left = asked_one_by_one(trace, config, inventory)
    assert decided.outcomes.tolist() == outcomes
    assert [(load.start_s, load.model) for load in decided.loads] == loaded
    assert [(eviction.time_s, eviction.model) for eviction in decided.evictions] == left


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


@pytest.mark.parametrize("policy", policy_names())
@given(
    workload=workloads(),
    mb=st.integers(4, 40),
    shape=st.sampled_from(sorted(CONFIGS)),
    admission=st.sampled_from(["always", "free_only", "compete"]),
    victims=st.sampled_from(["auto", "in_order", "pruned"]),
)
def test_decide_is_one_request_after_the_other(policy, workload, mb, shape, admission, victims):
    trace, inventory = workload
    scoring = {"policy": policy, "victims": victims}
    agree(trace, CONFIGS[shape](mb, {"scoring": scoring, "admission": admission}), inventory)


@pytest.mark.filterwarnings("ignore:overflow")  # the less used, the dearer, and fading at once
@pytest.mark.parametrize("policy", ["seed", "seed_fixed", "decayed"])
@given(
    workload=workloads(),
    mb=st.integers(4, 40),
    half_life_s=st.sampled_from([0.01, 1.0, 60.0, 1e6]),
    frequency=st.sampled_from([-1.0, 0.0, 0.01, 0.3, 2.0]),
    recency=st.sampled_from([-1.0, 0.0, 0.7]),
    victims=st.sampled_from(["pruned", "exact"]),
)
def test_any_exponents_and_exact_sets(policy, workload, mb, half_life_s, frequency, recency, victims):
    trace, inventory = workload
    scoring = {"policy": policy, "victims": victims}
    scoring["policy_options"] = {"frequency": frequency, "recency": recency}
    if policy == "decayed":
        scoring["policy_options"]["half_life_s"] = half_life_s
    agree(trace, CONFIGS["one zone"](mb, {"scoring": scoring}), inventory)
