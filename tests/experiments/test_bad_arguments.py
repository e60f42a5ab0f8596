"""What a notebook hands over that no type checker has seen: one clear line, and never another run instead."""

import pytest

import vramlab
from tests.experiments.studying import POOL, ROOT
from vramlab.config.errors import InputError
from vramlab.config.loading import load_inventory
from vramlab.config.schema import VramConfig
from vramlab.experiments.case import resolve_case, resolve_settings
from vramlab.experiments.comparison import compare
from vramlab.experiments.curves import Sampling, curve
from vramlab.experiments.preload_curve import preload_curve
from vramlab.experiments.replay import replay
from vramlab.experiments.sweep import sweep
from vramlab.experiments.tuning import tune
from vramlab.live.stand_ins import with_stand_ins
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
        ({"sampling": Sampling(2.0)}, "--sample: found 2.0, expected more than 0, less than 1"),
        ({"sampling": Sampling(float("nan"))}, "--sample: found nan, expected more than 0, less than 1"),
        ({"jobs": 0}, "--jobs: found 0, expected at least 1"),
        ({"sampling": Sampling(0.5, "model")}, "--sample-by: found 'model', expected one of models, time"),
    ],
)
def test_a_curve_checks_its_arguments_whatever_the_policy(policy, wrong, message):
    with pytest.raises(InputError) as caught:
        curve(resolve_case(TRACE, POOL, INVENTORY), policy, **wrong)
    assert str(caught.value).startswith(message)


def test_one_policy_by_itself_is_one_and_not_its_letters():
    assert [row["policy"] for row in compare(TRACE, POOL, INVENTORY, "lru", "decide").rows] == ["lru"]
    table = sweep(TRACE, POOL, INVENTORY, policies="lru", mode="decide", jobs=1).table
    assert table["policy"].tolist() == ["lru"]
    with pytest.raises(InputError, match=r"--objective: found 'hit_rat', .*'hit_rate'"):
        tune(TRACE, POOL, INVENTORY, objectives="hit_rat")


@pytest.mark.parametrize("study", [replay, compare, sweep, tune, preload_curve])
def test_changes_are_a_list(study):
    with pytest.raises(InputError) as caught:
        study(TRACE, POOL, INVENTORY, overrides="total_memory_mb=1200")
    message = "--set: found 'total_memory_mb=1200', expected a list of KEY=VALUE texts"
    assert str(caught.value) == message
    with pytest.raises(InputError) as caught:
        study(TRACE, resolve_settings(POOL, INVENTORY)[0], INVENTORY, overrides="total_memory_mb=1200")
    assert str(caught.value) == message


@pytest.mark.parametrize("trace", [5, None, 1.5])
def test_what_is_no_trace_is_refused(trace):
    for call in (vramlab.load_trace, vramlab.simulate, vramlab.compare):
        with pytest.raises(InputError, match=f"^trace: found {trace}, expected a path of a trace file, or"):
            call(trace)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
def test_a_seed_is_a_whole_number(seed):
    for study in (replay, compare, tune):
        with pytest.raises(InputError, match=r"^seed: found .*, expected a whole number from 0 on"):
            study(TRACE, POOL, INVENTORY, seed=seed)
    with pytest.raises(InputError, match=r"^seed: found "):
        sweep(TRACE, POOL, INVENTORY, seeds=[0, seed])


@pytest.mark.parametrize("port", [99999, -1, "80"])
def test_a_port_that_there_is_none_of_leaves_no_journal_behind(tmp_path, port):
    inventory = with_stand_ins({"a.onnx": INVENTORY["genderage.onnx"]}, tmp_path / "models")
    journal = tmp_path / "journal.jsonl"
    with pytest.raises(InputError, match=r"^metrics: port: found .*, expected a port from 0 to 65535"):
        vramlab.LiveRuntime(VramConfig(), inventory, "cpu-emulated", journal, metrics_port=port)
    assert not journal.exists()


@pytest.mark.parametrize("empty", ["predictors", "thresholds"])
def test_a_preload_curve_of_nothing_is_refused(empty):
    with pytest.raises(InputError, match=f"^preload_curve: {empty}: found none, expected at least one"):
        vramlab.preload_curve(TRACE, POOL, INVENTORY, **{empty: []})
