"""Decide mode: requests per second beside libCacheSim's, and what a miss costs as residents grow in number.

``pytest tests/benchmarks/test_bench_decide.py --benchmark-enable``: compare the rows of one run, as absolute
times do not travel.
"""

from __future__ import annotations

import pytest

from tests.allocator.building import an_allocator
from tests.benchmarks.workloads import DECIDED, libcachesim_lru, to_decide
from vramlab.allocator import Kind
from vramlab.allocator.policies import policy_names
from vramlab.simulation.decide import decide

REQUESTS = 1_000_000


@pytest.mark.parametrize("policy", ["lru", "gdsf_hits", "seed_fixed", "decayed"])
@pytest.mark.parametrize("name", DECIDED)
def test_decide(benchmark, name, policy):
    benchmark.group = name
    records = benchmark.pedantic(decide, to_decide(name, REQUESTS, policy), rounds=2)
    benchmark.extra_info["misses"] = float((records.outcomes > 0).mean())


@pytest.mark.parametrize("name", DECIDED)
def test_libcachesim_lru(benchmark, name, tmp_path):
    pytest.importorskip("libcachesim", reason="the package libcachesim is not installed")
    process = libcachesim_lru(name, REQUESTS, tmp_path / "trace.csv")
    benchmark.group = name
    benchmark.extra_info["misses"] = benchmark.pedantic(process, rounds=2)[0]


@pytest.mark.parametrize("residents", [10, 1000])
@pytest.mark.parametrize("policy", policy_names())
def test_miss_that_evicts(benchmark, policy, residents):
    """The zone is full of equal models; every request is for one that is absent, and one leaves for it."""
    models = {f"m{i}": {"vram_size_mb": 1, "cpu_fallback": "none"} for i in range(2 * residents)}
    allocator = an_allocator({"flexible": {"size_mb": residents}}, models, scoring={"policy": policy})
    now_s = 0.0
    absent = list(models)
    for name in absent[:residents]:
        allocator.settle(allocator.request(name, now_s, pin=False), now_s)
    queue = absent[residents:]

    def miss():
        nonlocal now_s
        now_s += 1.0
        name = queue.pop(0)
        decision = allocator.request(name, now_s, pin=False)
        assert decision.kind is Kind.LOAD
        allocator.settle(decision, now_s)
        queue.extend(decision.victims)

    benchmark.group = policy
    benchmark.pedantic(miss, rounds=300, iterations=5, warmup_rounds=20)
