"""What is recorded to see how true the simulator is, and in which order."""

import shutil
from pathlib import Path

import pytest

from tests.experiments.made_runs import made_run
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.experiments.fidelity import (
    AS_IT_STANDS,
    Take,
    alternatives_in,
    copy_inputs,
    is_there,
    plan_of,
    rotated,
    takes_in,
    with_real_models,
)

FOLDER = Path(__file__).parents[2] / "results" / "fidelity"


def test_rounds_begin_with_another_setting_each():
    takes = rotated("w", ["recorded", "b", "c"], 3)
    assert [f"{one.setting}{one.number}" for one in takes] == [
        "recorded1", "b1", "c1",
        "b2", "c2", "recorded2",
        "recorded3",
    ]  # fmt: skip
    assert rotated("w", ["recorded", "b"], 1) == [Take("w", "recorded", 1), Take("w", "b", 1)]


@pytest.fixture(scope="module")
def plan():
    return plan_of(FOLDER, seconds=3)


def test_the_bundled_plan_has_what_was_promised(plan):
    full = plan_of(FOLDER)
    assert full.seconds / 60 < 39  # and three seconds each to open and close
    seen = {name: its for name, its in plan.cases.items() if len(its) > 1}
    assert len(seen) == 4
    assert len(plan.cases) == 6
    for its in seen.values():
        settings = {(c.config.scoring.policy, c.config.serving.order) for c in its.values()}
        assert len(settings) >= 3
        assert len({c.config.total_memory_mb for c in its.values()}) == 2
    unseen = sorted(plan.cases.keys() - seen.keys())
    takes = [one for one in plan.takes if one.workload in unseen]
    assert takes == [Take(name, AS_IT_STANDS, 1) for name in unseen]


def test_the_bundled_inputs_work_in_any_folder(tmp_path, plan):
    copy_inputs(FOLDER, tmp_path / "a")
    copied = plan_of(tmp_path / "a", seconds=3).cases["steady"][AS_IT_STANDS]
    own = plan.cases["steady"][AS_IT_STANDS]
    assert fingerprint(copied.config) == fingerprint(own.config)
    assert copied.inventory == own.inventory


def test_a_larger_card_has_larger_zones(plan):
    own, large = (plan.cases["steady"][name].config for name in (AS_IT_STANDS, "large"))
    for name, zone in own.zones.items():
        assert large.zones[name].size_mb / zone.size_mb == pytest.approx(306 / 276, rel=1e-3)


def test_real_models_are_files_below_their_folder(tmp_path):
    real = FOLDER / "real"
    plan = plan_of(real, seconds=3)
    inventory = plan.cases["real_models"][AS_IT_STANDS].inventory
    assert 12 <= len(inventory) <= 15
    with pytest.raises(InputError, match="make real-models"):
        with_real_models(plan, real, tmp_path)
    for spec in inventory.values():
        file = tmp_path / Path(spec.path).relative_to(real)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    for case in with_real_models(plan, real, tmp_path).cases["real_models"].values():
        assert all(Path(spec.path).is_relative_to(tmp_path) for spec in case.inventory.values())


def test_a_recording_counts_if_it_is_whole_and_of_the_same(plan, tmp_path):
    take = Take("steady", AS_IT_STANDS, 1)
    case = plan.cases["steady"][AS_IT_STANDS]
    assert not is_there(plan, take, tmp_path)
    made_run(case, tmp_path / take.folder)
    assert is_there(plan, take, tmp_path)
    assert not is_there(plan_of(FOLDER, seconds=4), take, tmp_path)  # other requests
    shutil.copytree(tmp_path / take.folder, tmp_path / "steady" / "lru-1")
    assert not is_there(plan, Take("steady", "lru", 1), tmp_path)  # other settings
    shutil.rmtree(tmp_path / take.folder)
    made_run(case, tmp_path / take.folder, ended=False)
    assert not is_there(plan, take, tmp_path)


def test_recordings_are_found_by_their_names(tmp_path):
    with pytest.raises(InputError, match="no recording"):
        takes_in(tmp_path)
    for name in ("w/recorded-1", "w/lru-2", "w/lru-10", "w/notes"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "environment.json").write_text("{}")
    (tmp_path / "w" / "recorded-2").mkdir()  # a recording that never began
    assert takes_in(tmp_path) == [Take("w", "lru", 2), Take("w", "lru", 10), Take("w", "recorded", 1)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alternatives: {}", "at least 1"),
        ("alternatives: {lru: {}}", "set, memory_mb or both"),
        ("alternatives: {recorded: {memory_mb: 9}}", "not recorded"),
        ("alternatives: {a/b: {memory_mb: 9}}", "letters, digits"),
        ("alternatives: {a: {memory: 9}}", "did you mean 'memory_mb'"),
        ("others: {}", "alternatives"),
    ],
)
def test_alternatives_that_are_none_are_one_error(tmp_path, text, expected):
    path = tmp_path / "alternatives.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"alternatives\.yaml") as error:
        alternatives_in(path)
    assert expected in str(error.value)


def test_a_plan_without_inputs_is_one_error(tmp_path):
    with pytest.raises(InputError, match="specs of workloads"):
        plan_of(tmp_path)
    with pytest.raises(InputError, match="--repeats"):
        plan_of(FOLDER, repeats=0)
