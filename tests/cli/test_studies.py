"""``sweep`` and ``tune`` on the command line."""

import json

import pandas as pd
import pytest

from tests.cli.test_cli import MODELS, POOL, REPLAY_KEYS, TRACE, json_of
from vramlab.experiments import replays, trials
from vramlab.experiments import sweep as sweeping


@pytest.fixture(autouse=True)
def _in_the_root(monkeypatch):
    monkeypatch.chdir(POOL.rsplit("/config/", 1)[0])


def test_sweep_writes_a_tidy_table(vramlab, tmp_path):
    out = tmp_path / "s.parquet"
    document = json_of(
        vramlab(
            "sweep", TRACE, "--config", POOL, "--models", MODELS, "--policies", "lru,gdsf",
            "--grid", "zones.flexible.size_mb=260,400", "--mode", "decide", "--jobs", "1",
            "--out", out, "--json",
        )
    )  # fmt: skip
    assert (document["runs"], document["failed"]) == (4, 0)
    table = pd.read_parquet(out)
    assert [row["load_cost_s"] for row in document["rows"]] == table["load_cost_s"].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "scoring.polcy=lru"], "did you mean 'scoring.policy'?"),
        (["--grid", "admission"], "found no values"),
        (["--policies", "lru,lrv"], "did you mean 'lru'?"),
        (["--policies", "lru,"], "a name is empty"),
        (["--policies", "lru,lru"], "'lru' twice"),
        (["--seeds", "a"], "whole numbers"),
        (["--jobs", "0"], "at least 1"),
        (["--dask", "foo"], "the address of a Dask scheduler"),
    ],
)
def test_bad_input_of_sweep_is_one_line_and_status_2(vramlab, tmp_path, arguments, message):
    status, out, err = vramlab("sweep", TRACE, "--config", POOL, "--out", tmp_path / "s.parquet", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_interrupted_sweep_says_how_to_go_on(vramlab, tmp_path, monkeypatch):
    out = tmp_path / "s.parquet"
    command = ["sweep", TRACE, "--config", POOL, "--policies", "lru,gdsf,fifo", "--mode", "decide"]
    command += ["--jobs", "1", "--out", out]
    made, replay = [], sweeping.run

    def interrupted(*arguments, **options):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(arguments)
        return replay(*arguments, **options)

    monkeypatch.setattr(sweeping, "run", interrupted)
    status, _, err = vramlab(*command)
    assert status == 130
    assert "go on with --resume" in err.replace("\n", " ")
    monkeypatch.setattr(sweeping, "run", replay)
    document = json_of(vramlab(*command, "--resume", "--json"))
    assert (document["runs"], document["resumed"]) == (3, 2)
    assert json.dumps(document)


def test_tune_writes_a_configuration_that_replay_takes(vramlab, tmp_path):
    pytest.importorskip("optuna")
    out = tmp_path / "tuned.yaml"
    common = ["--models", MODELS, "--mode", "decide", "--json"]
    document = json_of(
        vramlab(
            "tune", TRACE, "--config", POOL, "--trials", "12", "--validate-from", "0.6", "--out", out, *common
        )
    )
    assert set(document) >= {"best", "train", "validation"}
    for part in ("train", "validation"):
        assert set(document[part]) >= {*REPLAY_KEYS, "gap_closed"}
    assert document["train"]["requests"] + document["validation"]["requests"] == 743
    figures = json_of(vramlab("replay", TRACE, "--config", out, *common))
    parts = document["train"], document["validation"]
    assert figures["load_cost_s"] == pytest.approx(sum(part["load_cost_s"] for part in parts))
    for key, value in document["best"].items():
        assert f"{key}: {value}" in out.read_text()


def test_an_interrupted_tuning_says_what_is_kept(vramlab, tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    storage = tmp_path / "trials.journal"
    command = ["tune", TRACE, "--config", POOL, "--mode", "decide", "--out", tmp_path / "t.yaml"]

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "run", interrupted)
    for more, lines in ((["--storage", storage], 1), ([], 0)):
        status, out, err = vramlab(*command, *more)
        assert (status, out) == (130, "")
        *said, last = err.splitlines()
        assert last == "vramlab: interrupted"
        assert (
            said == [f"the trials so far are kept in {storage}; the same command goes on with them"][:lines]
        )
    assert optuna.logging.get_verbosity() > optuna.logging.WARNING  # its warning has a traceback


def test_an_interrupted_comparison_says_so(vramlab, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(replays, "run", interrupted)
    assert vramlab("compare", TRACE, "--config", POOL) == (130, "", "vramlab: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "hitrate"], "expected one of cost_s, "),
        (["--objective", "hitrate"], "did you mean 'hit_rate'?"),
        (["--out", "t.txt"], "t.txt: found suffix '.txt', expected .yaml or .yml"),
        (["--policies", "lru,"], "a name is empty"),
        (["--over", "policy,policy"], "'policy' twice"),
    ],
)
def test_bad_input_of_tune_is_one_line_and_status_2(vramlab, tmp_path, arguments, message):
    status, out, err = vramlab("tune", TRACE, "--config", POOL, "--out", tmp_path / "t.yaml", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_compare_says_how_sure_it_is(vramlab):
    command = [
        "compare",
        TRACE,
        "--config",
        POOL,
        "--policies",
        "lru,gdsf",
        "--mode",
        "decide",
        "--intervals",
    ]
    document = json_of(vramlab(*command, "--skip-warmup", "--json"))
    lru, gdsf = document["rows"]
    assert lru["requests"] == 743 - document["warmup_requests"]
    assert gdsf["load_cost_s_low"] <= gdsf["load_cost_s"] <= gdsf["load_cost_s_high"]
    assert gdsf["versus_first"]["hit_rate"]["verdict"] in ("higher", "lower", "tie")
    status, text, _ = vramlab(*command)
    assert status == 0
    assert "paired comparison with the first policy" in text


def test_decide_mode_says_once_that_it_does_not_preload(vramlab, tmp_path):
    predictor = "optimization.predictor=ewma"
    command = [TRACE, "--config", POOL, "--set", predictor]
    sweeping = [
        "sweep",
        TRACE,
        "--config",
        POOL,
        "--grid",
        predictor,
        "--jobs",
        1,
        "--out",
        tmp_path / "s.parquet",
    ]
    for given in (["replay", *command], ["compare", *command, "--policies", "lru,fifo"], sweeping):
        status, _, err = vramlab(*given, "--mode", "decide")
        assert (status, err.count("decide mode does not preload")) == (0, 1)
    assert "preload" not in vramlab("replay", *command)[2]
    assert "preload" not in vramlab("replay", TRACE, "--config", POOL, "--mode", "decide")[2]


def test_compare_says_where_no_policy_had_to_choose(vramlab):
    everything = ["--set", "zones.flexible.size_mb=2000", "--set", "total_memory_mb=2000"]
    order = ["--set", "serving.order=arrival"]
    said = "everything fits: no policy had to choose"
    for more, expected in (([], False), (everything, True)):
        _, text, _ = vramlab("compare", TRACE, "--config", POOL, "--policies", "lru,fifo", *more, *order)
        assert (said in text) == expected
        optimum = [line for line in text.splitlines() if line.startswith("│ offline optimum")]
        assert any(" 100.0 % │" in line for line in optimum) != expected


@pytest.mark.parametrize(("broken", "expected"), [(("lru",), 0), (("lru", "gdsf"), 1)])
def test_a_sweep_of_which_nothing_is_left_ends_with_status_1(
    vramlab, tmp_path, monkeypatch, broken, expected
):
    replay = sweeping.run

    def failing(case):
        if case.config.scoring.policy in broken:
            raise RuntimeError("by the test")
        return replay(case)

    monkeypatch.setattr(sweeping, "run", failing)
    command = ["sweep", TRACE, "--config", POOL, "--policies", "lru,gdsf", "--mode", "decide", "--jobs", "1"]
    status, _, err = vramlab(*command, "--out", tmp_path / "s.parquet")
    assert status == expected
    assert ("all 2 runs failed" if expected else "1 of 2 runs failed") in err.replace("\n", " ")


@pytest.mark.parametrize("command", [["replay"], ["compare", "--policies", "lru"], ["tune", "--trials", "2"]])
def test_decide_mode_shows_no_latency_as_if_it_had_measured_one(vramlab, tmp_path, command):
    if command[0] == "tune":
        pytest.importorskip("optuna")
        command = [*command, "--out", tmp_path / "tuned.yaml"]
    name, *options = command
    shown = {}
    for mode in ("simulate", "decide"):
        status, shown[mode], _ = vramlab(name, TRACE, "--config", POOL, "--mode", mode, *options)
        assert status == 0
    assert " ms" in shown["simulate"]
    assert " ms" not in shown["decide"]
