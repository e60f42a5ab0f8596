"""Memory pressure may send away several models that requests wait for: these are served all the same."""

import numpy as np
import pandas as pd
import pytest

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.engine.outcomes import Outcome
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace


@pytest.mark.parametrize("order", ["fifo", "affinity", "backlog", "arrival"])
def test_models_sent_away_together_are_loaded_anew_for_those_who_wait(order):
    # Unloads take their time: while the first victim leaves, runs end, and the next request is picked.
    rng = np.random.default_rng(0)
    names = [f"m{number}" for number in range(8)]
    spec = ModelSpec(
        priority="medium", vram_size_mb=20, load_time_ms=30, inference_ms=40, cpu_fallback="none"
    )
    config = load_config(
        None,
        [
            "total_memory_mb=100",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            "zones={flexible: {size_mb: 100, max_models: null, min_retention_time: 0}}",
            "optimization.pressure_available_mb=70",
            "optimization.monitoring_interval=1",
            "serving.unload_time_ms=300",
            "serving.release_timeout_ms=1000000",
            f"serving.order={order}",
        ],
    )
    frame = pd.DataFrame({"time_s": np.sort(rng.uniform(0, 20, 400)), "model": rng.choice(names, 400)})
    records = simulate(Trace.from_frame(frame, "busy"), config, dict.fromkeys(names, spec))
    assert any(eviction.reason == "pressure" for eviction in records.evictions)
    assert np.isfinite(records.latency_s).all()


def test_the_run_goes_on_while_a_request_waits_for_what_the_monitor_unloads():
    """At 1.0 s all else has ended, and the monitor is unloading the model that the last request waits for."""
    spec = ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=500, inference_ms=250)
    inventory = {
        "a": spec,
        "c": spec.model_copy(update={"load_time_ms": 100, "inference_ms": 0}),
        "always": spec.model_copy(update={"always_loaded": True}),
    }
    config = load_config(
        None,
        [
            "total_memory_mb=30",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            "zones={flexible: {size_mb: 30, max_models: null, min_retention_time: 0}}",
            "fallback.cpu_fallback_enabled=false",
            "optimization.monitoring_interval=1",
            "serving.order=fifo",
            "serving.unload_time_ms=0",
        ],
    )
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 0.0, 0.0], "model": ["a", "a", "c"]}), "three")
    records = simulate(trace, config, inventory)
    assert records.finish_s.tolist() == [0.75, 1.0, 1.1]  # the last one's model had to be loaded anew
    assert [outcome.name for outcome in map(Outcome, records.outcomes)] == [
        "COLD_START",
        "WAIT",
        "COLD_START",
    ]
