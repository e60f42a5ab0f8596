"""A recording whose journal is damaged in the middle is verified up to there."""

import gzip
import shutil
from pathlib import Path

import pytest

from vramlab.config.errors import InputError
from vramlab.experiments.verification import verify
from vramlab.runs.run_folder import read_run

RECORDED = Path(__file__).parents[2] / "traces" / "recorded_tight"


@pytest.fixture
def run(tmp_path):
    """The bundled recording, unpacked, with a line of its journal that is cut off."""
    folder = tmp_path / "run"
    shutil.copytree(RECORDED, folder)
    rows = gzip.decompress((folder / "journal.jsonl.gz").read_bytes()).split(b"\n")
    (folder / "journal.jsonl.gz").unlink()
    rows[200] = rows[200][:20]
    (folder / "journal.jsonl").write_bytes(b"\n".join(rows))
    return folder


def test_it_is_verified_up_to_the_damage_which_is_named(run, caplog):
    result = verify(run)
    assert result.lockstep.lines == 200
    assert not result.lockstep.differences
    assert result.live["requests"] == len(result.run.trace) > 10
    assert result.split.problem.startswith("too short to calibrate and to judge")
    assert result.simulated["requests"] is None
    assert result.caveats()[0].startswith("line 201 is damaged and left out: ")
    assert "line 201 is damaged" in caplog.text


def test_a_journal_of_nothing_but_damage_is_one_error(run):
    (run / "journal.jsonl").write_bytes(b"nothing\n" * 10)
    with pytest.raises(InputError, match="a journal that can be read"):
        read_run(run)


@pytest.mark.parametrize("text", ["[]", "7", "{", "[" * 100_000])
def test_an_environment_of_another_kind_is_one_error(run, text):
    (run / "environment.json").write_text(text)
    with pytest.raises(InputError, match=r"environment\.json.*a JSON file of the recording"):
        read_run(run)
