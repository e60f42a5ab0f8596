"""The monitor's rules, one by one, and on simulated time."""

import numpy as np
import pandas as pd
import pytest

from tests.engine.hand import HandDriver, spec
from vramlab.allocator import State
from vramlab.allocator.invariants import check
from vramlab.config.loading import load_config
from vramlab.config.units import MIB
from vramlab.engine.effects import Failure, MemoryReading, ReadMemory
from vramlab.engine.engine import Engine
from vramlab.engine.journal import Journal
from vramlab.runs.lockstep import lockstep
from vramlab.runs.recorder import Recorder
from vramlab.simulation.driver import SimulatedDriver
from vramlab.simulation.replaying import play
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.synthetic import zipf_trace
from vramlab.traces.trace import Trace

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


def filled(*overrides, now_s=400.0):
    """All four resident; only `fresh` was used in the last 300 s."""
    hand = HandDriver(settings(*overrides), MODELS)
    for name in MODELS:
        hand.serve_fully(name, now_s if name == "fresh" else 0.0)
    hand.begin("monitor", now_s)
    return hand


def read(hand, used_mb, now_s=405.0, total_mb=2000):
    """A reading; the same once more where the monitor looks twice."""
    hand.end("monitor", now_s, MemoryReading(total_mb * MIB, used_mb * MIB))
    if hand.tasks["monitor"].effect == ReadMemory(0.0):
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
    read(hand, 1990, now_s=6.0)
    assert hand.recorder.evictions == []
    assert hand.under_way["monitor"] == "readmemory"


class Shrinking(SimulatedDriver):
    """Others take 900 MB of the device after a hundred seconds and give them back after two hundred."""

    def read_memory(self, now_s):
        reading = super().read_memory(now_s)
        taken = 900 * MIB if 100 <= now_s < 200 else 0
        return reading._replace(used_bytes=reading.used_bytes + taken, steady=False)


def test_a_device_that_shrinks_and_recovers():
    rng = np.random.default_rng(0)
    inventory = {f"m{number}": spec(150, load_time_ms=50) for number in range(12)}
    trace = zipf_trace(rng, models=list(inventory), requests=3000, rate_per_s=10.0, exponent=0.6)
    config = settings("fallback.cpu_fallback_enabled=true")
    journal, recorder = Journal(), Recorder(["flexible"])
    recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
    engine = Engine(config, inventory, recorder, journal)
    play(trace, Shrinking(engine, SpecTimes(config, inventory)))
    usage = [(row.time_s, sum(row.held_bytes)) for row in recorder.records().usage]
    assert max(held for time_s, held in usage if time_s < 100) > 1200 * MIB
    assert max(held for time_s, held in usage if 110 < time_s < 200) <= 600 * MIB
    assert max(held for time_s, held in usage if time_s > 210) > 1200 * MIB
    assert "pressure" in {eviction.reason for eviction in recorder.evictions}
    report = lockstep(list(journal), config, inventory)
    assert report.differences == []
    assert any(line.event == "action" for line in journal)


# -- more of the rules -----------------------------------------------------------------------------------


def test_what_is_always_loaded_or_important_or_inside_its_retention_is_not_unused():
    models = {
        "kept": spec(100, always_loaded=True),
        "important": spec(300, priority="high"),
        "young": spec(400),
        "old": spec(50, priority="low"),
    }
    hand = HandDriver(settings("zones.flexible.min_retention_time=1000"), models)
    for name in ("kept", "important", "old"):
        hand.serve_fully(name, 0.0)
    hand.serve_fully("young", 500.0)
    hand.begin("monitor", 1000.0)
    read(hand, 1950, now_s=1005.0)
    assert hand.under_way["monitor"] == "unload old"  # young is unused, and inside its retention


def test_unused_means_longer_than_the_limit():
    hand = HandDriver(settings("zones.flexible.min_retention_time=0"), {"old": spec(100)})
    hand.serve_fully("old", 0.0)
    hand.begin("monitor", 290.0)
    read(hand, 1750, now_s=300.0)
    assert gone(hand) == []
    read(hand, 1750, now_s=305.0)
    assert gone(hand) == [("old", "unused")]


def test_pressure_takes_the_lowest_score_first_whatever_the_priority_of_the_zone():
    config = settings("scoring.policy=seed_fixed", "zones.flexible.eviction_policy=reluctant_lru")
    hand = HandDriver(config, {"high": spec(100, priority="high"), "low": spec(100, priority="low")})
    hand.serve_fully("low", 100.0)
    hand.serve_fully("high", 0.0)
    hand.begin("monitor", 100.0)
    read(hand, 1850, now_s=101.0)  # 150 MB available
    assert hand.under_way["monitor"] == "unload low"  # inside its retention, which does not protect now
    hand.end("monitor", 101.1)
    read(hand, 1990, now_s=106.0)
    assert hand.under_way["monitor"] == "unload high"


def test_bytes_that_are_leaving_already_count():
    hand = filled(now_s=200.0)
    hand.engine.allocator.unload("old-large", 204.0)  # 300 MB are on their way out
    read(hand, 1900, now_s=205.0)
    assert hand.under_way["monitor"] == "readmemory"
    assert hand.recorder.evictions == []


