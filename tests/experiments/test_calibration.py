"""A run calibrates itself: its own times, and from when on it was warm."""

from pathlib import Path

import pandas as pd
import pytest

from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.engine.effects import Target
from vramlab.engine.journal import Line
from vramlab.experiments.calibration import calibrated_case
from vramlab.experiments.replay import run as simulate
from vramlab.experiments.split import Split, warm_up
from vramlab.runs.journal_reading import JournalLines
from vramlab.runs.run_folder import RunFolder, journal_trace, read_run
from vramlab.runs.samples import Sample, samples_frame

RECORDED = Path(__file__).parents[2] / "traces" / "recorded_tight"


def run_of(rows, inventory=None, profile=None):
    lines = JournalLines()
    lines.extend(rows)
    lines.whole = len(lines)
    spec = ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=1, inference_ms=1)
    environment = {"cpu_count": 2, "device_cores": 1}
    return RunFolder(
        Path("run"), VramConfig(), inventory or dict.fromkeys("ab", spec), lines, journal_trace(lines),
        environment, profile,
    )  # fmt: skip


def effect(task, model, what, begin_s, end_s):
    return [Line(begin_s, "start", task, model, what), Line(end_s, "end", task, model, what)]


ONE = [
    Line(0.5, "arrival", 0, "a"),
    *effect(0, "a", "load on gpu", 0.5, 2.5),
    *effect(0, "a", "infer on gpu", 2.5, 3.5),
    Line(3.5, "done", 0, what="COLD_START"),
    Line(9.0, "arrival", 1, "a"),
    *effect(1, "a", "infer on gpu", 9.0, 9.25),
    Line(9.25, "done", 1, what="HIT"),
]


def test_a_run_is_simulated_with_the_times_that_it_has_seen():
    case, found = calibrated_case(run_of(ONE))
    assert case.service_times == "recorded"
    assert found.samples == 3
    records = simulate(case).records
    # Two runs were seen, of 1 s and 0.25 s; the first has to be the first load's, which was seen once.
    assert records.loads[0].end_s - records.loads[0].start_s == 2.0
    assert set(records.latency_s) <= {3.0, 2.25, 0.25, 1.0}


def test_a_window_is_simulated_with_times_of_the_other_half():
    # Windows of 1 s from 0.5 on, in the order 0110 1001: runs at 2.5 and 9.0 are of half 1, one at 9.75 of 0.
    rows = [*ONE, Line(9.75, "arrival", 2, "a"), *effect(2, "a", "infer on gpu", 9.75, 9.875)]
    case, found = calibrated_case(run_of(rows), split=Split(0.0, "", 3, 1.0))
    assert (found.samples, found.window_s) == (4, 1.0)
    # The load, in half 0, was seen there alone, and is named so. Runs have what the other half has seen.
    assert found.times.source("load", "a", Target.GPU).origin == "judged"
    latency_s = simulate(case).records.latency_s
    assert latency_s[:2].tolist() == [2.0 + 0.125, 0.125]
    assert latency_s[2] in (1.0, 0.25)


def test_where_times_come_from():
    profile = samples_frame([Sample("b", "cpu", "infer", 1, 0.3)], {"cpu_count": 64})
    case, found = calibrated_case(run_of([*ONE, Line(9.5, "arrival", 2, "b")], profile=profile))
    rows = found.frame().set_index(["model", "target", "what"])[["origin", "samples"]]
    assert rows.loc["a", "gpu", "run"].tolist() == ["run", 2]
    assert rows.loc["a", "gpu", "load"].tolist() == ["run", 1]
    assert rows.loc["b", "cpu", "run"].tolist() == ["profile", 1]
    assert rows.loc["b", "gpu", "run"].tolist() == ["unknown", 0]
    attrs = case.measurements().attrs
    assert (attrs["cpu_count"], attrs["device_cores"]) == (2, 1)  # the run's machine


def test_a_model_that_the_recording_never_loaded_is_one_error():
    case, _ = calibrated_case(run_of([*ONE, Line(9.5, "arrival", 2, "b")]))
    with pytest.raises(InputError, match=r"^b: found no load on the GPU"):
        simulate(case)


def test_a_journal_in_which_nothing_ran_is_one_error():
    with pytest.raises(InputError, match="a journal in which nothing ran"):
        calibrated_case(run_of(ONE[:1]))


def test_warm_when_sessions_first_held_nearly_the_most():
    # 10 MB each. From the first request, at 0.5: two on the GPU and one on the CPU at 4; one goes, one comes.
    rows = [
        Line(0.5, "arrival", 0, "a"),
        *effect(0, "a", "load on gpu", 0.5, 1.0),
        *effect(0, "b", "load on gpu", 1.0, 2.0),
        *effect(0, "b", "load on cpu", 2.0, 4.5),
        *effect(0, "a", "unload", 5.0, 5.5),
        *effect(0, "a", "load on gpu", 6.0, 7.0),
        Line(10.0, "done", 0, what="COLD_START"),
    ]
    warm_up_s, rule = warm_up(run_of(rows))
    assert warm_up_s == 4.0
    assert rule == "warm from 4.0 s on, when sessions first held 95% of the most that they ever did (30 MB)"


def test_a_model_that_is_asked_for_late_is_no_warm_up():
    rows = [
        Line(0.0, "arrival", 0, "a"),
        *effect(0, "a", "load on gpu", 0.0, 1.0),
        *effect(0, "b", "load on gpu", 1.0, 2.0),
        *effect(1, "b", "load on cpu", 8.0, 9.0),
        Line(10.0, "done", 0, what="COLD_START"),
    ]
    warm_up_s, rule = warm_up(run_of(rows))
    assert warm_up_s == 2.0
    assert rule.endswith("of the most that they did by the middle of the run (20 MB)")


def test_the_bundled_recording():
    run = read_run(RECORDED)
    case, found = calibrated_case(run, seed=3)
    assert case.seed == 3
    assert 0 < found.warm_up_s < 20
    assert found.samples > 1000
    assert set(found.frame().origin) <= {"run", "profile", "estimated"}
    assert isinstance(found.frame(), pd.DataFrame)
    changed = case.changed(["scoring.policy=lru"])
    assert simulate(changed).figures["service_times"] == "recorded"
