"""Predictions beside recordings: the rules by hand, and made recordings whose truth is known."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from tests.experiments.made_runs import made_run
from tests.experiments.test_fidelity import FOLDER
from vramlab.analysis.shifts import KEYS
from vramlab.config.errors import InputError
from vramlab.experiments.counterfactual import (
    NO_DIFFERENCE,
    NO_REPEATS,
    counts,
    difference_verdict,
    judge,
    rank_rows,
    read_recordings,
)
from vramlab.experiments.fidelity import AS_IT_STANDS, plan_of
from vramlab.experiments.fidelity_tables import Fidelity, filled, tables, write_fidelity


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

    pairs = pd.DataFrame([row("a", 0.2, 0.2), row("a", 0.05, -0.3), row("b", 0.2, 0.2), row("b", -0.2, 0.1)])
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
