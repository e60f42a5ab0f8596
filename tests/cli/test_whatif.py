"""``whatif`` and ``fidelity`` on the command line."""

import json
from pathlib import Path

import pytest

from vramlab.cli.app import run
from vramlab.cli.whatif import NOTHING

RECORDED = str(Path(__file__).parents[2] / "traces" / "recorded_tight")
FIGURES = {"hit_rate", "latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s"}


def test_json_has_the_keys_that_were_promised(capsys, tmp_path):
    picture = tmp_path / "whatif.png"
    assert (
        run(["whatif", RECORDED, "--policies", "lru", "--draws", "2", "--json", "--plot", str(picture)]) == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["recorded"].keys() >= FIGURES
    (one,) = document["alternatives"]
    assert one["settings"]["scoring.policy"] == "lru"
    assert one["predicted"].keys() == one["difference"].keys() == FIGURES
    for difference in one["difference"].values():
        assert difference["low"] <= difference["difference"] <= difference["high"]
        tie = difference["low"] <= 0 <= difference["high"]
        assert (difference["verdict"] == "tie") == tie
    assert picture.stat().st_size > 5_000


def test_the_table_says_what_was_recorded_simulated_and_predicted(capsys):
    setting = "serving.max_wait_s=9"  # longer than anybody waits there
    assert run(["whatif", RECORDED, "--set", setting, "--draws", "2"]) == 0
    text = capsys.readouterr().out
    for words in ("recorded", "simulated as recorded", setting, "hit rate", NOTHING):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--policies, --orders, --memory or --set"),
        (["--policies", "lru,lru"], "each name once"),
        (["--policies", "lruu"], "did you mean 'lru'"),
        (["--memory", "much"], "a size such as 8GB"),
        (["--set", "scoring.polcy=lru"], "did you mean"),
        (["--draws", "1"], "greater than or equal to 2"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, expected):
    assert run(["whatif", RECORDED, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert expected in captured.err


def test_a_folder_that_is_no_recording_is_one_line(capsys, tmp_path):
    assert run(["whatif", str(tmp_path), "--policies", "lru"]) == 2
    assert "no journal.jsonl" in capsys.readouterr().err
    assert run(["fidelity", "--folder", str(tmp_path), "--analyse-only"]) == 2
    assert "no recording" in capsys.readouterr().err
    assert run(["fidelity", "--folder", str(tmp_path), "--resume", "--analyse-only"]) == 2
    assert "one of the two" in capsys.readouterr().err


def test_a_workload_without_an_answer_takes_no_other_along(capsys, tmp_path):
    """One workload's recording was changed, so that this version does not follow it."""
    import shutil

    from tests.experiments.made_runs import made_run
    from tests.experiments.test_fidelity import FOLDER
    from vramlab.experiments.fidelity import AS_IT_STANDS, plan_of

    runs = tmp_path / "runs"
    made_run(plan_of(FOLDER, seconds=12).cases["desk"][AS_IT_STANDS], runs / "desk" / "recorded-1")
    shutil.copytree(runs / "desk", runs / "other")
    journal = runs / "other" / "recorded-1" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"zone":"flexible"', '"zone":"else"', 1))
    assert run(["fidelity", "--folder", str(tmp_path), "--analyse-only"]) == 1
    text = capsys.readouterr().out
    assert "other: no answer." in text
    assert "record it again" in text
    assert (tmp_path / "desk.png").exists()
