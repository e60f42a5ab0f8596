"""`simulate` against a simulator written the usual way, one SimPy process per request, in one run."""

import pytest

from tests.benchmarks.workloads import EVERYTHING, naive, simulated, simulated_config, with_input_keys
from vramlab.engine.journal import Journal
from vramlab.simulation.replaying import simulate

PART = 1
LOADS = ["hits", "channel", "overloaded"]


@pytest.mark.parametrize("order", ["arrival", "fifo", "affinity", "backlog"])
@pytest.mark.parametrize("name", LOADS)
def test_simulate(benchmark, name, order):
    trace, inventory, capacity_mb = simulated(name, PART)
    benchmark.group = f"simulate, {name}"
    benchmark.extra_info["requests"] = len(trace)
    benchmark.pedantic(simulate, (trace, simulated_config(capacity_mb, order), inventory), rounds=3)


@pytest.mark.parametrize("name", LOADS)
def test_naive_one_process_per_request(benchmark, name):
    benchmark.group = f"simulate, {name}"
    benchmark.pedantic(naive, simulated(name, PART), rounds=3)


@pytest.mark.benchmark(group="simulate, hits")
def test_simulate_with_journal(benchmark):
    trace, inventory, capacity_mb = simulated("hits", PART)
    config = simulated_config(capacity_mb)
    benchmark.pedantic(lambda: simulate(trace, config, inventory, journal=Journal()), rounds=3)


@pytest.mark.benchmark(group="simulate, hits")
def test_simulate_with_monitor_cache_and_journal(benchmark):
    trace, inventory, capacity_mb = simulated("hits", PART)
    keyed, config = with_input_keys(trace), simulated_config(capacity_mb, "backlog", *EVERYTHING)
    benchmark.pedantic(lambda: simulate(keyed, config, inventory, journal=Journal()), rounds=3)
