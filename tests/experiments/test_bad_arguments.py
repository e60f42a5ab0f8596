"""What a notebook hands over that no type checker has seen: one clear line, and never another run instead."""

import pytest

from tests.experiments.studying import POOL, ROOT
from vramlab.config.errors import InputError
from vramlab.config.loading import load_inventory
from vramlab.experiments.comparison import compare
from vramlab.experiments.curves import curve
from vramlab.experiments.inputs import resolve_settings
from vramlab.experiments.replay import replay
from vramlab.experiments.sweep import sweep
from vramlab.experiments.tuning import tune
from vramlab.traces.files import read_trace

TRACE = read_trace(ROOT / "traces" / "synthetic_tight.csv.gz").head(200)
INVENTORY = load_inventory(ROOT / "config" / "model_config.yaml")


@pytest.mark.parametrize("study", [replay, compare, sweep, tune])
@pytest.mark.parametrize(("mode", "suggested"), [("simulat", " (did you mean 'simulate'?)"), ("xyz", "")])
def test_an_unknown_mode_is_no_decide_mode(study, mode, suggested):
    with pytest.raises(InputError) as caught:
        study(TRACE, POOL, INVENTORY, mode=mode)
    assert str(caught.value) == f"mode: found {mode!r}, expected one of simulate, decide{suggested}"


@pytest.mark.parametrize("mode", ["simulate", "decide"])
def test_unknown_service_times_are_refused_in_either_mode(mode):
    with pytest.raises(InputError, match=r"service_times: found 'medain', .* \(did you mean 'median'\?\)"):
        replay(TRACE, POOL, INVENTORY, mode, service_times="medain")


@pytest.mark.parametrize("policy", ["lru", "lfu"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample": 2.0}, "--sample: found 2.0, expected more than 0, less than 1"),
        ({"sample": float("nan")}, "--sample: found nan, expected more than 0, less than 1"),
        ({"jobs": 0}, "--jobs: found 0, expected at least 1"),
        ({"sample_by": "model"}, "--sample-by: found 'model', expected one of models, time"),
    ],
)
def test_a_curve_checks_its_arguments_whatever_the_policy(policy, wrong, message):
    with pytest.raises(InputError) as caught:
        curve(TRACE, *resolve_settings(POOL, INVENTORY), policy, **wrong)
    assert str(caught.value).startswith(message)
