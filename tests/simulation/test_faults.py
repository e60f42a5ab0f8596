"""Fault plans: by hand, against what the engine promises, and as a scenario file says them."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.workloads import models, plain_cache, workload
from vramlab.analysis.metrics import metrics
from vramlab.config.errors import InputError
from vramlab.config.faults import FaultPlan, check_faults
from vramlab.config.loading import load_scenario
from vramlab.config.schema import ModelSpec
from vramlab.engine.effects import Target
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.comparison import compare
from vramlab.experiments.replay import replay
from vramlab.experiments.sweep import sweep
from vramlab.runs.lockstep import lockstep
from vramlab.simulation.faults import Pace
from vramlab.simulation.link import Link, LinkTimes
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace

HIT, COLD, WAIT, FALLBACK, REFUSED = (
    Outcome.HIT, Outcome.COLD_START, Outcome.WAIT, Outcome.FALLBACK, Outcome.REFUSED
)  # fmt: skip


def trace_of(*rows):
    return Trace.from_frame(pd.DataFrame(rows, columns=["time_s", "model"]))


def spec(size_mb=10, **values):
    given = {"priority": "medium", "vram_size_mb": size_mb, "load_time_ms": 1000, "inference_ms": 100}
    return ModelSpec(**given | values)


def run(trace, inventory, faults, *overrides, capacity_mb=100, cpu=True, seed=0, times=None):
    """(records, journal) under a plan given as a scenario file gives it."""
    config = plain_cache(
        capacity_mb,
        f"fallback.cpu_fallback_enabled={str(cpu).lower()}",
        "optimization.monitor=false",
        *overrides,
    )
    plan = FaultPlan.model_validate(faults)
    journal = Journal()
    rng = np.random.default_rng(seed)
    records = simulate(trace, config, inventory, times, journal, plan, rng)
    assert lockstep(list(journal), config, inventory).differences == []
    return records, journal


def outcomes(records):
    return [Outcome(outcome) for outcome in records.outcomes]


# -- the pace of work ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_s", "work_s", "end_s"),
    [
        (0, 5, 5),  # before
        (20, 5, 25),  # after
        (8, 4, 16),  # two seconds before, then 2 at a third: 10 + 6
        (10, 2, 16),  # all of it inside
        (14, 4, 22),  # two of it inside, by 20
        (0, 0, 0),
    ],
)
def test_pace_by_hand(start_s, work_s, end_s):
    pace = Pace([(10, 20, 1 / 3)])
    assert pace.end_s(start_s, work_s) == pytest.approx(end_s)


def test_a_standstill_is_waited_for_and_overlapping_periods_multiply():
    pace = Pace([(10, 20, 0.0), (15, 30, 0.5)])
    assert pace.end_s(9, 3) == 24  # 1 before, nothing until 20, 2 at half speed
    assert pace.end_s(12, 0) == 12
    assert pace.end_s(30, 1) == 31
    pace = Pace([(0, 10, 0.5), (0, 10, 0.5)])
    assert pace.end_s(0, 1) == 4


PERIODS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 20), st.sampled_from([0.0, 0.25, 0.5, 2.0])).map(
        lambda period: (period[0], period[0] + period[1], period[2])
    ),
    max_size=4,
)


@given(PERIODS, st.integers(0, 60), st.integers(0, 30))
def test_pace_agrees_with_small_steps(periods, start_s, work_s):
    now_s, left_s, step_s = float(start_s), float(work_s), 1 / 64
    while left_s > 1e-9:
        speed = np.prod([speed for a, b, speed in periods if a <= now_s < b])
        left_s -= speed * step_s
        now_s += step_s
    assert Pace(periods).end_s(start_s, work_s) == pytest.approx(now_s, abs=step_s)


# -- loads that fail -------------------------------------------------------------------------------------


def test_the_first_load_from_a_given_time_on_fails_and_the_cpu_answers():
    inventory = {"a": spec(cpu_inference_ms=300), "b": spec()}
    trace = trace_of((0, "a"), (5, "b"), (10, "b"), (20, "b"))
    records, _ = run(trace, inventory, {"load_failures": [{"at_s": [3, 500]}]})
    assert outcomes(records) == [COLD, FALLBACK, COLD, HIT]
    assert [load.error for load in records.loads] == ["", "corrupt: by the fault plan", ""]
    assert records.faults["load_failures"] == 1
    assert (
        records.faults["load_failures_unused"] == 1
    )  # nothing was loaded after 500 s, and the report says so
    # the failed load took its second like any other
    assert records.loads[1].end_s - records.loads[1].start_s == 1


def test_a_model_that_may_not_run_on_the_cpu_fails_and_says_why():
    inventory = {"a": spec(cpu_fallback="none")}
    plan = {"load_failures": [{"at_s": [0], "why": "raised"}]}
    records, _ = run(trace_of((0, "a"), (9, "a")), inventory, plan)
    assert outcomes(records) == [Outcome.FAILED, COLD]
    config = plain_cache(100)
    lost = metrics(records, config, inventory)["lost"]
    assert lost == {"refused": {}, "failed": {"raised": 1}, "failed_loads": {"raised": 1}}


def test_only_the_named_models_and_targets_fail():
    inventory = {"a": spec(), "b": spec()}
    trace = trace_of((0, "a"), (5, "b"), (10, "a"))
    plan = {"load_failures": [{"probability": 1, "models": ["a"], "until_s": 9}]}
    records, _ = run(trace, inventory, plan)
    assert outcomes(records) == [FALLBACK, COLD, COLD]
    plan = {"load_failures": [{"probability": 1, "target": "cpu"}, {"probability": 1, "models": ["a"]}]}
    records, _ = run(trace, inventory, plan)
    assert outcomes(records) == [Outcome.FAILED, COLD, Outcome.FAILED]  # neither GPU nor CPU is to be had
    assert records.faults["load_failures"] == 4


def test_out_of_memory_by_plan_is_tried_once_more():
    inventory = {"a": spec()}
    plan = {"load_failures": [{"at_s": [0], "why": "out of memory"}]}
    records, _ = run(trace_of((0, "a")), inventory, plan, cpu=False)
    assert outcomes(records) == [COLD]
    assert [bool(load.error) for load in records.loads] == [True, False]


def test_probability_is_that_and_seeded():
    trace, inventory, capacity_mb = workload(requests=4000, share=0.3)
    plan = {"load_failures": [{"probability": 0.2}]}
    one, _ = run(trace, inventory, plan, capacity_mb=capacity_mb, seed=1)
    again, _ = run(trace, inventory, plan, capacity_mb=capacity_mb, seed=1)
    other, _ = run(trace, inventory, plan, capacity_mb=capacity_mb, seed=2)
    assert one.loads == again.loads
    assert one.loads != other.loads
    failed = sum(bool(load.error) for load in one.loads)
    expected, count = 0.2, len(one.loads)
    assert abs(failed - expected * count) < 4 * np.sqrt(count * expected * (1 - expected))
    assert failed == one.faults["load_failures"] > 100


def test_what_is_always_loaded_is_spared():
    inventory = {"a": spec(priority="critical", always_loaded=True, cpu_fallback="none")}
    records, _ = run(trace_of((0, "a")), inventory, {"load_failures": [{"probability": 1, "target": "any"}]})
    assert outcomes(records) == [HIT]


# -- slow and stalled ------------------------------------------------------------------------------------


def test_a_slow_disk_stretches_the_part_of_a_load_that_lies_in_it():
    trace = trace_of((9.5, "a"), (100, "a"))
    plan = {"slow_disk": [{"from_s": 10, "until_s": 50, "factor": 4}]}
    records, _ = run(trace, {"a": spec()}, plan, cpu=False)
    load = records.loads[0]
    assert (load.start_s, load.end_s) == (9.5, 12)  # half of it before, half at a quarter of the speed
    assert records.finish_s.tolist() == pytest.approx([12.1, 100.1])  # runs are none of the disk's business
    assert (records.faults["loads_slowed"], records.faults["load_delay_s"]) == (1, 1.5)


def test_a_load_that_takes_too_long_has_failed():
    plan = {"slow_disk": [{"from_s": 0, "until_s": 50, "factor": 100}]}
    records, _ = run(trace_of((0, "a")), {"a": spec()}, plan, "serving.load_timeout_ms=5000", cpu=False)
    assert records.loads[0].end_s == 5
    assert records.loads[0].error.startswith("timed out")
    assert records.faults["loads_timed_out"] == 1


def test_a_cpu_that_stalls_holds_up_its_queue_and_a_full_queue_refuses():
    inventory = {"a": spec(200, cpu_load_time_ms=0, cpu_inference_ms=1000)}  # too large for the GPU
    trace = trace_of(*((second, "a") for second in range(8)))
    plan = {"cpu_stalls": [{"from_s": 1.5, "until_s": 10}]}
    records, _ = run(trace, inventory, plan, "fallback.fallback_queue_size=2")
    # the run of second 1 is caught halfway; two wait behind it, the rest is refused
    assert outcomes(records) == [FALLBACK] * 4 + [REFUSED] * 4
    assert records.finish_s[:4].tolist() == [1, 10.5, 11.5, 12.5]
    lost = metrics(records, plain_cache(100), inventory)["lost"]
    assert lost["refused"] == {"the fallback queue is full": 4}
    assert records.faults["runs_stalled"] == 1
    assert records.faults["run_delay_s"] == pytest.approx(8.5)


def test_a_plan_on_a_machine_that_effects_share():
    inventory = {"a": spec(), "b": spec()}
    config = plain_cache(100)
    link = Link(latency_s=0.0, bytes_per_s=10 * 2**20)  # a second per load when alone
    machine = SharedMachine(LinkTimes(config, inventory, link), one_link=True)
    plan = {
        "slow_disk": [{"from_s": 0, "until_s": 100, "factor": 2}],
        "load_failures": [{"at_s": [0], "models": ["b"]}],
    }
    trace = trace_of((0, "a"), (0, "b"))
    records, _ = run(trace, inventory, plan, "serving.load_channels=2", times=machine)
    ends = {load.model: (load.end_s, load.error) for load in records.loads}
    assert ends["a"] == (4, "")  # twice the work, and half of the link
    assert ends["b"] == (4, "corrupt: by the fault plan")


# -- a device that shrinks -------------------------------------------------------------------------------


def test_a_load_for_which_the_device_has_no_room_runs_out_of_memory_and_the_engine_adapts():
    inventory = {"a": spec(60), "b": spec(60)}
    trace = trace_of((0, "a"), (20, "b"), (30, "b"))
    plan = {"device_shrinks": [{"from_s": 10, "until_s": 100, "by_mb": 50}]}
    records, _ = run(trace, inventory, plan, capacity_mb=130, cpu=False)
    # 130 - 50 = 80 MB are there: b does not fit beside a, and the ledger learns it; then a leaves
    assert outcomes(records) == [COLD, COLD, HIT]
    assert [(load.model, load.error.partition(":")[0]) for load in records.loads] == [
        ("a", ""), ("b", "out of memory"), ("b", "")
    ]  # fmt: skip
    assert [eviction.model for eviction in records.evictions] == ["a"]
    assert records.faults["loads_out_of_memory"] == 1


def shrinking(**more):
    """Five models of 20 MB that just fit, asked for in turn; 50 of 100 MB are taken from 100 s to 200 s."""
    inventory = {name: spec(20, load_time_ms=10, inference_ms=1) for name in "abcde"}
    trace = trace_of(*((second, "abcde"[second % 5]) for second in range(300)))
    plan = {"device_shrinks": [{"from_s": 100.5, "until_s": 200.5, "by_mb": 50}]}
    overrides = ["optimization.monitor=true", "optimization.pressure_available_mb=0"]
    return trace, inventory, plan, overrides


def test_the_monitor_makes_room_when_the_device_shrinks_and_uses_it_all_when_it_recovers():
    trace, inventory, plan, overrides = shrinking()
    records, _ = run(trace, inventory, plan, *overrides, capacity_mb=100)
    held_mb = [(row.time_s, sum(row.held_bytes) / 2**20) for row in records.usage]

    def held_at(time_s):
        return [held for row_s, held in held_mb if row_s <= time_s][-1]

    assert held_at(99) == 100
    assert max(held for row_s, held in held_mb if 106 < row_s < 200) <= 50
    assert held_at(299) == 100
    pressure = [e for e in records.evictions if e.reason == "pressure"]
    assert pressure
    assert 100.5 <= pressure[0].time_s <= 106  # within one interval of the monitor
    answered = np.isin(records.outcomes, (HIT, COLD, WAIT, FALLBACK))
    assert answered.all()  # nothing is lost: who is not there is loaded again, or runs on the CPU


def test_a_device_that_nobody_shrinks_is_read_as_without_a_plan():
    trace, inventory, _, overrides = shrinking()
    stall = {"cpu_stalls": [{"from_s": 1000, "until_s": 1001}]}
    records, _ = run(trace, inventory, stall, *overrides, capacity_mb=70)
    config = plain_cache(70, "fallback.cpu_fallback_enabled=true", *overrides)
    plain = simulate(trace, config, inventory)
    assert plain.outcomes.tolist() == records.outcomes.tolist()
    assert plain.finish_s.tolist() == records.finish_s.tolist()
    assert plain.loads == records.loads


# -- as a scenario says it -------------------------------------------------------------------------------

SCENARIO = """
scenario: {models: models.yaml}
vram_management: {}
faults:
  load_failures: [{probability: 0.9}]
  slow_disk: [{from_s: 0, until_s: 10, factor: 3}]
