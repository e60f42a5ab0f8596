"""A user's policy that fails says so in one line: which policy, which model, what was found."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.policies.cache import Cache
from vramlab.allocator.policies import ScorePolicy
from vramlab.allocator.policies.own import PolicyError
from vramlab.cli.app import run
from vramlab.config.schema import ModelSpec, VramConfig, ZoneConfig
from vramlab.experiments.comparison import compare
from vramlab.experiments.replay import replay
from vramlab.traces.trace import Trace

ROOT = Path(__file__).parents[2]
OWN = "tests.policies.own"
MODELS = {
    name: ModelSpec(priority="medium", vram_size_mb=3, load_time_ms=10, zone="flexible") for name in "ABC"
}
CONFIG = VramConfig(zones={"flexible": ZoneConfig(size_mb=7, min_retention_time=0)})
TRACE = Trace.from_frame(pd.DataFrame({"time_s": [0.0, 1.0, 2.0], "model": ["A", "B", "C"]}))
FAILURES = {
    "not_a_number": "score of A: found nan, expected a number",
    "a_text": "score of A: found 'dear', expected a number",
    "divides": "score of A: found ZeroDivisionError: division by zero (own.py, line NN), expected a number",
    "Forgets": "removed with A: found KeyError: 'gone' (own.py, line NN), expected no exception",
    "LazilyWrong": "ranked: found RuntimeError: no order (own.py, line NN), "
    "expected the tracked models in an order",
}


def said(error):
    return re.sub(r"line \d+", "line NN", str(error))


@pytest.mark.parametrize("mode", ["simulate", "decide"])
@pytest.mark.parametrize("name", FAILURES)
def test_a_replay_ends_with_one_clear_error(name, mode):
    with pytest.raises(PolicyError) as caught:
        replay(TRACE, CONFIG, MODELS, mode, overrides=[f"scoring.policy={OWN}:{name}"])
    assert said(caught.value) == f"policy {OWN}:{name}: {FAILURES[name]}"


@pytest.mark.parametrize("name", ["not_a_number", "a_text", "divides"])
def test_a_comparison_too(name):
    with pytest.raises(PolicyError, match=f"^policy {OWN}:{name}: score of A: found "):
        compare(TRACE, CONFIG, MODELS, ["lru", f"{OWN}:{name}"])


@pytest.mark.parametrize("score", [1, 1.5, True, float("inf"), -(2**70)])
def test_a_number_is_a_number(score):
    model = Cache("lru", 3).allocator.models["A"]
    assert ScorePolicy(lambda model, now_s: score).score(model, 0.0) == score


def test_a_study_ends_with_it_too(tmp_path, capsys):
    pytest.importorskip("optuna")
    trace = str(ROOT / "traces" / "live_workload.csv")
    common = [trace, "--models", str(ROOT / "config" / "model_config.yaml")]
    common += ["--config", str(ROOT / "config" / "scenarios" / "tight.yaml")]
    tune = [
        "tune",
        *common,
        "--policies",
        f"{OWN}:divides",
        "--trials",
        "3",
        "--out",
        str(tmp_path / "t.yaml"),
    ]
    for command in (["curve", *common, "--policy", f"{OWN}:divides"], tune):
        assert run(command) == 2
        said = capsys.readouterr().err
        assert f"policy {OWN}:divides: score of " in said
        assert "Traceback" not in said
