"""What belongs to a scenario is found beside it."""

from vramlab.experiments.inputs import profile_beside
from vramlab.runs.samples import samples_path

SCENARIO = """
scenario: {title: t, models: models.yaml}
vram_management: {total_memory_mb: 400, zones: {flexible: {size_mb: 500}}}
"""


def test_the_profile_of_a_scenario_is_found_where_only_the_changes_make_it_whole(tmp_path):
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    (tmp_path / "models.yaml").write_text("models: {}")
    beside = samples_path(tmp_path / "models.yaml")
    beside.write_bytes(b"")
    changes = ["total_memory_mb=2000"]
    assert profile_beside(tmp_path / "scenario.yaml", None, changes) == beside
