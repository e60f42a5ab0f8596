"""Decide mode against libCacheSim's C core on the same requests, in one run.

``misses`` are those of 1,000,000 requests over 200 models of which a quarter of the bytes fits; ``wide`` the
same over 2,000 models; ``hits`` a trace with more than 95% hits.
"""

import numpy as np
import pytest

from tests.allocator.building import a_config
from tests.differential.test_libcachesim import Workload
from tests.simulation.workloads import models
from vramlab.allocator import Allocator, Kind
from vramlab.config.units import bytes_to_mib
from vramlab.simulation.decide import decide
from vramlab.traces.synthetic import zipf_trace

peer = pytest.importorskip("libcachesim", reason="the package libcachesim is not installed")

REQUESTS = 1_000_000
SHAPES = {"misses": (200, 0.9, 0.25), "wide": (2000, 0.9, 0.25), "hits": (200, 1.2, 0.8)}


@pytest.fixture(scope="module", params=SHAPES)
def workload(request, tmp_path_factory):
    count, exponent, share = SHAPES[request.param]
    rng = np.random.default_rng(0)
    inventory = models(rng, count)
    trace = zipf_trace(rng, models=list(inventory), requests=REQUESTS, rate_per_s=10.0, exponent=exponent)
    made = Workload(trace, inventory, tmp_path_factory.mktemp(request.param))
    made.name, made.capacity_mb = request.param, round(share * bytes_to_mib(made.bytes))
    return made


@pytest.mark.parametrize("policy", ["lru", "seed_fixed", "gdsf"])
def test_decide(benchmark, workload, policy):
    benchmark.group = workload.name
    config = a_config(
        {"flexible": {"size_mb": workload.capacity_mb}},
        scoring={"policy": policy},
        fallback={"cpu_fallback_enabled": False},
    )
    records = benchmark.pedantic(decide, (workload.trace, config, workload.inventory), rounds=2)
    benchmark.extra_info["misses"] = len(records.loads)


def test_libcachesim_lru(benchmark, workload):
    benchmark.group = workload.name
    misses = benchmark.pedantic(workload.their_misses, (peer.LRU, workload.capacity_mb), rounds=3)
    benchmark.extra_info["misses"] = int(misses)


@pytest.mark.benchmark(group="one decision on a hit")
@pytest.mark.parametrize("count", [10, 10_000])
def test_hit(benchmark, count):
    inventory = models(np.random.default_rng(0), count)
    total_mb = sum(spec.vram_size_mb for spec in inventory.values())
    config = a_config({"flexible": {"size_mb": total_mb}}, scoring={"policy": "seed_fixed"})
    allocator = Allocator(config, inventory)
    for name in inventory:
        allocator.settle(allocator.request(name, 0.0, pin=False), 0.0)
    times = iter(np.arange(1.0, 1e9))
    result = benchmark(lambda: allocator.request("m3", next(times), pin=False))
    assert result.kind is Kind.HIT


@pytest.mark.benchmark(group="one miss that evicts")
@pytest.mark.parametrize("policy", ["lru", "seed_fixed", "gdsf"])
@pytest.mark.parametrize("count", [10, 1000])
def test_miss(benchmark, count, policy):
    """`count` models of one size are resident, and one after the other is asked for that is not."""
    spec = next(iter(models(np.random.default_rng(0), 1).values()))
    inventory = {f"m{number}": spec for number in range(2 * count)}
    config = a_config(
        {"flexible": {"size_mb": count * spec.vram_size_mb}},
        scoring={"policy": policy},
        fallback={"cpu_fallback_enabled": False},
    )
    allocator = Allocator(config, inventory)
    now = 0.0

    def miss():
        nonlocal now
        now += 1.0
        name = f"m{int(now) % (2 * count)}"
        decision = allocator.request(name, now, pin=False)
        if decision.kind is Kind.LOAD:
            allocator.settle(decision, now)
        return decision

    for _ in range(2 * count):
        miss()
    benchmark(miss)
