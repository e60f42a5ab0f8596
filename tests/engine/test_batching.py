"""Requests that wait for one model run as one: who joins, what each is answered, and what if it fails."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.fairness import passed_over
from tests.engine.hand import settings, spec
from tests.engine.steered import SteeredDriver
from tests.simulation.workloads import plain_cache, workload
from vramlab.config.errors import InputError
from vramlab.config.faults import FaultPlan
from vramlab.config.loading import check_fit, load_config
from vramlab.engine.cache import Kept
from vramlab.engine.effects import Failure, Infer
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.verification import _failures_of
from vramlab.runs.lockstep import lockstep
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace

SAFE = {"splits": True, "batch_size": 4}
MODELS = {
    "a": spec(30, inference_ms=1000, **SAFE),
    "b": spec(30, inference_ms=1000, **SAFE),
    "whole": spec(30, inference_ms=1000, batch_size=4),
    "g": spec(30, inference_ms=1000, cpu_fallback="none", **SAFE),
}


def a_driver(*overrides, resident=("a",), models=MODELS):
    driver = SteeredDriver(settings(130, "serving.batching=true", *overrides), models)
    for name in resident:
        driver.serve_fully(name, 0.0)
    return driver


def running(driver):
    """Each run under way: by whom, with whom, of how many items."""
    effects = {name: driver.tasks[name].effect for name in driver.under_way}
    return {name: (*effect.joined, effect.items) for name, effect in effects.items() if type(effect) is Infer}


def test_those_who_wait_for_one_model_run_as_one_in_the_sequence_of_their_turns():
    driver = a_driver()
    alone = driver.ask("a", 1.0)
    assert running(driver) == {alone: (1,)}
    two = driver.ask("a", 1.1, items=2)  # its turn counts from 1.1 + 5 x 2 s
    first = driver.ask("a", 1.2)  # from 1.2 + 5 x 1 s, so it goes first
    second = driver.ask("a", 1.3)
    last = driver.ask("a", 1.4)  # no room is left for it: 1 + 1 + 1 + 2 items
    driver.end(alone, 2.0)
    assert running(driver) == {first: (second, last, 3)}  # two items more would be five
    driver.end(first, 3.5)
    assert running(driver) == {two: (2,)}
    driver.end(two, 5.0)
    finished_s = driver.recorder.records().finish_s
    assert finished_s[[alone, first, second, last, two]].tolist() == [2.0, 3.5, 3.5, 3.5, 5.0]
    assert all(driver.outcome(number) is Outcome.HIT for number in (first, second, last, two))
    driver.check_at_rest()


def test_the_first_that_does_not_fit_ends_the_batch():
    driver = a_driver("serving.order=fifo")
    alone = driver.ask("a", 1.0)
    numbers = [driver.ask("a", 1.1, items=items) for items in (1, 4, 1)]
    driver.end(alone, 2.0)
    assert running(driver) == {numbers[0]: (1,)}  # the third would pass the second
    driver.end(numbers[0], 3.0)
    assert running(driver) == {numbers[1]: (4,)}


def test_who_waits_for_a_load_runs_with_those_who_joined_it():
    driver = a_driver(resident=())
    loads, *others = (driver.ask("g", 1.0) for _ in range(3))
    driver.end(loads, 2.0)
    assert running(driver) == {loads: (*others, 3)}
    driver.end(loads, 3.0)
    assert [driver.outcome(number).name for number in (loads, *others)] == ["COLD_START", "WAIT", "WAIT"]
    driver.check_at_rest()


def test_models_that_were_not_shown_to_split_are_left_alone():
    driver = a_driver(resident=("whole",))
    alone, first, _ = (driver.ask("whole", 1.0) for _ in range(3))
    driver.end(alone, 2.0)
    assert running(driver) == {first: (1,)}


def test_nobody_is_joined_past_a_request_that_is_due():
    driver = a_driver("serving.max_wait_s=1", resident=("a", "b"))
    alone = driver.ask("a", 10.0)
    early, due, late = driver.ask("a", 10.1), driver.ask("b", 10.2), driver.ask("a", 10.3)
    driver.end(alone, 12.0)
    assert running(driver) == {early: (1,)}
    driver.end(early, 13.0)
    assert running(driver) == {due: (1,)}
    driver.end(due, 14.0)
    assert running(driver) == {late: (1,)}


def test_each_is_told_its_own_answer_and_the_cache_keeps_those_with_a_key():
    driver = a_driver("caching.enable_result_caching=true")
    alone = driver.ask("a", 1.0)
    plain, keyed = driver.ask("a", 1.1), driver.ask("a", 1.2, input_key="k")
    driver.end(alone, 2.0)
    kept = Kept("second", 8)
    driver.end(plain, 3.0, {plain: "first", keyed: kept})
    assert driver.answers[plain].outputs == "first"
    assert driver.answers[keyed].outputs is kept
    again = driver.ask("a", 3.1, input_key="k")
    assert driver.answers[again] == (Outcome.CACHE_HIT, kept, "")
    (end,) = [line for line in driver.journal if line.event == "end" and line.detail]
    assert end.detail == {"joined": [keyed], "answer_bytes": {str(keyed): 8}}
    driver.check_at_rest()


def joined_run(driver):
    """A run for three, and its requests."""
    alone, *numbers = (driver.ask("a", 1.0) for _ in range(4))
    driver.end(alone, 2.0)
    assert running(driver) == {numbers[0]: (*numbers[1:], 3)}
    return numbers


def test_a_joined_run_that_fails_is_tried_request_by_request():
    driver = a_driver()
    first, second, third = joined_run(driver)
    later = driver.ask("a", 2.5)
    driver.fails(first, 3.0, Failure.RAISED, "bad input")
    for number, failure in ((first, None), (second, "bad input"), (third, None)):
        assert running(driver) == {number: (1,)}  # those who failed with others are joined no more
        if failure:
            driver.fails(number, 4.0, Failure.RAISED, failure)
        else:
            driver.end(number, 4.0)
    assert driver.outcome(second) is Outcome.FAILED
    assert driver.answers[second].why == "raised: bad input"
    assert [driver.outcome(number) for number in (first, third)] == [Outcome.HIT] * 2
    driver.end(later, 5.0)
    driver.check_at_rest()


def test_after_a_joined_run_without_memory_half_as_many_items_are_joined():
    driver = a_driver()
    first, *others = joined_run(driver)
    driver.fails(first, 3.0, Failure.OUT_OF_MEMORY)
    assert running(driver) == {first: (1,)}
    numbers = [driver.ask("a", 3.1) for _ in range(3)]
    for number in (first, *others):
        driver.end(number, 4.0)
    assert running(driver) == {numbers[0]: (1,)}  # half of three is one
    for number in numbers:
        driver.end(number, 5.0)
    driver.check_at_rest()


def test_a_request_that_is_cancelled_leaves_its_batch_and_holds_up_nobody():
    driver = a_driver()
    first, second, third = joined_run(driver)
    driver.give_up(second, 2.1)
    assert driver.outcome(second) is Outcome.CANCELLED
    driver.give_up(first, 2.2)  # its run goes on for the third
    driver.end(first, 3.0, {first: 1, third: 3})
    assert driver.answers[third].outputs == 3
    assert driver.answers[first].outputs == 1
    driver.check_at_rest()


def test_if_the_first_is_cancelled_before_the_run_begins_the_others_run_without_it():
    driver = a_driver(resident=())
    loads, second, third = (driver.ask("g", 1.0) for _ in range(3))
    driver.give_up(loads, 1.5)  # nothing can be begun for it any more, and its load goes on for the others
    driver.end(loads, 2.0)
    assert driver.outcome(loads) is Outcome.CANCELLED
    assert running(driver) == {second: (third, 2)}
    driver.end(second, 3.0)
    driver.check_at_rest()


def test_if_the_first_is_cancelled_when_its_run_has_failed_the_others_are_tried():
    driver = a_driver()
    first, second, third = joined_run(driver)
    driver.give_up(first, 2.5)
    driver.fails(first, 3.0, Failure.RAISED)
    assert driver.outcome(first) is Outcome.CANCELLED
    for number in (second, third):
        assert running(driver) == {number: (1,)}
        driver.end(number, 4.0)
    driver.check_at_rest()


@pytest.mark.parametrize(
    ("overrides", "models", "said"),
    [
        (["serving.batching=true"], {"whole": MODELS["whole"]}, "splits: true"),
        (["serving.batching=true"], {"a": spec(30, splits=True)}, "batch_size above 1"),
        (["serving.batching=true", "serving.order=arrival"], MODELS, "decides late, as serving.batching"),
        (["serving.batching=perhaps"], MODELS, "batching"),
    ],
)
def test_what_cannot_be_joined_is_one_clear_line(overrides, models, said):
    with pytest.raises(InputError, match=said) as caught:
        check_fit(load_config(None, overrides), models, "config.yaml", "models.yaml")
    assert "\n" not in str(caught.value)


@given(
    seed=st.integers(0, 1000),
    order=st.sampled_from(["fifo", "affinity", "backlog", "tests.engine.orders:latest"]),
    streams=st.integers(1, 3),
    max_wait_s=st.sampled_from([1, 5, 300]),
    rate_per_s=st.sampled_from([10.0, 60.0]),
)
def test_the_bound_holds_and_the_journal_is_followed(seed, order, streams, max_wait_s, rate_per_s):
    trace, inventory, capacity_mb = workload(
        seed, requests=300, count=12, rate_per_s=rate_per_s, share=0.4, inference_ms=60
    )
    rng = np.random.default_rng(seed)
    for name, model in inventory.items():
        joins = {"splits": bool(rng.random() < 0.7), "batch_size": int(rng.integers(2, 9))}
        inventory[name] = model.model_copy(update=joins)
    priorities = rng.choice([None, "high", "critical"], len(trace), p=[0.8, 0.15, 0.05])
    frame = trace.frame.assign(items=rng.integers(1, 4, len(trace)), priority=priorities)
    trace = Trace.from_frame(frame, trace.source)
    config = plain_cache(
        capacity_mb,
        "serving.batching=true",
        f"serving.order={order}",
        f"serving.gpu_streams={streams}",
        f"serving.max_wait_s={max_wait_s}",
    )
    journal = Journal()
    records = simulate(trace, config, inventory, journal=journal)
    lines = list(journal)
    runs = [line for line in lines if line.event == "start" and line.what == "infer on gpu"]
    served = [number for run in runs for number in (run.task, *(run.detail or {}).get("joined", ()))]
    assert sorted(served) == list(range(len(trace)))  # each is run once
    items = frame["items"].tolist()
    for run in runs:
        joined = (run.detail or {}).get("joined", ())
        model = inventory[run.model]
        assert not joined or model.splits
        assert not joined or sum(items[number] for number in (run.task, *joined)) <= model.batch_size
    if order != "tests.engine.orders:latest":
        assert not passed_over(lines, config, inventory)
    assert not np.isnan(records.finish_s).any()
    assert lockstep(lines, config, inventory).differences == []


def test_a_request_that_fails_in_simulation_fails_the_run_that_it_joins_and_then_alone():
    frame = pd.DataFrame({"time_s": [0.0, 0.1, 0.2, 0.3], "model": "a"})
    config = settings(100, "serving.batching=true", "optimization.monitor=false")
    plan, journal = FaultPlan.model_validate({"run_failures": {"requests": [2]}}), Journal()
    records = simulate(Trace.from_frame(frame), config, MODELS, journal=journal, faults=plan)
    assert [Outcome(outcome) is Outcome.FAILED for outcome in records.outcomes] == [False, False, True, False]
    failed = [line for line in journal if line.event == "fail"]
    assert [line.detail.get("joined") for line in failed] == [[2, 3], None]
    assert _failures_of(journal).run_failures.requests == (2,)
