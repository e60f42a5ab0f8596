"""Predictions beside recordings: the rules by hand, and made recordings whose truth is known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.experiments.made_runs import made_run
from tests.experiments.test_fidelity import FOLDER
from vramlab.analysis.shifts import KEYS
from vramlab.config.errors import InputError
from vramlab.experiments import verification
from vramlab.experiments.counterfactual import (
    NO_ANSWER,
    NO_DIFFERENCE,
    NO_REPEATS,
    counts,
    difference_verdict,
    judge,
    pair_rows,
    rank_rows,
    read_recordings,
)
from vramlab.experiments.fidelity import AS_IT_STANDS, plan_of
from vramlab.experiments.fidelity_tables import Fidelity, filled, tables, write_fidelity
from vramlab.runs import run_folder
from vramlab.runs.lockstep import lockstep


def verdict(real, predicted, spread):
    return difference_verdict(real, predicted, spread)["verdict"]


def test_differences_are_judged_by_the_rule():
    assert verdict(-0.30, -0.21, 0.05) == "right"  # within a third
    assert verdict(-0.30, -0.19, 0.05) == "sign right, size off"
    assert verdict(-0.30, -0.19, 0.12) == "right"  # within the spread
    assert verdict(-0.30, 0.01, 0.05) == "wrong sign"
    assert verdict(0.30, 0.0, 0.05) == "wrong sign"  # no difference is no sign
    assert verdict(-0.04, 0.30, 0.05) == NO_DIFFERENCE
    assert verdict(-0.30, -0.30, None) == NO_REPEATS


def test_a_rank_order_is_right_if_every_pair_that_differs_is():
    def row(figure, real, predicted):
        row = {"workload": "w", "figure": figure, "real": real, "predicted": predicted, "low": None}
        return row | {"high": None} | difference_verdict(real, predicted, 0.1)

    rows = [row("a", 0.2, 0.2), row("a", 0.05, -0.3), row("b", 0.2, 0.2), row("b", -0.2, 0.1)]
    pairs = pd.DataFrame([*rows, row("c", 0.05, -0.3)])  # in c nothing differs: it has no order
    assert rank_rows(pairs).set_index("figure").rank_right.to_dict() == {"a": True, "b": False}
    found = counts(pairs)
    assert (found["pairs_that_differ"], found["sign_right"], found["size_right"]) == (3, 2, 2)
    assert (found["ranks"], found["ranks_right"], found["intervals"]) == (2, 1, 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two workloads of made recordings: three as they stand and two of each alternative; one by itself."""
    folder = tmp_path_factory.mktemp("runs")
    plan = plan_of(FOLDER, seconds=12)
    for workload in ("steady", "desk"):
        for setting, case in plan.cases[workload].items():
            for take in plan.takes:
                if (take.workload, take.setting) == (workload, setting):
                    made_run(replace(case, seed=take.number), folder / take.folder)
    return folder


@pytest.fixture(scope="module")
def found(runs):
    recordings = read_recordings(runs, lambda text: None)
    return Fidelity.of([judge(name, its, draws=2) for name, its in recordings.items()])


def test_recordings_that_all_repeat_have_no_spread(found):
    steady = next(one for one in found.judged if one.name == "steady")
    assert [len(its) for its in steady.recordings.values()] == [3, 2, 2, 2]
    assert all(steady.spread(key) == 0 for key in KEYS)
    requests = found.requests[found.requests.workload == "steady"]
    assert (requests.other_outcome_between_recordings == 0).all()
    desk = next(one for one in found.judged if one.name == "desk")
    assert all(desk.spread(key) is None for key in KEYS)


def test_what_is_predicted_comes_true(found):
    """The recordings are simulations: only what calibration takes out of their journal can be wrong."""
    assert found.lockstep_differences == 0 < found.decisions
    figures = found.figures.set_index(["workload", "setting", "figure"])
    for setting in ("lru", "arrival", "large"):
        assert figures.loc[("steady", setting, "hit_rate"), "predicted_error"] == pytest.approx(0, abs=0.02)
        mean = figures.loc[("steady", setting, "latency_mean_s"), "predicted_error"]
        assert mean == pytest.approx(0, abs=0.1)
    large = found.pairs[(found.pairs["first"] == AS_IT_STANDS) & (found.pairs["second"] == "large")]
    assert (large.sign_right[large.repeats.astype(bool)]).all()


