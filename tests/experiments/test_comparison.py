"""Comparisons: intervals that hold the figure, verdicts, the warm-up cut for all alike, the right bound."""

from dataclasses import replace

import pytest

from tests.experiments.studying import POOL, ROOT
from vramlab.config.errors import InputError
from vramlab.config.loading import load_inventory
from vramlab.experiments.case import resolve_case
from vramlab.experiments.comparison import Compared, compare, compared
from vramlab.experiments.executors import Ended, execute
from vramlab.experiments.intervals import warmup_of
from vramlab.experiments.optimum import optimum_of
from vramlab.experiments.replays import replays_of
from vramlab.traces.files import read_trace

TRACE = read_trace(ROOT / "traces" / "synthetic_tight.csv.gz").head(6000)
TIGHT = ROOT / "config" / "scenarios" / "tight.yaml"
INVENTORY = load_inventory(ROOT / "config" / "model_config.yaml")


def test_intervals_hold_the_figures_and_a_policy_ties_with_itself():
    result = compare(TRACE, POOL, policies=["lru", "lru", "decayed"], mode="decide", intervals=True)
    for row in result.rows:
        for name in ("hit_rate", "load_cost_s"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name
    first, same, other = (row["versus_first"] for row in result.rows)
    assert first == {}
    assert same["load_cost_s"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "verdict": "tie"}
    lru, decayed = result.rows[0], result.rows[2]
    assert other["hit_rate"]["verdict"] == "higher"
    assert other["load_cost_s"]["verdict"] == "lower"
    assert other["load_cost_s"]["difference"] == pytest.approx(decayed["load_cost_s"] - lru["load_cost_s"])
    assert other["load_cost_s"]["high"] < 0
    assert "versus_first" not in result.frame().columns or result.frame()["versus_first"].isna().all()


def test_the_same_seed_gives_the_same_intervals():
    one, two = (
        compare(TRACE, POOL, policies=["lru", "gdsf"], mode="decide", seed=5, intervals=True)
        for _ in range(2)
    )
    for a, b in zip(one.rows, two.rows, strict=True):
        assert a["load_cost_s_low"] == b["load_cost_s_low"]
        assert a["versus_first"] == b["versus_first"]


def test_the_warm_up_is_cut_for_all_alike():
    plain = compare(TRACE, POOL, policies=["lru", "gdsf"], mode="decide")
    cut = compare(TRACE, POOL, policies=["lru", "gdsf"], mode="decide", skip_warmup=True)
    runs = [replayed.records for replayed in plain.replays]
    assert cut.warmup >= warmup_of(runs) > 0
    for row in cut.rows:
        assert row["requests"] == len(TRACE) - cut.warmup
    assert cut.optimum.requests == len(TRACE) - cut.warmup
    assert cut.optimum.load_cost_s < plain.optimum.load_cost_s


def test_no_gap_is_closed_where_lru_is_at_the_optimum_up_to_rounding():
    optimum = optimum_of(resolve_case(TRACE.head(50), POOL, INVENTORY))
    least_s = optimum.bound.load_cost_s
    for lru_s in (least_s * (1 - 1e-12), least_s, least_s * (1 + 1e-12), least_s * (1 + 1e-7)):
        assert optimum.gap_closed(least_s + 1.0, lru_s) is None
    assert optimum.gap_closed(least_s + 1.0, least_s + 2.0) == pytest.approx(0.5)


@pytest.mark.parametrize("mode", ["decide", "simulate"])
def test_nothing_undercuts_the_bound_where_a_miss_may_load_nothing(mode):
    result = compare(TRACE, TIGHT, policies=["lru", "gdsf", "decayed"], mode=mode)
    assert (result.optimum.admission, result.cost) == ("bypass", "cost_s")
    for row in result.rows:
        assert row["fallbacks"] > 0, "else this test shows nothing"
        assert row["cost_s"] > row["load_cost_s"]
        assert row["cost_s"] >= result.optimum.load_cost_s
        assert row["gap_closed"] <= 1
    compete = compare(TRACE, POOL, policies=["gdsf"], mode="decide", overrides=["admission=compete"])
    assert (compete.optimum.admission, compete.cost) == ("bypass", "load_cost_s")
    forced = compare(TRACE, POOL, policies=["gdsf"], mode="decide")
    assert forced.optimum.admission == "forced"
    assert compete.optimum.load_cost_s <= forced.optimum.load_cost_s


def test_a_price_below_0_is_explained():
    trace = read_trace(ROOT / "traces" / "live_workload.csv")
    small = compare(trace, TIGHT, INVENTORY, policies=["lru"], overrides=["zones.flexible.size_mb=20"])
    (row,) = small.rows
    assert row["price_mean_s"] < 0 < row["fallbacks"]
    assert small.floor["fallbacks"] == 0
    (said,) = [line for line in small.remarks() if "price" in line]
    assert said.startswith("a price below 0 is no gain of having less memory: the CPU answers ")
    assert said.endswith("requests beside the GPU")
    (said,) = compare(
        TRACE, POOL, policies=["lru"]
    ).remarks()  # of the specification's zones, which refuse some
    assert said.endswith(": requests without an answer have no latency")
    assert compare(TRACE, TIGHT, policies=["lru"]).remarks()[0].startswith("your zones")


def test_several_processes_find_what_one_finds(monkeypatch):
    handed_out = []

    def watched(function, shared, tasks, jobs):
        handed_out.append(len(tasks))
        yield from execute(function, shared, tasks, jobs)

    monkeypatch.setattr("vramlab.experiments.replays._ENOUGH", 0)
    monkeypatch.setattr("vramlab.experiments.replays.execute", watched)
    case = resolve_case(TRACE.head(1000), TIGHT, INVENTORY)
    what = Compared(["lru", "gdsf"])
    alone, together = (compared(case, what, jobs=jobs).document() for jobs in (1, 2))
    assert len(handed_out) == 1
    assert handed_out[0] >= 3  # two policies, and what they are held against
    for document in (alone, together):
        for row in (*document["rows"], *document["baselines"], document["floor"]):
            for key in ("wall_s", "requests_per_s"):
                row.pop(key, None)
    assert together == alone


def test_what_a_worker_could_not_do_is_done_here(monkeypatch):
    def killed(function, shared, tasks, jobs):
        yield from (Ended(task, None, "killed") for task in tasks)

    monkeypatch.setattr("vramlab.experiments.replays._ENOUGH", 0)
    monkeypatch.setattr("vramlab.experiments.replays.execute", killed)
    case = resolve_case(TRACE.head(100), TIGHT, INVENTORY)
    other = case.changed(["scoring.policy=lru"])
    with replays_of([case, other], 2) as replayed:
        assert replayed(other).figures["policy"] == "lru"


def test_a_case_that_cannot_be_replayed_is_refused_whoever_replays_it(monkeypatch):
    monkeypatch.setattr("vramlab.experiments.replays._ENOUGH", 0)
    case = resolve_case(TRACE.head(100), TIGHT, INVENTORY)
    good = case.changed(["scoring.policy=lru"])
    bad = replace(case, inventory=dict(list(case.inventory.items())[:1]))
    for jobs in (1, 2):
        with replays_of([good, bad], jobs) as replayed:
            with pytest.raises(InputError, match="expected a model of the inventory"):
                replayed(bad)
            assert replayed(good) is replayed(good)
