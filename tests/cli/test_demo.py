"""The demo's last word on live and simulated: as near as we claim, or why not and what to do, in one line."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from vramlab.cli.demo import PROMISED, verdict

NEAR = {"hit_rate_points": 0.6, "latency_p50_relative": -0.06, "latency_p95_relative": 0.11}
NEAR |= {"latency_p99_relative": -0.14}
IDLE, BUSY = {"other_cores": 0.0, "cpu_count": 2}, {"other_cores": 1.25, "cpu_count": 2}


def found(errors=(), environment=IDLE, requests=900, problem="", differences=(), verdicts=()):
    return SimpleNamespace(
        errors=lambda: NEAR | dict(errors),
        verdicts=lambda: dict(verdicts),
        lockstep=SimpleNamespace(differences=list(differences)),
        split=SimpleNamespace(problem=problem, requests=requests),
        run=SimpleNamespace(environment=environment, path=Path("run")),
        used_s=lambda: (5.0, 45.0),
    )


@pytest.mark.parametrize(
    ("case", "parts"),
    [
        (found(), ["as near as we claim (hit rate 0.7 points, median 7 %, 95th percentile 12 %"]),
        (found(environment=BUSY), ["as near as we claim"]),  # it came out well all the same
        (
            found({"latency_p95_relative": -0.45, "hit_rate_points": 1.4}, BUSY),
            ["not as near", "hit rate +1.4 points, 95th percentile -45 %;", "1.2 of 2 cores", "run it again"],
        ),
        (found({"latency_p99_relative": 0.3}, requests=700), ["percentile is of 7 requests", "--seconds"]),
        (
            found({"latency_p50_relative": 0.1}, verdicts={"latency_p50_s": "within the spread"}),
            ["median +10 %", "draws of one simulation are as far apart"],
        ),
        (found({"latency_p50_relative": None}), ["median unknown", "vramlab verify"]),
        (
            found({"hit_rate_points": -0.8}, verdicts={"hit_rate": "outside"}),
            ["-0.8 points", "no other program"],
        ),
        (found(problem="too short to judge"), ["the recording is too short to judge", "--seconds 90"]),
        (found(differences=["one"]), ["lock-step", "please report it"]),
    ],
)  # fmt: skip
def test_the_verdict_is_one_line_that_says_why_and_what_to_do(case, parts):
    line = verdict(case)
    assert line.startswith("verdict: ")
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_what_is_promised_is_what_the_issue_of_a_newcomer_asks():
    assert [most for _, most in PROMISED.values()] == [0.7, 0.07, 0.12, 0.15]
