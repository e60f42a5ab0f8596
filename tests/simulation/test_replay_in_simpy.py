"""A replay as a process in an environment is the fast one, to the last byte of journal and records."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.workloads import plain_cache, workload
from vramlab.config.faults import FaultPlan
from vramlab.config.loading import load_config, load_inventory
from vramlab.config.schema import ModelSpec
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.runs.frames import frames
from vramlab.runs.lockstep import lockstep
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.replaying import simulate
from vramlab.simulation.server import Server
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.files import read_trace
from vramlab.traces.trace import Trace

ROOT = Path(__file__).parents[2]


def spec(**values):
    """10 MB; 0.5 s to load, a quarter of a second to run: times that binary fractions hold exactly."""
    given = {"priority": "medium", "vram_size_mb": 10, "load_time_ms": 500, "inference_ms": 250}
    return ModelSpec(**given | values)


def text(journal):
    return "".join(journal.texts())


def both(trace, config, inventory, times=SpecTimes, faults=None, seed=0):
    """Journals and records of the fast way, and of a process in an environment."""
    fast, slow = Journal(), Journal()
    records = simulate(
        trace, config, inventory, times(config, inventory), fast, faults, np.random.default_rng(seed)
    )
    env = simpy.Environment(float(trace.times_s[0]))
    server = Server(
        env, config, inventory, times(config, inventory), slow, faults, np.random.default_rng(seed)
    )
    its_records = env.run(env.process(server.replay(trace)))
    return (fast, records), (slow, its_records)


def assert_equal(first, second):
    (fast, records), (slow, its) = first, second
    assert text(fast) == text(slow)
    mine, theirs = frames(records), frames(its)
    for name in mine:
        pd.testing.assert_frame_equal(mine[name].astype({"model": str}), theirs[name].astype({"model": str}))
    assert records.usage == its.usage
    assert records.lost == its.lost
    assert records.preloads == its.preloads
    assert records.faults == its.faults
    assert records.binding == its.binding


def shared(config, inventory):
    return SharedMachine(SpecTimes(config, inventory), 1)


EVERYTHING = (
    "optimization.monitor=true",
    "optimization.monitoring_interval=2",
    "optimization.unused_after_s=20",
    "optimization.predictor=ewma",
    "optimization.preload_interval=5",
    "optimization.preload_prediction_threshold=0.2",
    "caching.enable_result_caching=true",
    "fallback.cpu_fallback_enabled=true",
    "serving.gpu_streams=2",
)
FAULTS = FaultPlan.model_validate(
    {
        "load_failures": [{"probability": 0.1, "target": "any"}],
        "device_shrinks": [{"from_s": 100, "until_s": 150, "by_mb": 300}],
        "cpu_stalls": [{"from_s": 50, "until_s": 60}],
    }
)


@pytest.mark.parametrize("times", [SpecTimes, shared], ids=["alone", "shared"])
@pytest.mark.parametrize("order", ["arrival", "fifo", "affinity", "backlog"])
def test_a_replay_in_an_environment_is_the_fast_one(order, times):
    trace, inventory, capacity_mb = workload(requests=1500, rate_per_s=8.0, share=0.3)
    keys = np.random.default_rng(1).integers(0, 200, len(trace)).astype(str).astype(object)
    trace = Trace.from_frame(trace.frame.assign(input_key=keys), "keyed")
    config = plain_cache(capacity_mb, f"serving.order={order}", *EVERYTHING)
    first, second = both(trace, config, inventory, times, FAULTS)
    assert_equal(first, second)
    assert lockstep(list(second[0]), config, inventory).differences == []
    kinds = {Outcome(kind) for kind in np.unique(first[1].outcomes)}
    assert kinds >= {Outcome.HIT, Outcome.COLD_START, Outcome.CACHE_HIT, Outcome.FALLBACK}
    assert first[1].preloads
    assert first[1].faults["load_failures"]


def test_the_bundled_trace_as_well():
    trace = read_trace(ROOT / "traces" / "synthetic_tight.csv.gz").head(3000)
    config = load_config(ROOT / "config" / "scenarios" / "tight.yaml")
    inventory = load_inventory(ROOT / "config" / "model_config.yaml")
    assert_equal(*both(trace, config, inventory))


def test_requests_that_run_as_one_as_well():
    trace, inventory, capacity_mb = workload(requests=800, rate_per_s=40.0, share=0.6)
    joined = {"batch_size": 8, "splits": True}
    inventory = {name: spec.model_copy(update=joined) for name, spec in inventory.items()}
    first, second = both(trace, plain_cache(capacity_mb, "serving.batching=true"), inventory)
    assert_equal(first, second)
    runs = sum(line.event == "start" and line.what == "infer on gpu" for line in first[0])
    assert runs < 0.8 * len(trace)


TICKS = st.lists(st.tuples(st.integers(0, 24), st.sampled_from("abcd")), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    TICKS,
    st.sampled_from([0.0, 7.25, 1e6 + 0.1]),
    st.sampled_from([0.25, 0.1]),
    st.sampled_from(["arrival", "fifo", "backlog"]),
    st.booleans(),
    st.sampled_from([SpecTimes, shared]),
)
def test_whatever_comes_at_once(requests, start_s, tick_s, order, monitor, times):
    """Times on a grid, so that arrivals, ends, limits and looks of the monitor fall together."""
    rows = sorted((start_s + tick_s * tick, model) for tick, model in requests)
    trace = Trace.from_frame(pd.DataFrame(rows, columns=["time_s", "model"]), "ticks")
    quick = {"load_time_ms": 100, "inference_ms": 0}
    inventory = {"a": spec(), "b": spec(inference_ms=100), "c": spec(**quick), "d": spec(always_loaded=True)}
    config = plain_cache(
        30,
        f"serving.order={order}",
        "serving.load_timeout_ms=500",
        "serving.unload_time_ms=0",
        f"optimization.monitor={str(monitor).lower()}",
        "optimization.monitoring_interval=1",
        "optimization.unused_after_s=2",
        "optimization.optimization_threshold=0.5",
    )
    assert_equal(*both(trace, config, inventory, times))
