"""Traps: what makes a bad setting look good, or a good study mislead. Each is named by the tool."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from vramlab.cli.app import run as command
from vramlab.config.loading import write_config, write_inventory
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.config.units import MIB
from vramlab.experiments.baselines import LRU, SPECIFICATION, one_pool
from vramlab.experiments.case import Case, resolve_case
from vramlab.experiments.comparison import compare
from vramlab.experiments.costs import cost_series
from vramlab.experiments.curves import curve
from vramlab.experiments.optimum import Optimum, costed, judged, optimum_of
from vramlab.experiments.replay import run
from vramlab.experiments.sweep import sweep
from vramlab.experiments.tuning import tune
from vramlab.traces.files import write_trace
from vramlab.traces.trace import Trace

NAMES = ("small", "middle", "other", "large")
MODELS = {
    name: ModelSpec(
        priority=priority, vram_size_mb=size, load_time_ms=size * 10, inference_ms=20, cpu_fallback="none"
    )
    for name, size, priority in zip(
        NAMES, (10, 20, 20, 60), ("high", "medium", "medium", "medium"), strict=True
    )
}


def asked(count=600, seed=0, names=NAMES, rate_per_s=2.0):
    rng = np.random.default_rng(seed)
    return Trace.from_frame(
        pd.DataFrame(
            {
                "time_s": np.cumsum(rng.exponential(1 / rate_per_s, count)),
                "model": rng.choice(
                    names, count, p=np.array([4, 3, 2, 1])[: len(names)] / sum((4, 3, 2, 1)[: len(names)])
                ),
                "requester": rng.choice(["anna", "ben", "carl"], count),
            }
        ),
        "made by hand",
    )


def settings(zones=None, **more):
    zones = zones or {"flexible": 80}
    return VramConfig.model_validate(
        {
            "total_memory_mb": 80,
            "overhead": {"cuda_context_mb": 0, "framework_mb": 0, "buffer_mb": 0},
            "zones": {
                name: {"size_mb": size, "max_models": None, "min_retention_time": 0, "borrowers": []}
                for name, size in zones.items()
            },
            "fallback": {"cpu_fallback_enabled": False},
            "caching": {"enable_result_caching": False},
            "optimization": {"monitor": False},
            **more,
        }
    )


BORDER = {"high_priority": 30, "flexible": 50}
"""Zones in which the large model fits nowhere."""


@pytest.mark.parametrize("mode", ["decide", "simulate"])
def test_a_model_that_fits_nowhere_is_named_and_its_requests_have_their_price(mode):
    case = Case(asked(), settings(BORDER), MODELS, mode=mode)
    result = run(case)
    row = costed(case, result)
    large = int((case.trace.model_codes == case.trace.model_names.index("large")).sum())
    assert row["refused"] == row["unserved"] == large > 0
    assert row["unserved_cost_s"] == pytest.approx(large * (0.6 + 0.02))  # load, and the run on top
    assert row["cost_s"] == pytest.approx(row["load_cost_s"] + row["unserved_cost_s"])
    assert cost_series(case, result.records).sum() == pytest.approx(row["cost_s"])
    said = compare(case.trace, case.config, MODELS, ["lru"], mode).remarks()
    assert f"large fits nowhere (60 MB in zone flexible of 50 MB): its {large:,} requests are refused" in said
    assert any(
        line.startswith(f"{large} requests were refused or failed; each costs its model's") for line in said
    )


def test_the_price_is_a_setting():
    for price, expected in (("2.5", 2.5), ("infeasible", math.inf)):
        case = resolve_case(
            asked(), settings(BORDER), MODELS, [f"study.unserved_price={price}"], mode="decide"
        )
        row = costed(case, run(case))
        assert row["unserved_cost_s"] == pytest.approx(row["refused"] * expected)
    result = compare(asked(), case.config, MODELS, ["lru"], "decide")
    assert result.rows[0]["gap_closed"] is None
    assert "infeasible" in result.rows[0]["gap_reason"]


def test_a_setting_that_wins_by_refusing_does_not_win():
    trace = asked()
    grid = {"zones.flexible.size_mb": [50, 70], "zones.high_priority.size_mb": [10]}
    found = sweep(trace, settings(BORDER), MODELS, grid, mode="decide", jobs=1)
    refusing, serving = found.table.to_dict("records")
    assert refusing["refused"] > 0 == serving["refused"]
    assert refusing["load_cost_s"] < serving["load_cost_s"], "else this is no trap"
    assert refusing["cost_s"] > refusing["load_cost_s"]
    assert (refusing["fits_nowhere"], serving["fits_nowhere"]) == ("large", "")


@pytest.mark.parametrize("objective", ["cost_s", "load_cost_s", "evictions", "cold_starts", "latency_p99_s"])
def test_no_objective_gets_better_by_refusing(objective):
    """Half of the requests refused on purpose, those of the large model, by zones or by a limit."""
    trace = asked()
    refuses = Case(trace, settings(BORDER), MODELS)
    serves = Case(trace, settings({"high_priority": 10, "flexible": 70}), MODELS)
    plain, honest = (
        run(refuses).figures[objective] if objective != "cost_s" else 0,
        judged(refuses, run(refuses)),
    )
    assert honest[objective] > plain
    assert honest["refused"] == run(refuses).figures["refused"]
    if objective in ("latency_p99_s", "load_cost_s"):
        assert plain < judged(serves, run(serves))[objective], "else this is no trap"


def test_tuning_does_not_adopt_what_refuses():
    pytest.importorskip("optuna")
    options = {"mode": "decide", "trials": 6, "over": ("policy",), "policies": ("lru",)}
    options["search"] = ("zones.flexible.size_mb=50,70",)
    start = settings({"high_priority": 10, "flexible": 70})
    for objective in ("cost_s", "load_cost_s"):
        found = tune(asked(1200), start, MODELS, objectives=[objective], require=["unserved=0"], **options)
        assert found.config.zones["flexible"].size_mb == 70
        assert found.validation["refused"] == 0
        assert set(found.trials["feasible"].dropna()) == {True, False}


@pytest.mark.parametrize("policy", ["lru", "gdsf"])
def test_a_curve_prices_what_no_memory_of_that_size_holds(policy):
    case = Case(asked(), settings(), MODELS, mode="decide")
    table = curve(case, policy, [50 * MIB, 110 * MIB])
    large = int((case.trace.model_codes == case.trace.model_names.index("large")).sum())
    assert table["unserved"].tolist() == [large, 0]
    # a load that is missed each time is priced as a load and a run
    assert (table["cost_s"] - table["load_cost_s"]).tolist() == pytest.approx([large * 0.02, 0])
    never = curve(case.changed(["study.unserved_price=infeasible"]), policy, [50 * MIB, 110 * MIB])
    assert np.isinf(never["cost_s"]).tolist() == [True, False]


def test_a_replay_says_what_is_doubtful(tmp_path, capsys):
    write_trace(asked(), tmp_path / "t.csv")
    write_inventory(MODELS, tmp_path / "m.yaml")
    write_config(settings(BORDER), tmp_path / "c.yaml")
    given = [
        str(tmp_path / "t.csv"),
        "--models",
        str(tmp_path / "m.yaml"),
        "--config",
        str(tmp_path / "c.yaml"),
    ]
    assert command(["replay", *given]) == 0
    assert "large fits nowhere (60 MB in zone flexible of 50 MB)" in capsys.readouterr().out
    infeasible = ["--set", "study.unserved_price=infeasible", "--policies", "lru", "--json"]
    assert command(["compare", *given, *infeasible]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["cost_s"], row["gap_closed"]) == (None, None)
    assert "infeasible" in row["gap_reason"]


def test_a_zone_that_nobody_uses_is_named_with_the_name_that_was_meant():
    config = settings({"hihg_priority": 30, "flexible": 50})
    said = compare(asked(names=NAMES[:3]), config, MODELS, ["lru"], "decide").remarks()
    (line,) = (line for line in said if "may lie in zone" in line)
    assert "hihg_priority (did you mean 'high_priority'?): its 30 MB serve nobody" in line
    assert "high, medium and low" not in line
    assert "critical and high and medium and low to flexible" in line


def test_zones_that_bind_where_the_card_does_not_are_said():
    config = settings({"flexible": 80}, total_memory_mb=160)
    said = compare(asked(), config, MODELS, ["lru"], "decide").remarks()
    assert any("the zones bind, not the card: they hold 80 MB of the 160 MB" in line for line in said)
    fits = settings({"flexible": 110}, total_memory_mb=160)
    assert not any("bind" in line for line in compare(asked(), fits, MODELS, ["lru"], "decide").remarks())


def test_a_baseline_stands_outside_the_readers_zones():
    """LRU in bad zones is beaten by anything; LRU in one pool is what a setting has to beat."""
    config = settings({"high_priority": 50, "flexible": 30})
    models = {name: MODELS[name] for name in NAMES[:3]}
    result = compare(asked(names=NAMES[:3]), config, models, ["lru", "gdsf"], "decide")
    pool = run(one_pool(Case(asked(names=NAMES[:3]), config, models, mode="decide"), "lru"))
    (row,) = (row for row in result.baselines if row["baseline"] == LRU)
    assert row["cost_s"] == pool.figures["load_cost_s"]
    assert row["gap_closed"] == 0 or row["gap_reason"]
    assert result.rows[0]["cost_s"] > row["cost_s"]
    assert (result.rows[0]["gap_closed"] or 0) <= 0
    assert [row["baseline"] for row in result.baselines] == [LRU, SPECIFICATION]
    other = compare(asked(names=NAMES[:3]), config, models, ["gdsf", "fifo"], "decide").baselines
    assert [row["baseline"] for row in other] == [LRU, "one pool, gdsf", SPECIFICATION]
    (line,) = (line for line in result.remarks() if line.startswith("your zones cost you"))
    share = result.rows[0]["cost_s"] / row["cost_s"] - 1
    assert f"cost you {100 * share:.1f} % (" in line
    assert "one pool under lru" in line
    (line,) = (line for line in result.remarks() if "ignores" in line)
    assert f"size_mb in flexible ({result.rows[0]['binding']['size_mb in flexible']:,}" in line


def test_a_gap_above_one_is_an_error_with_its_reason():
    case = Case(asked(), settings(), MODELS, mode="decide")
    optimum = optimum_of(case)
    row = costed(case, run(case))
    below = row | {"cost_s": optimum.bound.load_cost_s / 2}
    with pytest.raises(RuntimeError, match="lower bound"):
        optimum.gap(below, row["cost_s"])
    reordered = optimum.gap(below | {"mode": "simulate"}, row["cost_s"])
    assert reordered["gap_closed"] is None
    assert "another order" in reordered["gap_reason"]


def test_the_optimum_may_refuse_at_the_same_price_as_runs_do():
    case = Case(asked(), settings(BORDER), MODELS, mode="decide")
    row = costed(case, run(case))
    assert optimum_of(case, 0, True).bound.load_cost_s <= row["cost_s"]
    cheap = case.changed(["study.unserved_price=0.001"])
    optimum = optimum_of(cheap, 0, True)
    assert isinstance(optimum, Optimum)
    assert optimum.bound.load_cost_s <= 0.001 * len(case.trace) + 1e-9


def test_a_winner_by_chance_among_200_trials_is_called_a_tie():
    """Requests without any pattern: no setting can be better, yet one of 200 trials is, on what they see."""
    pytest.importorskip("optuna")
    rng = np.random.default_rng(5)
    names = [f"m{number}" for number in range(8)]
    models = {
        name: ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=100, cpu_fallback="none")
        for name in names
    }
    frame = pd.DataFrame({"time_s": np.arange(1600.0), "model": rng.choice(names, 1600)})
    trace = Trace.from_frame(frame, "noise")
    found = tune(trace, settings({"flexible": 40}, total_memory_mb=40), models, trials=200, mode="decide",
                 over=("policy", "weights", "half_life"), seed=1)  # fmt: skip
    assert found.choice["searched"].min() < found.choice["searched"][0], "else this is no trap"
    versus = found.validation["versus_before"]
    assert versus["low"] <= 0 <= versus["high"]
    assert any("may have won by chance" in line or "nothing changed" in line for line in found.remarks())
    assert "against before" in found.comment(trace)


def test_what_is_asked_for_and_kept_nowhere_is_said():
    pytest.importorskip("optuna")
    found = tune(asked(), settings(), MODELS, trials=4, over=("policy",), require=["latency_p99_s<=0.0001"])
    assert any(line.startswith("NOT KEPT: latency p99 at most 0.0001") for line in found.remarks())


def test_the_least_memory_that_keeps_a_latency_is_found():
    pytest.importorskip("optuna")
    found = tune(
        asked(1500), settings({"flexible": 160}, total_memory_mb=160), MODELS, trials=40, over=("memory",),
        objectives=["card_bytes"], require=["unserved=0", "latency_p99_s<=0.7"],
    )  # fmt: skip
    assert found.config.total_memory_mb < 160
    assert found.config.total_memory_mb >= 60, "the large model has to fit"
    assert found.validation["unserved"] == 0
    assert found.config.zones["flexible"].size_mb == pytest.approx(found.config.total_memory_mb, abs=0.01)
    assert found.study is not None
    assert len(found.study.trials) == 40


def test_requesters_fare_as_worked_out_by_hand():
    case = Case(asked(), settings(), MODELS)
    result = run(case)
    frame = pd.DataFrame({"who": case.trace.requesters, "latency_s": result.records.latency_s})
    means = frame.groupby("who")["latency_s"].mean()
    row = costed(case, result)
    assert row["requester_worst_s"] == pytest.approx(means.max())
    assert row["requester_fairness"] == pytest.approx(means.sum() ** 2 / (3 * (means**2).sum()))
    late = result.records.from_request(300)
    assert costed(case, result, 300)["requester_worst_s"] == pytest.approx(
        pd.Series(late.latency_s).groupby(case.trace.requesters[300:]).mean().max()
    )