def test_nothing_new_is_admitted_beyond_what_the_device_has_left():
    hand = filled("serving.order=arrival", now_s=200.0)
    allocator = hand.engine.allocator
    hand.ask(4, "important", 201.0)  # in use, like the next two
    hand.ask(5, "old-large", 201.0)
    hand.ask(6, "fresh", 201.0)
    read(hand, 1050 + 900, now_s=205.0)  # 600 MB of budget left, and 750 held
    assert allocator.device.cap == 600 * MIB
    assert hand.under_way["monitor"] == "unload old-small"
    hand.end("monitor", 205.1)
    check(allocator)
    hand.ask(7, "old-small", 206.0)
    assert allocator.models["old-small"].state is State.ABSENT  # answered by the CPU
    read(hand, 650 + 300, now_s=210.0)
    assert allocator.device.cap == 1500 * MIB
    check(allocator)


def test_a_load_that_waits_for_bytes_that_are_gone_is_given_up():
    hand = HandDriver(settings("serving.release_timeout_ms=10000"), {"a": spec(1000), "b": spec(1200)})
    hand.serve_fully("a", 0.0)
    hand.begin("monitor", 100.0)
    hand.ask(1, "b", 101.0)  # a has to leave first
    read(hand, 1300 + 600, now_s=105.0)  # 900 MB of budget are left, for which b is too large
    check(hand.engine.allocator)
    hand.end(1, 106.0)  # a has left; the load of b cannot begin
    assert 1 not in hand.under_way
    read(hand, 300 + 600, now_s=110.0)
    read(hand, 300 + 600, now_s=114.0)
    assert 1 not in hand.under_way
    read(hand, 300 + 600, now_s=116.0)  # over the budget for more than 10 s
    assert hand.under_way[1] == "load on cpu b"
    check(hand.engine.allocator)
    assert hand.engine.allocator.device.committed == 0


def test_a_reading_that_fails_is_tried_again():
    hand = filled()
    hand.fail("monitor", 405.0, Failure.RAISED, "NVML is gone")
    assert hand.under_way["monitor"] == "readmemory"
    read(hand, 1750, now_s=410.0)
    assert hand.under_way["monitor"] == "unload old-large"


def test_looks_fall_on_a_grid():
    hand = filled(now_s=400.0)
    assert hand.tasks["monitor"].effect.after_s == 5.0
    read(hand, 1050, now_s=405.1)
    assert hand.tasks["monitor"].effect.after_s == pytest.approx(4.9)
    read(hand, 1050, now_s=421.0)  # late: looks that were missed are not made up for
    assert hand.tasks["monitor"].effect.after_s == pytest.approx(4.0)


def test_a_model_that_leaves_while_the_device_is_read_is_nobody_elses():
    hand = filled(now_s=200.0)
    hand.engine.allocator.unload("old-large", 204.0)
    hand.engine.allocator.unloaded("old-large")  # and the device was read just before
    hand.end("monitor", 205.0, MemoryReading(2000 * MIB, 1050 * MIB + 500 * MIB))
    assert hand.engine.allocator.device.cap == 1500 * MIB
    hand.end("monitor", 205.0, MemoryReading(2000 * MIB, 750 * MIB))
    assert hand.engine.allocator.device.cap == 1500 * MIB
    assert gone(hand) == []


# -- looks that are left out -----------------------------------------------------------------------------


class Unsteady(SimulatedDriver):
    """Says that others might change the memory, so that every look is made."""

    def read_memory(self, now_s):
        return super().read_memory(now_s)._replace(steady=False)


def run(driver_type, trace, config, inventory):
    journal, recorder = Journal(), Recorder(["flexible"])
    recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
    engine = Engine(config, inventory, recorder, journal)
    play(trace, driver_type(engine, SpecTimes(config, inventory)))
    return recorder.records(), list(journal)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overrides", [(), ("optimization.pressure_available_mb=600",)])
def test_leaving_looks_out_changes_nothing(seed, overrides):
    rng = np.random.default_rng(seed)
    inventory = {f"m{i}": spec(int(rng.integers(50, 250)), load_time_ms=300) for i in range(12)}
    trace = zipf_trace(rng, models=list(inventory), requests=400, rate_per_s=0.05, exponent=1.2)
    config = settings("optimization.optimization_threshold=0.5", *overrides)
    left_out, its_journal = run(SimulatedDriver, trace, config, inventory)
    all_made, long_journal = run(Unsteady, trace, config, inventory)
    assert [e[1:] for e in left_out.evictions] == [e[1:] for e in all_made.evictions]
    times_s = [[e.time_s for e in records.evictions] for records in (left_out, all_made)]
    np.testing.assert_allclose(*times_s, rtol=1e-12)
    np.testing.assert_array_equal(left_out.outcomes, all_made.outcomes)
    assert {"unused", "pressure"} & {e.reason for e in left_out.evictions}
    looks = [
        sum(line.what == "readmemory" and line.event == "end" for line in j)
        for j in (its_journal, long_journal)
    ]
    assert looks[0] < looks[1]
    for journal in (its_journal, long_journal):
        assert lockstep(journal, config, inventory).differences == []


def test_two_quiet_weeks_cost_nothing():
    inventory = {"a": spec(100)}
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 14 * 86400.0], "model": ["a", "a"]}), "quiet")
    _, journal = run(SimulatedDriver, trace, settings(), inventory)
    assert len(journal) < 40
    assert journal[-1].event == "done"


def test_a_run_ends_with_its_last_answer():
    inventory = {"a": spec(100)}
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 12.0], "model": ["a", "a"]}), "short")
    _, journal = run(Unsteady, trace, settings(), inventory)
    assert (journal[-1].event, journal[-1].task) == ("done", 1)