"""
MODELS = "models: {all: {a: {priority: medium, vram_size_mb: 5, load_time_ms: 100}}}"


@pytest.fixture
def scenario(tmp_path):
    (tmp_path / "models.yaml").write_text(MODELS)
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO)
    return path


def test_a_scenario_file_brings_its_faults_into_a_replay(scenario):
    trace = trace_of((0, "a"), (5, "a"), (20, "a"))
    result = replay(trace, scenario)
    assert result.figures["faults"]["loads_slowed"] >= 1
    assert result.figures["faults_sha256"]
    assert sum(result.figures["lost"]["failed_loads"].values()) == result.figures["failed_loads"]
    json.dumps(result.figures)
    assert replay(trace, scenario, mode="decide").figures["faults"] == {}
    calm = replay(trace, scenario, faults=FaultPlan())
    assert calm.figures["faults_sha256"] is None
    assert calm.figures["failed_loads"] == 0


def test_comparisons_and_sweeps_go_through_the_same_faults(scenario):
    trace = trace_of((0, "a"), (5, "a"), (20, "a"))
    alone = replay(trace, scenario, overrides=["scoring.policy=lru"]).figures
    assert alone["failed_loads"]
    row = compare(trace, scenario, policies=["lru"]).rows[0]
    assert (row["faults"], row["lost"]) == (alone["faults"], alone["lost"])
    swept = sweep(trace, scenario, policies=["lru"], jobs=1)
    assert swept.table["failed_loads"].tolist() == [alone["failed_loads"]]
    assert swept.manifest["faults_sha256"] == alone["faults_sha256"]


def test_what_a_scenario_does_not_say_it_has_from_its_base(scenario):
    above = scenario.with_name("above.yaml")
    above.write_text("scenario: {extends: scenario.yaml}\nfaults: {load_failures: []}\n")
    plan = load_scenario(above).faults
    assert plan.load_failures == ()
    assert plan.slow_disk[0].factor == 3


@pytest.mark.parametrize(
    ("faults", "parts"),
    [
        ("{load_failure: []}", ["faults.load_failure", "'load_failures'"]),
        ("{load_failures: [{probability: 1.5}]}", ["load_failures.0.probability", "1.5"]),
        ("{load_failures: [{}]}", ["load_failures.0", "either a probability above 0 or times"]),
        ("{load_failures: [{at_s: [1], until_s: 5}]}", ["load_failures.0", "probability only"]),
        ("{load_failures: [{at_s: [.nan]}]}", ["at_s.0", "finite"]),
        ("{load_failures: [{at_s: [1], why: bored}]}", ["why", "bored", "corrupt"]),
        ("{slow_disk: [{from_s: 5, until_s: 5, factor: 2}]}", ["slow_disk.0", "until_s after from_s"]),
        ("{slow_disk: [{from_s: 5, factor: 2}]}", ["slow_disk.0.until_s", "required"]),
        ("{slow_disk: [{from_s: 1, until_s: 5, factor: 0}]}", ["factor", "0", "greater than 0"]),
        ("{device_shrinks: [{from_s: 1, until_s: 5, by_mb: -1}]}", ["by_mb", "-1"]),
        ("[1]", ["faults", "a mapping"]),
    ],
)
def test_bad_plans_name_file_and_key(tmp_path, faults, parts):
    path = tmp_path / "scenario.yaml"
    path.write_text(f"vram_management: {{}}\nfaults: {faults}\n")
    with pytest.raises(InputError) as error:
        load_scenario(path)
    for part in ["scenario.yaml", *parts]:
        assert part in str(error.value)


def test_models_of_a_plan_must_be_there():
    plan = FaultPlan.model_validate({"load_failures": [{"at_s": [1], "models": ["arcfac"]}]})
    with pytest.raises(InputError, match=r"faults.load_failures.0.models.*'arcfac'.*'arcface'"):
        check_faults(plan, models(np.random.default_rng(0), 3) | {"arcface": spec()}, "scenario.yaml")


def test_targets_are_those_of_the_engine():
    assert {target.value for target in Target} == {"gpu", "cpu"}
