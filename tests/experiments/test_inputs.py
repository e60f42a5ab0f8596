"""What belongs to a scenario is found beside it."""

import pandas as pd

from vramlab.experiments.case import resolve_case
from vramlab.runs.samples import samples_path
from vramlab.traces.trace import Trace

SCENARIO = """
scenario: {title: t, models: models.yaml}
vram_management: {total_memory_mb: 400, zones: {flexible: {size_mb: 500}}}
"""
MODELS = "models: {all: {a: {priority: medium, vram_size_mb: 10, load_time_ms: 1}}}"


def test_the_profile_of_a_scenario_is_found_where_only_the_changes_make_it_whole(tmp_path):
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    (tmp_path / "models.yaml").write_text(MODELS)
    beside = samples_path(tmp_path / "models.yaml")
    beside.write_bytes(b"")
    trace = Trace.from_frame(pd.DataFrame({"time_s": [0.0], "model": ["a"]}), "by hand")
    case = resolve_case(trace, tmp_path / "scenario.yaml", None, ["total_memory_mb=2000"])
    assert case.profile == beside
