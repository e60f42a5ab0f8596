"""Studies of a live run's folder: settings, inventory and times are the run's where no others are given."""

import json
import shutil
from pathlib import Path

import pytest

import vramlab
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.config.loading import load_config, write_config
from vramlab.experiments.calibration import calibrated_case, calibration_of, said_of_times
from vramlab.experiments.case import resolve_case
from vramlab.experiments.preload_curve import preload_curve
from vramlab.experiments.sweep import cases_of
from vramlab.experiments.verification import verify
from vramlab.runs.run_folder import read_run
from vramlab.runs.samples import Sample, samples_frame
from vramlab.widgets.explorer import PolicyExplorer

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "traces" / "recorded_tight"


@pytest.fixture
def run(tmp_path):
    """A copy of the bundled recording, to be spoilt."""
    return Path(shutil.copytree(RECORDED, tmp_path / "run"))


def environment(run, **changes):
    path = run / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_preload_curve_has_the_runs_own_times():
    from_run = preload_curve(RECORDED, thresholds=[0.9])
    assert from_run.equals(preload_curve(RECORDED, thresholds=[0.9], service_times="recorded"))


def test_the_explorer_has_the_runs_own_times():
    assert PolicyExplorer(RECORDED).result.figures["service_times"] == "recorded"


def test_everything_is_the_runs():
    case, run = resolve_case(RECORDED), read_run(RECORDED)
    assert (case.service_times, case.trace.sha256) == ("recorded", run.trace.sha256)
    assert fingerprint(case.config) == fingerprint(run.config)
    assert fingerprint(case.inventory) == fingerprint(run.inventory)
    ours, theirs = case.measurements(), calibrated_case(run)[0].measurements()
    assert ours.equals(theirs)


def test_options_override():
    scenario = ROOT / "config" / "scenarios" / "plain.yaml"
    case = resolve_case(RECORDED, scenario, overrides=["scoring.policy=lfu"], service_times="spec")
    assert (case.config.scoring.policy, case.service_times) == ("lfu", "spec")
    assert fingerprint(case.config.zones) == fingerprint(resolve_case(case.trace, scenario).config.zones)
    assert case.times_key == ""
    models = ROOT / "config" / "model_config.yaml"
    assert resolve_case(RECORDED, models=models).models_source == str(models)


def test_its_profile_is_there_for_times_of_profiles():
    case = resolve_case(RECORDED, service_times="median")
    assert case.measurements().equals(read_run(RECORDED).profile)
    assert calibration_of(case) is None


def test_studies_say_what_is_wrong_with_the_recording(run):
    environment(run, ended=False)
    said = said_of_times(resolve_case(run))
    assert "the recording was cut off after" in said[1]
    assert calibration_of(resolve_case(run)).document()["warm_up_s"] > 0


def test_a_profile_beside_the_inventory_fills_in(run):
    """One that was made afterwards, for a model that the recording has not seen on the CPU."""
    own = read_run(RECORDED)
    name = own.trace.model_names[0]
    extra = samples_frame([Sample(name, "cpu", "infer", 7, 1.5)], {})
    case = resolve_case(run, profile=extra)
    rows = case.measurements()
    assert len(rows[(rows["items"] == 7) & (rows.seconds == 1.5)]) == 1
    assert calibration_of(case).samples > 1000  # and the run's own are there


def test_recorded_times_are_those_of_a_run():
    with pytest.raises(InputError, match="expected the folder of a run"):
        resolve_case(ROOT / "traces" / "forty_models.csv.gz", service_times="recorded")


def test_a_journal_that_is_not_followed_has_no_figures_that_look_like_an_answer(run):
    """As under settings of another server: decisions differ, the exit status says so, nothing crashes."""
    text = (run / "config.yaml").read_text()
    config = load_config(run / "config.yaml", ["scoring.policy=lfu", "admission=free_only"])
    assert "lfu" not in text
    write_config(config, run / "config.yaml")
    found = verify(run)
    assert found.lockstep.differences
    assert found.split.problem.startswith("the journal is followed up to line")
    assert found.simulated["hit_rate"] is None
    assert found.document()["lockstep"]["differences"]


def test_decide_mode_has_no_times():
    assert resolve_case(RECORDED, mode="decide").service_times == "spec"


def test_a_sweep_knows_other_times_apart():
    (recorded,), (spec,) = (
        cases_of(one, None, None, [], "simulate") for one in (RECORDED, read_run(RECORDED).trace)
    )
    assert recorded.times_key.startswith("recorded ")
    assert spec.times_key == ""


def test_compare_takes_a_run():
    found = vramlab.compare(RECORDED, policies=["lru", "seed_fixed"])
    assert {row["service_times"] for row in found.rows} == {"recorded"}


def test_a_run_of_another_version_says_so(run):
    environment(run, vramlab="0.0.9")
    caveats = calibrated_case(read_run(run))[1].caveats
    assert caveats == [
        f"recorded with version 0.0.9, simulated with {vramlab.__version__}: rules may have changed"
    ]


def test_a_run_that_was_cut_off_says_so(run):
    environment(run, ended=False)
    (caveat,) = calibrated_case(read_run(run))[1].caveats
    assert caveat.startswith("the recording was cut off after 5")


def test_a_run_without_a_journal_is_one_error(run):
    (run / "journal.jsonl.gz").unlink()
    for study in (vramlab.verify, vramlab.compare, resolve_case):
        with pytest.raises(
            InputError, match=r"found no journal\.jsonl, expected a folder that `vramlab record`"
        ):
            study(run)
