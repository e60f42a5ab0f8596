"""Decide mode is the simulator with no times in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.allocator.building import a_config
from vramlab.config.loading import with_overrides
from vramlab.config.schema import ModelSpec
from vramlab.experiments.case import resolve_settings
from vramlab.simulation.decide import decide
from vramlab.simulation.replaying import simulate
from vramlab.simulation.service_times import ServiceTimes
from vramlab.traces.files import read_trace
from vramlab.traces.trace import Trace

ROOT = Path(__file__).parents[2]


class NoTime(ServiceTimes):
    def load_s(self, model, target):
        return 0.0

    def unload_s(self, model):
        return 0.0

    def infer_s(self, model, target, items):
        return 0.0


@pytest.mark.parametrize("policy", ["lru", "lfu", "gdsf", "seed_fixed", "decayed"])
def test_equal_to_a_simulation_in_which_nothing_takes_time(policy):
    trace = read_trace(ROOT / "traces" / "forty_models.csv.gz").head(8000)
    config, inventory = resolve_settings(
        ROOT / "config" / "scenarios" / "forty_models.yaml", None, ["serving.unload_time_ms=0"]
    )
    config = with_overrides(config, [f"scoring.policy={policy}"])
    decided = decide(trace, config, inventory)
    simulated = simulate(trace, config, inventory, times=NoTime())
    assert decided.outcomes.tolist() == simulated.outcomes.tolist()
    assert [(e.time_s, e.model) for e in decided.evictions] == [
        (e.time_s, e.model) for e in simulated.evictions
    ]
    assert len(decided.evictions) > 200


def letters(**sizes_mb):
    return {
        name: ModelSpec(priority="medium", vram_size_mb=size, load_time_ms=10, cpu_fallback="none")
        for name, size in sizes_mb.items()
    }


def asked(names):
    frame = pd.DataFrame({"time_s": np.arange(float(len(names))), "model": list(names)})
    return Trace.from_frame(frame)


@pytest.mark.parametrize(
    ("placement", "leave"),
    [
        # A, B, C and D fill the pool; B and D are used again. E (2 MB) needs two places: by use A's and C's,
        # which lie apart. Spread over both that is enough; in one piece B must go too, and C can then stay.
        ("paged", ["A", "C"]),
        ("contiguous", ["A", "B"]),
    ],
)
def test_placement_counts(placement, leave):
    config = a_config({"flexible": {"size_mb": 4}}, placement=placement)
    records = decide(asked("ABCDBDE"), config, letters(A=1, B=1, C=1, D=1, E=2))
    assert [eviction.model for eviction in records.evictions] == leave


@pytest.mark.parametrize("policy", ["lru", "gdsf", "seed_fixed", "decayed", "s3_fifo"])
def test_contiguous_equal_to_a_simulation_in_which_nothing_takes_time(policy):
    trace = read_trace(ROOT / "traces" / "forty_models.csv.gz").head(4000)
    settings = ["serving.unload_time_ms=0", "placement=contiguous", "optimization.defragmentation=never"]
    config, inventory = resolve_settings(ROOT / "config" / "scenarios" / "forty_models.yaml", None, settings)
    config = with_overrides(config, [f"scoring.policy={policy}"])
    decided = decide(trace, config, inventory)
    simulated = simulate(trace, config, inventory, times=NoTime())
    assert decided.outcomes.tolist() == simulated.outcomes.tolist()
    assert [(e.time_s, e.model) for e in decided.evictions] == [
        (e.time_s, e.model) for e in simulated.evictions
    ]
    paged = decide(trace, with_overrides(config, ["placement=paged"]), inventory)
    assert paged.evictions != decided.evictions
