"""`simulate` against a simulator written the usual way, one SimPy process per request, in one run."""

import numpy as np
import pytest

from tests.simulation.naive import NaiveSimulator
from tests.simulation.workloads import plain_cache, workload
from vramlab.config.units import mib_to_bytes
from vramlab.engine.journal import Journal
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace

REQUESTS = 200_000
EVERYTHING = ("optimization.monitor=true", "caching.enable_result_caching=true")


@pytest.fixture(scope="module")
def hits():
    """Hit-dominated: 200 models, Zipf 1.2, three quarters of the bytes fit."""
    return workload(requests=REQUESTS, count=200, share=0.75, rate_per_s=40.0, exponent=1.2, inference_ms=5.0)


@pytest.mark.benchmark(group="simulate")
def test_simulate(benchmark, hits):
    trace, inventory, capacity_mb = hits
    config = plain_cache(capacity_mb)
    benchmark.extra_info["requests"] = REQUESTS
    benchmark.pedantic(simulate, (trace, config, inventory), rounds=3)


@pytest.mark.benchmark(group="simulate")
def test_simulate_with_journal(benchmark, hits):
    trace, inventory, capacity_mb = hits
    config = plain_cache(capacity_mb)
    benchmark.extra_info["requests"] = REQUESTS
    benchmark.pedantic(lambda: simulate(trace, config, inventory, journal=Journal()), rounds=3)


@pytest.mark.benchmark(group="simulate")
def test_simulate_with_monitor_cache_and_journal(benchmark, hits):
    """Every request has an input key, of 20,000: few answers come from the result cache, and all go in."""
    trace, inventory, capacity_mb = hits
    keys = np.random.default_rng(1).integers(0, 20_000, REQUESTS).astype(str).astype(object)
    keyed = Trace.from_frame(trace.frame.assign(input_key=keys))
    config = plain_cache(capacity_mb, *EVERYTHING)
    benchmark.extra_info["requests"] = REQUESTS
    benchmark.pedantic(lambda: simulate(keyed, config, inventory, journal=Journal()), rounds=3)


@pytest.fixture(scope="module")
def overload():
    """Far more than can be served: nearly all requests wait, most for a load."""
    return workload(requests=20_000, count=200, share=0.25, rate_per_s=40.0, exponent=0.6, inference_ms=5.0)


@pytest.mark.benchmark(group="simulate, overloaded")
@pytest.mark.parametrize("order", ["arrival", "fifo", "affinity", "backlog"])
def test_simulate_overloaded(benchmark, overload, order):
    trace, inventory, capacity_mb = overload
    config = plain_cache(capacity_mb, f"serving.order={order}", "serving.release_timeout_ms=1000000000")
    benchmark.pedantic(simulate, (trace, config, inventory), rounds=3)


@pytest.mark.benchmark(group="simulate, overloaded")
def test_naive_overloaded(benchmark, overload):
    trace, inventory, capacity_mb = overload
    benchmark.pedantic(
        lambda: NaiveSimulator(trace, inventory, mib_to_bytes(capacity_mb), 1, 1, 0.001).run(), rounds=3
    )


@pytest.mark.benchmark(group="simulate")
def test_naive_one_process_per_request(benchmark, hits):
    trace, inventory, capacity_mb = hits
    benchmark.extra_info["requests"] = REQUESTS
    benchmark.pedantic(
        lambda: NaiveSimulator(trace, inventory, mib_to_bytes(capacity_mb), 1, 1, 0.001).run(), rounds=3
    )
