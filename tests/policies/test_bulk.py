"""Runs of hits applied in bulk, against one request after the other: equal to the last bit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.allocator.building import a_config
from vramlab.allocator.policies import make_policy, policy_names
from vramlab.config.schema import ModelSpec, ScoringConfig, VramConfig
from vramlab.simulation import decide as decide_module
from vramlab.simulation.decide import decide
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
    apart = {"decayed", "lru_k", "lhd", "s3_fifo"}
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


@pytest.mark.parametrize("policy", MERGING)
@given(
    workload=workloads(),
    mb=st.integers(4, 40),
    shape=st.sampled_from(sorted(CONFIGS)),
    admission=st.sampled_from(["always", "free_only", "compete"]),
)
def test_bulk_is_one_by_one(policy, workload, mb, shape, admission):
    trace, inventory = workload
    config = CONFIGS[shape](mb, {"scoring": {"policy": policy}, "admission": admission})
    same(decide(trace, config, inventory), decide(trace, config, inventory, bulk=False))


@pytest.mark.parametrize("policy", MERGING)
def test_long_runs_over_several_chunks(policy, monkeypatch):
    monkeypatch.setattr(decide_module, "_CHUNK", 3000)
    rng = np.random.default_rng(7)
    codes = rng.zipf(1.3, size=20_000) % 300
    times = np.cumsum(rng.exponential(1.0, size=20_000))
    trace = Trace.from_frame(pd.DataFrame({"time_s": times, "model": [f"m{code}" for code in codes]}))
    inventory = {
        f"m{i}": ModelSpec(priority="medium", vram_size_mb=int(rng.integers(1, 9)), load_time_ms=10)
        for i in range(300)
    }
    config = a_config({"flexible": {"size_mb": 1000}}, scoring={"policy": policy})
    one = decide(trace, config, inventory, bulk=False)
    assert 0 < (one.outcomes > 0).mean() < 0.1
    same(decide(trace, config, inventory), one)
