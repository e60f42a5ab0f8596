"""All of the engine at once, simulated: the rules hold all the way, and lock-step follows the journal."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vramlab.allocator.invariants import check
from vramlab.config.faults import FaultPlan
from vramlab.config.loading import load_config, load_inventory
from vramlab.engine.engine import Engine
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.runs.lockstep import lockstep
from vramlab.runs.recorder import Recorder
from vramlab.simulation.driver import SimulatedDriver
from vramlab.simulation.faults import Faults
from vramlab.simulation.replaying import play
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.files import read_trace
from vramlab.traces.trace import Trace

ROOT = Path(__file__).parents[2]
PRIORITIES = ("critical", "high", "medium", "low", None)

SETTINGS = {
    "three zones": [
        "serving.queue=affinity",
        "serving.gpu_streams=2",
        "serving.load_channels=2",
        "serving.cpu_workers=1",
        "admission=compete",
        "fallback.fallback_queue_size=1",
        "zones.flexible.max_models=4",
    ],
    "answers while loading": [
        "serving.on_miss=cpu_while_loading",
        "serving.queue=affinity",
        "admission=free_only",
        "fallback.fallback_queue_size=2",
        "caching.result_cache_size=50",
    ],
}
FAULTS = FaultPlan.model_validate(
    {
        "load_failures": [{"probability": 0.05, "target": "any"}, {"at_s": [50], "why": "out of memory"}],
        "device_shrinks": [{"from_s": 300, "until_s": 500, "by_mb": 300}],
        "slow_disk": [{"from_s": 600, "until_s": 640, "factor": 5}],
        "cpu_stalls": [{"from_s": 700, "until_s": 720}],
    }
)


def mixed():
    """The first 8,000 requests of the bundled trace; some have a priority that is not their model's."""
    trace = read_trace(ROOT / "traces" / "synthetic_tight.csv.gz").head(8000)
    drawn = np.random.default_rng(0).choice(len(PRIORITIES), len(trace), p=[0.02, 0.1, 0.1, 0.1, 0.68])
    frame = trace.frame.assign(priority=[PRIORITIES[choice] for choice in drawn])
    return Trace.from_frame(frame, trace.source)


class Checked(SimulatedDriver):
    """Checks the allocator's rules after every so many events."""

    checks = 0

    def resume(self, task, now_s, value):
        super().resume(task, now_s, value)
        self.checks += 1
        if self.checks % 7 == 0:
            check(self.engine.allocator)


@pytest.mark.parametrize("with_faults", [False, True], ids=["calm", "faults"])
@pytest.mark.parametrize("name", SETTINGS)
def test_everything_at_once(name, with_faults):
    trace = mixed()
    config = load_config(ROOT / "config" / "scenarios" / "tight.yaml", SETTINGS[name])
    inventory = load_inventory(ROOT / "config" / "model_config.yaml")
    journal, recorder = Journal(), Recorder(list(config.zones))
    recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
    engine = Engine(config, inventory, recorder, journal)
    faults = Faults(FAULTS, np.random.default_rng(1), engine) if with_faults else None
    driver = Checked(engine, SpecTimes(config, inventory), faults)
    play(trace, driver)
    check(engine.allocator)
    assert driver.checks > 5000

    records = recorder.records()
    kinds = {Outcome(kind) for kind in np.unique(records.outcomes)}
    assert kinds >= {Outcome.HIT, Outcome.FALLBACK, Outcome.REFUSED, Outcome.CACHE_HIT}
    if name == "three zones":
        assert Outcome.COLD_START in kinds
    assert records.evictions or name != "three zones"
    assert (records.finish_s >= records.arrival_s).all()  # everybody was answered or told no
    done = [line.task for line in journal if line.event == "done"]
    assert sorted(done) == list(range(len(trace)))  # once each
    assert len(records.lost) == np.isin(records.outcomes, (Outcome.REFUSED, Outcome.FAILED)).sum()

    # nothing is left under way: no pin, no claim, no slot that somebody forgot to give back
    assert all(model.pins == 0 for model in engine.allocator.models.values())
    assert not engine.allocator.claims
    serving = config.serving
    assert (engine.desk.gpu.free, engine.desk.channel.free, engine.desk.cpu.free) == (
        serving.gpu_streams, serving.load_channels, serving.cpu_workers
    )  # fmt: skip

    lines = list(journal)
    assert all(a.time_s <= b.time_s for a, b in pairwise(lines))
    report = lockstep(lines, config, inventory)
    assert report.differences == []
    assert report.decisions > 5000
    assert report.records.outcomes.tolist() == records.outcomes.tolist()