def test_recordings_whose_requests_come_some_ms_earlier_or_later_are_compared_request_by_request(runs):
    """A live clock jitters: about the end of the warm-up another recording has one request more, or fewer."""
    steady = read_recordings(runs, lambda text: None)["steady"]
    judged = judge("steady", steady, draws=2)
    jittered = steady[AS_IT_STANDS][1].records
    jittered.arrival_s[1:] += np.random.default_rng(0).uniform(-0.02, 0.02, len(jittered) - 1)
    jittered.arrival_s[:] = np.sort(jittered.arrival_s)
    lengths = {len(one.series(judged.requests)) for each in steady.values() for one in each}
    assert lengths == {judged.requests}
    found = Fidelity.of([judged])
    assert len(found.requests) == 4


def test_each_recording_is_read_and_followed_once(runs, monkeypatch):
    followed = []

    def counted(lines, *rest):
        followed.append(lines)
        return lockstep(lines, *rest)

    monkeypatch.setattr(run_folder, "lockstep", counted)
    recordings = read_recordings(runs, lambda text: None)
    monkeypatch.setattr(verification, "read_run", None)
    judge("steady", recordings["steady"], draws=2)
    assert len(followed) == sum(len(each) for its in recordings.values() for each in its.values())


def test_recordings_of_other_lengths_are_one_error(runs):
    steady = read_recordings(runs, lambda text: None)["steady"]
    short = replace(steady["lru"][0], records=steady["lru"][0].records.from_request(1))
    with pytest.raises(InputError, match="steady: found recordings of 264 and 265 requests"):
        judge("steady", steady | {"lru": [short]})


def test_an_alternative_without_an_answer_counts_where_it_really_differs(found):
    steady = next(one for one in found.judged if one.name == "steady")
    answers = [
        replace(one, shift=None, why="no times") if one.alternative.name == "large" else one
        for one in steady.found.answers
    ]
    rows = pd.DataFrame(pair_rows(replace(steady, found=replace(steady.found, answers=answers))))
    of_large = rows[(rows["first"] == "large") | (rows["second"] == "large")]
    assert len(of_large) == 3 * len(KEYS)
    assert set(of_large.verdict) <= {NO_ANSWER, NO_DIFFERENCE}
    assert NO_ANSWER in set(of_large.verdict)
    assert not of_large.sign_right.eq(True).any()


def test_tables_say_what_was_judged(found):
    made = {table.name: table for table in tables(found)}
    assert made.keys() == {"verify", "predicted", "differences", "requests", "counts"}
    assert len(made["predicted"].rows) == len(made["requests"].rows) == 5
    assert len(made["differences"].rows) == 6
    for table in made.values():
        assert all(len(row) == len(table.header) for row in table.rows)
    assert made["counts"].rows[0][1] == f"0 of {found.decisions:,}"


def test_files_are_written_and_the_readme_is_filled(found, tmp_path):
    (tmp_path / "README.md").write_text("# Here\n\n<!-- counts -->\nold\n<!-- end -->\n\nThere.\n")
    write_fidelity(found, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "old" not in text
    assert "| lock-step: decisions that differ |" in text
    assert text.endswith("<!-- end -->\n\nThere.\n")
    write_fidelity(found, tmp_path)
    assert (tmp_path / "README.md").read_text() == text  # once more changes nothing
    document = json.loads((tmp_path / "fidelity.json").read_text())
    assert document.keys() == {"lockstep", "counts", "limits", "workloads", "unanswered"}
    assert set(document["workloads"]["steady"]["settings"]) == {"lru", "arrival", "large"}
    pairs = pd.read_csv(tmp_path / "counterfactual.csv")
    assert {"workload", "first", "second", "figure", "real", "predicted", "low", "high", "verdict"} <= set(
        pairs
    )
    assert len(pd.read_csv(tmp_path / "fidelity.csv")) == 5 * len(KEYS)


def test_a_text_without_places_stays(found):
    assert filled("nothing here", tables(found)) == "nothing here"


def test_alternatives_alone_are_one_error(runs, tmp_path):
    (tmp_path / "steady").mkdir()
    (tmp_path / "desk").symlink_to(runs / "desk")
    (tmp_path / "steady" / "lru-1").symlink_to(runs / "steady" / "lru-1")
    with pytest.raises(InputError, match="alternatives alone"):
        read_recordings(tmp_path, lambda text: None)
