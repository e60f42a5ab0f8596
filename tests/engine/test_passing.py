"""How long somebody was passed over, read off journals: by hand, and beside the check of the tests."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.fairness import passed_over
from tests.engine.hand import settings, spec
from tests.engine.steered import SteeredDriver
from tests.simulation.workloads import plain_cache, workload
from vramlab.engine.journal import Journal
from vramlab.runs.passing import longest_passed_over
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace

MODELS = {"short": spec(30, inference_ms=1000), "long": spec(30, inference_ms=100_000)}


def a_driver(*overrides):
    driver = SteeredDriver(settings(130, *overrides), MODELS)
    for name in MODELS:
        driver.serve_fully(name, 0.0)
    return driver


def longest(driver):
    return longest_passed_over(driver.journal, driver.engine.config, MODELS)


def test_by_hand():
    """Short runs have their turns before a long one that came first, until that is due."""
    driver = a_driver("serving.max_wait_s=20")
    running = driver.ask("short", 10.0)
    long = driver.ask("long", 11.0)
    numbers = [driver.ask("short", 12.0) for _ in range(3)]
    assert longest(driver) == 0
    driver.end(running, 15.0)  # a short one begins
    driver.end(numbers[0], 17.5)  # and another
    assert longest(driver) == 6.5
    driver.end(numbers[1], 31.0)  # by now the long one is due
    assert list(driver.under_way) == [long]
    driver.end(long, 200.0)
    driver.end(numbers[2], 201.0)
    assert longest(driver) == 6.5


def test_one_of_high_priority_counts_as_if_it_had_come_as_much_earlier():
    driver = a_driver("serving.max_wait_s=100")
    running = driver.ask("short", 10.0)
    driver.ask("long", 11.0, priority="high")  # due at 61, its turn at 561
    driver.ask("short", 12.0)  # due at 112, its turn at 117
    driver.end(running, 15.0)
    assert longest(driver) == 100 - (61 - 15)


def test_where_there_is_no_bound():
    trace, inventory, capacity_mb = workload(1, requests=20)
    for override in ("serving.order=arrival", "serving.on_miss=cpu_while_loading"):
        config, journal = plain_cache(capacity_mb, override), Journal()
        simulate(trace, config, inventory, journal=journal)
        assert longest_passed_over(journal, config, inventory) is None


@given(
    seed=st.integers(0, 1000),
    order=st.sampled_from(["fifo", "affinity", "backlog", "tests.engine.orders:latest"]),
    streams=st.integers(1, 3),
    max_wait_s=st.sampled_from([1, 5, 300]),
    batching=st.booleans(),
)
def test_no_order_passes_anybody_over_for_longer_than_the_bound(seed, order, streams, max_wait_s, batching):
    trace, inventory, capacity_mb = workload(
        seed, requests=300, count=12, rate_per_s=25.0, share=0.4, inference_ms=60
    )
    joins = {"splits": True, "batch_size": 4}
    inventory = {name: model.model_copy(update=joins) for name, model in inventory.items()}
    priorities = np.random.default_rng(seed).choice(
        [None, "high", "critical"], len(trace), p=[0.8, 0.15, 0.05]
    )
    trace = Trace.from_frame(trace.frame.assign(priority=priorities), trace.source)
    config = plain_cache(
        capacity_mb,
        f"serving.order={order}",
        f"serving.gpu_streams={streams}",
        f"serving.max_wait_s={max_wait_s}",
        f"serving.batching={str(batching).lower()}",
    )
    journal = Journal()
    simulate(trace, config, inventory, journal=journal)
    assert longest_passed_over(journal, config, inventory) <= max_wait_s + 1e-9


@pytest.mark.parametrize("max_wait_s", [1, 300])
def test_it_sees_what_the_check_of_the_tests_sees(max_wait_s):
    """Served on arrival and read as if there was a bound: both find who was passed over for longer."""
    trace, inventory, capacity_mb = workload(5, requests=1500, rate_per_s=25, exponent=1.2, share=0.25)
    overrides = "serving.gpu_streams=3", f"serving.max_wait_s={max_wait_s}"
    more = "serving.order=arrival", "serving.release_timeout_ms=10000000"
    journal, config = Journal(), plain_cache(capacity_mb, *overrides)
    simulate(trace, plain_cache(capacity_mb, *overrides, *more), inventory, journal=journal)
    longest_s = longest_passed_over(journal, config, inventory)
    assert (longest_s > max_wait_s) == bool(passed_over(journal, config, inventory)) == (max_wait_s == 1)


def test_a_failed_load_and_a_cancelled_request_pass_nobody():
    frame = pd.DataFrame({"time_s": [0.0, 0.1, 0.2], "model": ["long", "long", "short"]})
    config = settings(130, "serving.load_timeout_ms=1", "optimization.monitor=false")
    journal = Journal()
    simulate(Trace.from_frame(frame), config, MODELS, journal=journal)
    assert any(line.event == "fail" for line in journal)
    assert longest_passed_over(journal, config, MODELS) == 0
