"""The monitor's rules, one by one, and on simulated time."""

import numpy as np
import pytest

from tests.engine.hand import HandDriver, spec
from vramlab.config.loading import load_config
from vramlab.config.units import MIB
from vramlab.engine.effects import MemoryReading
from vramlab.engine.journal import Journal
from vramlab.engine.lockstep import lockstep
from vramlab.engine.records import Recorder
from vramlab.engine.serving import Engine
from vramlab.simulation.driver import SimulatedDriver
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.synthetic import zipf_trace

MODELS = {
    "old-small": spec(100),
    "old-large": spec(300),
    "fresh": spec(200),
    "important": spec(150, priority="high"),
}


def settings(*overrides):
    """2,000 MB, of which 200 are the context's, 100 the framework's and 200 the buffer."""
    zone = "{size_mb: 1500, max_models: null, min_retention_time: 60, eviction_policy: aggressive_lru}"
    return load_config(
        None,
        [
            "total_memory_mb=2000",
            "overhead={cuda_context_mb: 200, framework_mb: 100, buffer_mb: 200}",
            f"zones={{flexible: {zone}}}",
            "scoring.policy=lru",
            "caching.enable_result_caching=false",
            *overrides,
        ],
    )


def filled(now_s=400.0, **overrides):
    """All four resident; only `fresh` was used in the last 300 s."""
    hand = HandDriver(settings(), MODELS)
    for name in MODELS:
        hand.serve_fully(name, now_s if name == "fresh" else 0.0)
    hand.begin("monitor", now_s)
    return hand


def read(hand, used_mb, now_s=405.0, total_mb=2000):
    hand.end("monitor", now_s, MemoryReading(total_mb * MIB, used_mb * MIB))


def gone(hand):
    while "monitor" in hand.under_way and hand.under_way["monitor"].startswith("unload"):
        hand.end("monitor", 406.0)
    return [(eviction.model, eviction.reason) for eviction in hand.recorder.evictions]


def test_nothing_happens_below_the_threshold():
    hand = filled()
    read(hand, 1050)
    assert hand.under_way["monitor"] == "readmemory"
    assert gone(hand) == []


def test_unused_models_of_low_or_medium_priority_leave_the_largest_first():
    hand = filled()
    read(hand, 1750)  # 0.875 of 2,000 MB: without the largest of them it is 0.725
    assert gone(hand) == [("old-large", "unused")]
    read(hand, 1450)
    read(hand, 1750, now_s=411.0)
    assert gone(hand) == [("old-large", "unused"), ("old-small", "unused")]


def test_pressure_evicts_by_score_until_200_mb_are_available():
    hand = filled(now_s=200.0)  # nobody is unused for 300 s yet
    read(hand, 1900, now_s=205.0)  # 100 MB are available
    assert gone(hand) == [("old-small", "pressure")]


def test_what_others_took_is_not_ours_any_more():
    hand = filled(now_s=200.0)
    assert hand.engine.allocator.device.cap == 1500 * MIB
    read(hand, 1050 + 700, now_s=205.0)  # 750 of ours, 300 of context and framework, 700 of others
    assert hand.engine.allocator.device.cap == 800 * MIB
    assert gone(hand) == []
    read(hand, 1050, now_s=210.0)
    assert hand.engine.allocator.device.cap == 1500 * MIB


def test_models_in_use_and_critical_models_stay():
    hand = HandDriver(settings(), {"critical": spec(100, priority="critical"), "busy": spec(100)})
    hand.serve_fully("critical")
    hand.ask(1, "busy", 0.0)
    hand.end(1, 0.1)
    hand.begin("monitor", 1.0)
    hand.end("monitor", 6.0, MemoryReading(2000 * MIB, 1990 * MIB))
    assert hand.recorder.evictions == []
    assert hand.under_way["monitor"] == "readmemory"


class Shrinking(SimulatedDriver):
    """Others take 900 MB of the device after a hundred seconds and give them back after two hundred."""

    def _memory(self):
        self.steady_memory = False
        self.taken_by_others = 900 * MIB if 100 <= self.env.now < 200 else 0
        return super()._memory()


@pytest.mark.parametrize("journalled", [True])
def test_a_device_that_shrinks_and_recovers(journalled):
    rng = np.random.default_rng(0)
    inventory = {f"m{number}": spec(150, load_time_ms=50) for number in range(12)}
    trace = zipf_trace(rng, models=list(inventory), requests=3000, rate_per_s=10.0, exponent=0.6)
    config = settings("fallback.cpu_fallback_enabled=true")
    journal, recorder = Journal(), Recorder(["flexible"])
    recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
    engine = Engine(config, inventory, recorder, journal)
    Shrinking(engine, SpecTimes(config, inventory), journal).run(trace)
    usage = [(row.time_s, sum(row.held_bytes)) for row in recorder.records().usage]
    assert max(held for time_s, held in usage if time_s < 100) > 1200 * MIB
    assert max(held for time_s, held in usage if 110 < time_s < 200) <= 600 * MIB
    assert max(held for time_s, held in usage if time_s > 210) > 1200 * MIB
    assert "pressure" in {eviction.reason for eviction in recorder.evictions}
    report = lockstep(list(journal), config, inventory)
    assert report.differences == []
    assert any(line.event == "action" for line in journal)
