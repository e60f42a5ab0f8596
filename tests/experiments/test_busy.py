"""A busy machine: which times are longer for it, and a recording that is made again."""

import json

import pytest

from vramlab.experiments.busy import disturbances
from vramlab.experiments.recording import record_until_calm

IDLE = {"other_cores": 0.01, "cpu_count": 2}
BUSY = {"other_cores": 0.8, "cpu_count": 2}
LATE = {"other_cores": 0.2, "cpu_count": 2, "watched_s": 60.0, "other_cores_busy": [[48.0, 60.0, 1.0]]}
EARLY = LATE | {"other_cores_busy": [[2.0, 14.0, 1.0]]}
WARMING = LATE | {"other_cores": 0.1, "other_cores_busy": [[0.0, 4.0, 1.5]]}
USED = (5.0, 60.0)


@pytest.mark.parametrize(
    ("recorded", "profiled", "used", "expected"),
    [
        (IDLE, None, None, []),
        (IDLE, IDLE, USED, []),
        (BUSY, None, None, ["0.8 of 2 cores busy while this was recorded: live times are longer for that"]),
        (IDLE, BUSY, None, ["0.8 of 2 cores busy while this was profiled: simulated times are longer"]),
        (BUSY, BUSY, None, ["live times are longer", "simulated times are longer"]),
        # times of the run itself: both are
        (
            {"other_cores": 3.0, "cpu_count": 2, "watched_cores": 64},
            None,
            None,
            [],
        ),  # of a machine of 64 cores
        (BUSY, None, USED, ["live and simulated times are both longer for that"]),
        (EARLY, None, USED, ["first at 2 s: live and simulated times are both longer for that"]),
        (
            LATE,
            None,
            USED,
            ["in 12 of the 60 s in which this was recorded, first at 48 s: live and simulated"],
        ),
        (WARMING, None, USED, []),  # neither figure has anything of that
        (LATE, None, None, ["up to 1.0 of 2 cores busy in 12 of the 60 s"]),
        (IDLE, BUSY, USED, ["what is simulated from the profile is longer for that"]),
    ],
)
def test_what_a_busy_machine_did_is_said_in_the_right_direction(recorded, profiled, used, expected):
    found = disturbances(recorded, profiled, used)
    assert len(found) == len(expected)
    for sentence, part in zip(found, expected, strict=True):
        assert part in sentence


def recorder(*outcomes):
    """Record into a folder, and end as the next of the outcomes says: (cores, failed), or an exception."""
    left = iter(enumerate(outcomes))

    def make(folder):
        number, outcome = next(left)
        folder.mkdir()
        (folder / "journal.jsonl").write_text(json.dumps(number))
        if isinstance(outcome, BaseException):
            raise outcome
        cores, failed = outcome
        said = f"{cores} cores" if cores > 0.2 else ""
        return {"number": number, "other_cores": cores, "failed": failed, "disturbed": said}

    return make


def stands(folder):
    """The number of the recording there, which is to be alone."""
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    return json.loads((folder / "journal.jsonl").read_text())


@pytest.mark.parametrize(
    ("outcomes", "best"),
    [
        ([(0.1, 0)], 0),
        ([(0.9, 0), (0.1, 0)], 1),
        ([(0.9, 0), (0.5, 0), (0.7, 0)], 1),
        ([(0.9, 0), (1.5, 0), (1.2, 0)], 0),
        ([(0.9, 0), (0.1, 3), (0.3, 0)], 2),  # a calm one that has lost requests is no better
    ],
)
def test_of_several_recordings_the_calmest_whole_one_stays(tmp_path, outcomes, best):
    asked = []

    def again(why):
        asked.append(why)
        return len(asked) < len(outcomes)

    figures = record_until_calm(recorder(*outcomes), tmp_path / "run", again)
    assert figures["number"] == stands(tmp_path / "run") == best


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError("no space left on device")])
def test_the_first_recording_stands_until_the_second_is_whole(tmp_path, end):
    with pytest.raises(type(end)):
        record_until_calm(recorder((0.9, 0), end), tmp_path / "run", lambda why: True)
    assert stands(tmp_path / "run") == 0


def test_a_recording_that_nobody_wants_again_is_made_once(tmp_path):
    figures = record_until_calm(recorder((0.9, 0)), tmp_path / "run", lambda why: False)
    assert (figures["disturbed"], stands(tmp_path / "run")) == ("0.9 cores", 0)
