"""Draws of one simulation, and what they say of a live run."""

from pathlib import Path

import numpy as np
import pytest

from vramlab.config.errors import InputError
from vramlab.experiments.draws import LIMITS, Draws, overall
from vramlab.experiments.split import split_of
from vramlab.experiments.verification import verify
from vramlab.runs.records import Records
from vramlab.runs.run_folder import read_run

RECORDED = Path(__file__).parents[2] / "traces" / "recorded_tight"


def figures(hit_rate, p50_s, p95_s=1.0, p99_s=None):
    return {
        "hit_rate": hit_rate, "latency_p50_s": p50_s, "latency_p95_s": p95_s, "latency_p99_s": p99_s,
        "requests": 10, "policy": "lru", "seed": 3,
    }  # fmt: skip


def records(outcomes, latency_s):
    count = len(outcomes)
    arrival_s = np.arange(count, dtype=float)
    finish_s = arrival_s + np.array(latency_s)
    return Records(
        ["m"], np.zeros(count, dtype=np.int32), arrival_s, np.array(outcomes, dtype=np.uint8), finish_s, []
    )


def test_the_median_of_numbers_and_the_first_of_all_else():
    found = Draws([figures(0.5, 1.0), figures(0.6, 3.0), figures(0.9, 2.0)], []).median()
    assert (found["hit_rate"], found["latency_p50_s"], found["requests"]) == (0.6, 2.0, 10)
    assert (found["policy"], found["seed"]) == ("lru", 3)


def test_verdicts_by_hand():
    # Hit rates 0.4, 0.5, 0.6: mean 0.5, standard deviation 0.1. Medians of the latency: all 1 s.
    drawn = Draws([figures(0.4, 1.0), figures(0.5, 1.0), figures(0.6, 1.0)], [])
    assert drawn.spread()["hit_rate"] == pytest.approx({"low": 0.4, "high": 0.6, "mean": 0.5, "sd": 0.1})
    live = figures(0.69, 1.05, 1.0, 2.0)
    assert drawn.verdicts(live) == {
        "hit_rate": "within the spread",  # 0.19 from the mean, less than 0.2
        "latency_p50_s": "within the limits",  # 5 % off, and no spread at all
        "latency_p95_s": "within the spread",
    }  # the simulation has no 99th percentile
    assert drawn.verdicts(figures(0.71, 1.2))["hit_rate"] == "outside"
    assert drawn.verdicts(figures(0.71, 1.2))["latency_p50_s"] == "outside"


@pytest.mark.parametrize(
    ("words", "worst"),
    [
        (["within the spread"], "within the spread"),
        (["within the spread", "within the limits"], "within the limits"),
        (["within the limits", "outside", "within the spread"], "outside"),
    ],
)
def test_all_in_all_it_is_the_worst(words, worst):
    assert overall(words) == worst


def test_request_by_request():
    live = records([0, 0, 1, 1], [1.0, 1.0, 2.0, 2.0])
    drawn = Draws(
        [], [records([0, 0, 1, 0], [1.0, 1.5, 2.0, 5.0]), records([0, 0, 1, 1], [1.25, 1.0, 2.0, 2.0])]
    )
    found = drawn.per_request(live)
    assert found == {"same_outcome": 7 / 8, "latency_error_median_s": 0.0}


def test_the_bundled_recording_is_split_simulated_and_judged():
    found = verify(RECORDED, seeds=3)
    split = found.split
    assert found.times == "recorded"
    assert split.window_s == 2.0
    assert found.live["requests"] == found.simulated["requests"] == split.requests == len(found.live_records)
    document = found.document()
    assert document["fidelity"]["draws"] == 3
    assert set(document["fidelity"]["verdict"]) == set(LIMITS)
    assert document["calibration"]["window_s"] == document["judged"]["window_s"] == 2.0
    assert abs(document["fidelity"]["error"]["hit_rate_points"]) < 3
    assert document["fidelity"]["per_request"]["same_outcome"] > 0.9


def test_with_other_times_all_that_was_warm_is_judged():
    found = verify(RECORDED, service_times="spec", warm_up_s=10.0)
    assert (found.split.warm_up_s, found.split.window_s, found.calibration) == (10.0, None, None)
    assert found.draws is not None
    assert len(found.draws.figures) == 1  # nothing is drawn
    assert found.split.rule == "the first 10 s are left out, as asked"


def test_a_warm_up_that_was_asked_for_is_told_as_the_rule_wherever_a_rule_is_told(monkeypatch):
    monkeypatch.setattr("vramlab.experiments.recorded_samples.warm_up", None)  # nobody looks for another
    document = verify(RECORDED, warm_up_s=10.0, seeds=1).document()
    for part in (document["judged"], document["calibration"]):
        assert (part["warm_up_s"], part["rule"]) == (10.0, "the first 10 s are left out, as asked")


def test_a_run_that_is_too_short_gives_no_number():
    run = read_run(RECORDED)
    problem = split_of(run, warm_up_s=run.trace.duration_s - 1).problem
    assert problem.startswith("too short to calibrate and to judge: ")
    assert problem.endswith("100 are needed for each: record for longer")
    found = verify(RECORDED, warm_up_s=run.trace.duration_s - 1)
    assert set(found.simulated.values()) == {None}
    assert set(found.errors().values()) == {None}
    assert found.verdicts() == {}
    assert found.live["requests"] == len(run.trace)


def test_a_warm_up_that_the_run_has_not_is_one_error():
    with pytest.raises(InputError, match=r"--warm-up: found 1000, expected seconds of the run"):
        verify(RECORDED, warm_up_s=1000)
