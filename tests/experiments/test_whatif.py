"""I recorded this under A: what would B have been? On made recordings, whose truth is known."""

import shutil
from dataclasses import replace
from functools import partial

import pytest

from tests.experiments.made_runs import made_run
from vramlab.analysis.shifts import KEYS, series_of
from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec
from vramlab.experiments.case import resolve_case
from vramlab.experiments.replay import run as replay
from vramlab.experiments.whatif import alternatives_of, what_if
from vramlab.traces.trace import Trace

# a pool for two of three models; a and b take turns, and c comes in between
POOL = [
    "total_memory_mb=1000", "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
    "zones={flexible: {size_mb: 210, min_retention_time: 0, max_models: null}}",
    "fallback.cpu_fallback_enabled=false", "scoring.policy=lru", "caching.enable_result_caching=false",
]  # fmt: skip


def spec(load_ms):
    times = {"load_time_ms": load_ms, "inference_ms": 10}
    return ModelSpec(priority="medium", vram_size_mb=100, cpu_fallback="none", **times)


@pytest.fixture(scope="module")
def case():
    import pandas as pd

    models = ("a b a b a c " * 40).split()
    frame = pd.DataFrame({"time_s": [float(place) for place in range(len(models))], "model": models})
    inventory = {name: spec(load_ms) for name, load_ms in (("a", 100), ("b", 200), ("c", 300))}
    return resolve_case(Trace.from_frame(frame, "made"), None, inventory, POOL)


@pytest.fixture(scope="module")
def recording(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "run"
    made_run(case, folder)
    return folder


def asked(**what):
    return partial(alternatives_of, **what)


def test_an_answer_is_what_would_have_come(case, recording):
    """A card for all three: after each has loaded once, all are hits."""
    found = what_if(recording, asked(cards_mb=[1500.0]), draws=2, warm_up_s=20.0)
    truth = series_of(replay(found.answers[0].alternative.case).records, 20.0).figures()
    shift = found.answers[0].shift
    assert found.recorded["hit_rate"] < 0.7
    assert shift.predicted["hit_rate"] == truth["hit_rate"] == 1
    assert shift.predicted["latency_p95_s"] == pytest.approx(0.010, rel=0.02)
    assert shift.differences["hit_rate"].low > 0
    assert shift.differences["latency_mean_s"].high < 0
    for key, error in found.errors().items():
        assert error == pytest.approx(0, abs=0.02), key


def test_what_changes_nothing_is_predicted_as_recorded(recording):
    """Nothing runs on the CPU there: how fast that is makes no difference."""
    found = what_if(recording, asked(overrides=["fallback.cpu_performance_ratio=0.77"]), draws=2)
    shift = found.answers[0].shift
    for key in KEYS:
        assert shift.predicted[key] == pytest.approx(found.recorded[key])
        assert shift.differences[key].low <= 0 <= shift.differences[key].high


def test_every_combination_is_an_alternative_but_what_was_recorded(case):
    made = alternatives_of(case, ["lru", "fifo"], ["fifo", "arrival"], [1000.0, 2048.0])
    assert [one.name for one in made][:3] == [
        "lru, fifo, 1,000 MB",
        "lru, fifo, 2 GB",
        "lru, arrival, 1,000 MB",
    ]
    assert len(made) == 8
    assert len({one.name for one in made}) == len(made)
    assert all(one.settings for one in made)
    (one,) = alternatives_of(case, overrides=["serving.max_wait_s=3", "scoring.policy=fifo"])
    assert one.settings == {"serving.max_wait_s": 3, "scoring.policy": "fifo"}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({}, "--policies, --orders, --memory or --set"),
        ({"policies": ["lru"]}, "nothing that differs from the recording"),
        ({"policies": ["lruu"]}, "lru"),
        ({"orders": ["lifo"]}, "order"),
        ({"overrides": ["serving.ordr=fifo"]}, "did you mean"),
    ],
)
def test_alternatives_that_are_none_are_one_error(case, what, expected):
    with pytest.raises(InputError) as error:
        alternatives_of(case, **what)
    assert expected in str(error.value)


def test_the_same_seed_gives_the_same_answer(recording):
    first, again = (
        what_if(recording, asked(policies=["fifo"]), draws=2, seed=3).document() for _ in range(2)
    )
    assert first["alternatives"] == again["alternatives"]
    for one in first["alternatives"]:
        for difference in one["difference"].values():
            assert difference["low"] <= difference["difference"] <= difference["high"]


def test_a_recording_that_this_version_does_not_follow_is_refused(recording, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(recording, other)
    journal = other / "journal.jsonl"
    text = journal.read_text()
    assert '"zone":"flexible"' in text
    journal.write_text(text.replace('"zone":"flexible"', '"zone":"else"', 1))
    with pytest.raises(InputError, match="record it again"):
        what_if(other, asked(policies=["fifo"]))


def test_a_recording_in_which_much_failed_is_refused(case, tmp_path):
    from vramlab.config.faults import FaultPlan

    plan = FaultPlan.model_validate({"run_failures": {"requests": list(range(50, 70))}})
    made_run(replace(case, faults=plan), tmp_path / "run")
    with pytest.raises(InputError, match="20 of 240 requests that failed"):
        what_if(tmp_path / "run", asked(policies=["fifo"]))


def test_an_alternative_that_answers_fewer_says_so(case, tmp_path):
    """One may wait, and a load takes three seconds: many are refused, and latencies are of the others."""
    busy = replace(
        case,
        inventory={n: one.model_copy(update={"load_time_ms": 3000}) for n, one in case.inventory.items()},
    )
    made_run(busy, tmp_path / "run")
    found = what_if(tmp_path / "run", asked(overrides=["rules.max_waiting=1"]), draws=2)
    lost = [note for note in found.notes() if "would get no answer (as recorded 0.0%)" in note]
    assert len(lost) == 1


def test_a_recording_that_was_hardly_warm_is_refused(recording):
    with pytest.raises(InputError, match=r"10 of 240 requests after 230 s of warming up.*a longer recording"):
        what_if(recording, asked(policies=["fifo"]), warm_up_s=229.6)


def test_no_folder_of_a_recording_is_one_error(tmp_path):
    with pytest.raises(InputError, match=r"no journal\.jsonl"):
        what_if(tmp_path, asked(policies=["fifo"]))
    with pytest.raises(InputError, match="which have a spread"):
        what_if(tmp_path, asked(policies=["fifo"]), draws=1)
