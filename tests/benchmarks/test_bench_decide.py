"""Decide mode: requests per second beside libCacheSim's, and what a miss costs as residents grow in number.

``pytest tests/benchmarks/test_bench_decide.py --benchmark-enable``: compare the rows of one run, as absolute
times do not travel.
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

from tests.allocator.building import a_config, an_allocator
from vramlab.allocator import Kind
from vramlab.allocator.policies import policy_names
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.simulation.decide import decide
from vramlab.traces.trace import Trace

REQUESTS = 1_000_000
# models, part of the bytes that fits: a quarter to two fifths of the requests miss, 1% to 3%, and under 1%
WORKLOADS = {
    "200, a quarter": (200, 0.25),
    "2000, nine tenths": (2000, 0.9),
    "2000, 97 in 100": (2000, 0.97),
    "200, 97 in 100": (200, 0.97),
}


@functools.cache
def workload(name):
    """Codes by Zipf 0.9, sizes in MB, and the capacity in MB."""
    models, part = WORKLOADS[name]
    rng = np.random.default_rng(0)
    weights = np.arange(1, models + 1) ** -0.9
    codes = rng.choice(models, size=REQUESTS, p=weights / weights.sum())
    sizes = rng.integers(10, 1000, size=models)
    return codes, sizes, int(sizes.sum() * part)


@pytest.mark.parametrize("policy", ["lru", "gdsf_hits", "seed_fixed", "decayed"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_decide(benchmark, name, policy):
    codes, sizes, capacity_mb = workload(name)
    names = np.array([f"m{i}" for i in range(len(sizes))], dtype=object)
    trace = Trace.from_frame(
        pd.DataFrame({"time_s": np.arange(REQUESTS, dtype=float), "model": pd.Series(names[codes])})
    )
    inventory = {
        name: ModelSpec(
            priority="medium", vram_size_mb=int(size), load_time_ms=3.4 * int(size), cpu_fallback="none"
        )
        for name, size in zip(names, sizes, strict=True)
    }
    config = a_config({"flexible": {"size_mb": capacity_mb}}, scoring={"policy": policy})
    benchmark.group = name
    records = benchmark.pedantic(decide, (trace, config, inventory), rounds=2)
    benchmark.extra_info["misses"] = float((records.outcomes > 0).mean())


@pytest.mark.parametrize("name", WORKLOADS)
def test_libcachesim_lru(benchmark, name, tmp_path):
    peer = pytest.importorskip("libcachesim", reason="the package libcachesim is not installed")
    codes, sizes, capacity_mb = workload(name)
    path = tmp_path / "trace.csv"
    table = pd.DataFrame({"time": np.arange(REQUESTS), "id": codes + 1, "size": sizes[codes] * MIB})
    table.to_csv(path, index=False)
    options = peer.ReaderInitParam(
        has_header=True, has_header_set=True, delimiter=",", obj_id_is_num=True, obj_id_is_num_set=True
    )
    options.time_field, options.obj_id_field, options.obj_size_field = 1, 2, 3

    def process():
        reader = peer.TraceReader(
            trace=str(path), trace_type=peer.TraceType.CSV_TRACE, reader_init_params=options
        )
        return peer.LRU(capacity_mb * MIB).process_trace(reader)

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
