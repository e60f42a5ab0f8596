"""Defragmentation: what is carried out of a plan, step by step and on simulated time."""

import numpy as np
import pytest

from tests.engine.hand import HandDriver, spec
from tests.engine.hand import settings as one_zone
from vramlab.allocator.invariants import check
from vramlab.config.units import MIB
from vramlab.engine.effects import Failure, MemoryReading
from vramlab.engine.journal import Journal
from vramlab.runs.lockstep import lockstep
from vramlab.simulation.replaying import simulate
from vramlab.traces.synthetic import zipf_trace

MODELS = {"a": spec(30), "b": spec(20), "c": spec(20), "d": spec(20), "large": spec(25)}


def contiguous(*overrides):
    return one_zone(100, "placement=contiguous", "optimization.optimization_threshold=1", *overrides)


def broken_up(*overrides):
    """A contiguous zone of 100 MB: [ 30 free | b 20 | 20 free | d 20 | 10 free ]."""
    hand = HandDriver(contiguous("optimization.pressure_available_mb=0", *overrides), MODELS)
    hand.engine.journal = hand.journal = Journal()
    for name in "abcd":
        hand.serve_fully(name)
    for name in "ac":
        hand.engine.allocator.unload(name, 0.0)
        hand.engine.allocator.unloaded(name)
    assert hand.engine.allocator.placement.maps.fragmentation() == {"flexible": 0.5}
    return hand


def places(hand):
    placed = hand.engine.allocator.placement.maps["flexible"].placed
    return {name: placed[name][0].offset // MIB for name in sorted(placed)}


def reading(used_mb):
    return MemoryReading(100 * MIB, used_mb * MIB)


def test_a_story_of_its_own():
    hand = broken_up()
    hand.begin("defragment", 1.0)
    hand.end("defragment", 1.0, reading(40))
    # b to the end makes 50 MB at the start; d to the start the same at the end. Equal cost: b is first.
    assert hand.under_way == {"defragment": "unload b"}
    hand.end("defragment", 1.1)
    assert hand.under_way == {"defragment": "load on gpu b"}
    hand.end("defragment", 1.3)
    assert hand.under_way == {"defragment": "readmemory"}
    hand.end("defragment", 1.3, reading(41))
    assert hand.answers["defragment"] == (1.3, 1)
    check(hand.engine.allocator)
    assert hand.engine.allocator.placement.maps.fragmentation()["flexible"] < 0.3
    begun, done = (
        line for line in hand.journal if line.event == "action" and line.what.startswith("defragment")
    )
    assert begun.detail["models"] == ["b"]
    assert (begun.detail["fragmentation"], begun.detail["used_bytes"]) == (0.5, 40 * MIB)
    assert (done.detail["moved"], done.detail["used_bytes"]) == (1, 41 * MIB)
    assert [(load.model, load.reason) for load in hand.recorder.loads][-1] == ("b", "defragmentation")
    assert [(e.model, e.reason) for e in hand.recorder.evictions] == [("b", "defragmentation")]


def begin(hand):
    hand.begin("defragment", 1.0)
    hand.end("defragment", 1.0, reading(40))


def test_a_model_that_is_used_stays():
    hand = broken_up()
    hand.begin("defragment", 1.0)
    hand.ask(4, "b", 1.0)  # while the memory is read
    hand.end("defragment", 1.0, reading(40))
    assert hand.under_way["defragment"] == "readmemory"
    hand.end("defragment", 1.0, reading(40))
    assert hand.answers["defragment"] == (1.0, 0)
    assert places(hand) == {"b": 30, "d": 70}


def test_who_asks_for_a_model_on_its_way_gets_it():
    hand = broken_up()
    begin(hand)
    hand.ask(4, "b", 1.05)  # waits for the unloading, then loads it
    hand.end("defragment", 1.1)
    assert hand.under_way == {"defragment": "readmemory", 4: "load on gpu b"}
    hand.end("defragment", 1.1, reading(40))
    assert hand.answers["defragment"] == (1.1, 0)
    check(hand.engine.allocator)


def test_a_reload_that_fails_is_an_eviction():
    hand = broken_up()
    begin(hand)
    hand.end("defragment", 1.1)
    hand.fail("defragment", 1.2, Failure.CORRUPT)
    hand.end("defragment", 1.2, reading(20))
    assert hand.answers["defragment"] == (1.2, 0)
    check(hand.engine.allocator)
    assert places(hand) == {"d": 70}


def test_the_monitor_defragments_where_holes_matter():
    hand = broken_up()
    hand.begin("monitor", 1.0)
    hand.end("monitor", 6.0, reading(40))
    hand.end("monitor", 6.0, reading(40))
    assert hand.under_way == {"monitor": "unload b"}
    for setting in ("optimization.defragmentation=never", "optimization.defragmentation_threshold=0.6"):
        hand = broken_up(setting)
        hand.begin("monitor", 1.0)
        hand.end("monitor", 6.0, reading(40))
        assert hand.under_way == {"monitor": "readmemory"}


def test_nothing_by_itself_where_models_may_be_spread():
    for setting, expected in (("auto", "readmemory"), ("always", "readmemory")):
        hand = HandDriver(one_zone(100, f"optimization.defragmentation={setting}"), MODELS)
        hand.begin("monitor", 1.0)
        hand.end("monitor", 6.0, reading(0))
        assert hand.under_way == {"monitor": expected}


@pytest.mark.parametrize("placement", ["contiguous", "paged"])
def test_on_simulated_time_in_lock_step(placement):
    rng = np.random.default_rng(1)
    sizes = [17, 23, 31, 8, 40, 12, 27, 19, 35, 5]
    inventory = {f"m{i}": spec(size, load_time_ms=20 + size) for i, size in enumerate(sizes)}
    trace = zipf_trace(rng, models=list(inventory), requests=3000, rate_per_s=2.0, exponent=0.5)
    config = one_zone(
        100,
        f"placement={placement}",
        "optimization.defragmentation=always",
        "optimization.pressure_available_mb=0",
        "optimization.optimization_threshold=0.95",
    )
    journal = Journal()
    records = simulate(trace, config, inventory, journal=journal)
    actions = [line for line in journal if line.event == "action"]
    done = [line.detail for line in actions if line.what == "defragmented"]
    planned = [line.detail for line in actions if line.what == "defragment"]
    assert len(done) > 20
    assert np.mean([d["fragmentation"] for d in done]) < 0.3 <= min(p["fragmentation"] for p in planned)
    assert {"eviction", "defragmentation"} <= {eviction.reason for eviction in records.evictions}
    report = lockstep(list(journal), config, inventory)
    assert report.differences == []
    assert report.lines == len(journal)
