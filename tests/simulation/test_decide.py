"""Decide mode is the simulator with no times in it."""

from pathlib import Path

import pytest

from vramlab.config.loading import with_overrides
from vramlab.experiments.inputs import resolve_settings
from vramlab.simulation.decide import decide
from vramlab.simulation.driver import simulate
from vramlab.traces.files import read_trace

ROOT = Path(__file__).parents[2]


class NoTime:
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
