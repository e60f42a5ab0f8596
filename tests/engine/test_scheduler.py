"""Deciding late: who is next, who leaves for it, and that nobody is passed over for too long."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.fairness import passed_over
from tests.engine.hand import HandDriver, settings, spec
from tests.engine.steered import SteeredDriver
from tests.simulation.workloads import plain_cache, workload
from vramlab.allocator.policies.own import PolicyError
from vramlab.config.errors import InputError
from vramlab.engine.effects import Failure, MemoryReading
from vramlab.engine.journal import Journal
from vramlab.engine.orders import ORDERS, make_order
from vramlab.engine.outcomes import Outcome
from vramlab.runs.lockstep import lockstep
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace

GPU_ONLY = {name: spec(60, cpu_fallback="none") for name in "abcd"}
LATE = ["fifo", "affinity", "backlog", "tests.engine.orders:latest", "tests.engine.orders:nobody"]


def a_hand(capacity_mb, *overrides, models=GPU_ONLY):
    return HandDriver(settings(capacity_mb, *overrides), models)


def resident(hand, *names):
    for name in names:
        hand.serve_fully(name)
    return len(names)


def test_who_can_run_goes_before_who_needs_a_load_and_the_load_runs_beside():
    hand = a_hand(130)
    first = resident(hand, "a")
    hand.ask(first, "a", 1.0)
    hand.ask(first + 1, "b", 1.1)
    hand.ask(first + 2, "a", 1.2)
    assert hand.under_way == {first: "infer on gpu a", first + 1: "load on gpu b"}
    hand.end(first, 1.3)
    assert hand.under_way == {first + 2: "infer on gpu a", first + 1: "load on gpu b"}
    hand.end(first + 1, 1.4)
    hand.end(first + 2, 1.5)
    assert hand.under_way == {first + 1: "infer on gpu b"}


def test_short_runs_go_first_by_five_times_what_they_are_shorter():
    models = {"a": spec(60, inference_ms=1000)}
    hand = a_hand(100, models=models)
    number = resident(hand, "a")
    hand.ask(number, "a", 10.0)  # runs
    hand.ask(number + 1, "a", 10.1, items=2)  # its turn counts from 10.1 + 5 x 2 s
    hand.ask(number + 2, "a", 14.0)  # from 14 + 5 x 1 s
    hand.ask(number + 3, "a", 15.2)  # from 15.2 + 5 x 1 s, which is later than 20.1
    for running, now_s in ((number, 16.0), (number + 2, 17.0), (number + 1, 19.0)):
        assert list(hand.under_way) == [running]
        hand.end(running, now_s)
    assert list(hand.under_way) == [number + 3]


def test_a_model_that_others_wait_for_is_no_victim_until_somebody_is_due():
    hand = a_hand(130, "serving.max_wait_s=10")
    number = resident(hand, "a", "b")
    hand.ask(number, "a", 1.0)  # runs
    hand.ask(number + 1, "b", 1.1)  # waits for the stream, so b stays
    hand.ask(number + 2, "c", 1.2)  # no room for c
    assert hand.under_way == {number: "infer on gpu a"}
    hand.ask(number + 3, "d", 11.15)  # something happens, and b is due: for the stream, which is taken
    assert hand.under_way == {number: "infer on gpu a"}
    hand.ask(number + 4, "d", 11.25)  # now c is due too, but b is wanted before it
    assert hand.under_way == {number: "infer on gpu a"}
    hand.end(number, 12.0)
    assert hand.under_way == {number + 1: "infer on gpu b", number + 2: "unload a"}


def test_for_who_is_due_the_model_leaves_that_is_needed_farthest_in_the_queue():
    hand = a_hand(190, "serving.max_wait_s=10")
    number = resident(hand, "a", "b", "c")
    hand.ask(number, "a", 1.0)  # runs
    hand.ask(number + 1, "c", 1.1)
    hand.ask(number + 2, "b", 1.2)
    hand.ask(number + 3, "d", 1.3, priority="high")  # due after half of the time
    assert hand.under_way == {number: "infer on gpu a"}
    hand.ask(number + 4, "c", 6.35)
    assert hand.under_way == {number: "infer on gpu a", number + 3: "unload b"}


def test_who_is_due_gets_the_room_of_models_in_use_before_others_use_them_again():
    hand = a_hand(100, "serving.max_wait_s=10", "serving.gpu_streams=2")
    number = resident(hand, "a")
    hand.ask(number, "a", 1.0)
    hand.ask(number + 1, "b", 1.1)
    hand.ask(number + 2, "a", 2.0)  # a second stream: goes before b, which is not due
    hand.end(number, 3.0)
    hand.ask(number + 3, "a", 11.2)  # b is due: nobody uses a any more
    assert hand.under_way == {number + 2: "infer on gpu a"}
    hand.end(number + 2, 12.0)
    assert hand.under_way == {number + 1: "unload a"}


def test_critical_before_high_before_the_rest_and_ageing():
    priorities = {"a": "medium", "b": "critical", "c": "high", "d": "low"}
    models = {name: spec(10, priority=priority) for name, priority in priorities.items()}
    hand = a_hand(400, "serving.max_wait_s=10", "admission_by_priority.low=null", models=models)
    number = resident(hand, *"abcd")
    hand.ask(number, "a", 1.0)  # runs
    for place, name in enumerate("adcb", 1):
        hand.ask(number + place, name, 1.0 + place / 10)
    order = []
    for now_s in range(2, 7):
        (running,) = hand.under_way
        order.append(running - number)
        hand.end(running, float(now_s))
    assert order == [0, 4, 3, 1, 2]
    # a medium request that has waited for 10 s goes before a critical one that comes then
    number += 5
    hand.ask(number, "a", 20.0)
    hand.ask(number + 1, "a", 20.1)
    hand.ask(number + 2, "b", 30.2)
    hand.end(number, 31.0)
    assert list(hand.under_way) == [number + 1]


def test_strict_order_starts_nobody_before_an_earlier_one():
    hand = a_hand(130, "serving.order=fifo", "serving.gpu_streams=2")
    number = resident(hand, "a")
    hand.ask(number, "b", 1.0)
    hand.ask(number + 1, "a", 1.1)
    assert hand.under_way == {number: "load on gpu b"}
    hand.end(number, 2.0)
    assert hand.under_way == {number: "infer on gpu b", number + 1: "infer on gpu a"}


def test_affinity_lets_the_same_request_be_passed_so_many_times():
    overrides = ("serving.order=affinity", "serving.max_skips=2", "serving.gpu_streams=9")
    hand = a_hand(100, *overrides)
    number = resident(hand, "a")
    hand.ask(number, "a", 1.0)
    hand.ask(number + 1, "b", 1.1)
    for place in (2, 3, 4):
        hand.ask(number + place, "a", 1.2)
    assert sorted(hand.under_way) == [number, number + 2, number + 3]
    for running in (number, number + 2, number + 3):
        hand.end(running, 2.0)
    assert hand.under_way == {number + 1: "unload a"}


def test_a_load_that_fails_is_tried_once_more_and_then_fails_all_who_wait_for_it():
    hand = a_hand(100)
    hand.ask(0, "a", 0.0)
    hand.ask(1, "a", 0.1)
    hand.fail(0, 0.2, Failure.OUT_OF_MEMORY)
    hand.end(0, 0.3, MemoryReading(200 * 2**20, 0))
    assert hand.under_way == {0: "load on gpu a"}
    hand.fail(0, 0.4, Failure.CORRUPT)
    assert hand.outcomes() == [Outcome.FAILED, Outcome.FAILED]


# -- the bound, whatever happens -------------------------------------------------------------------------


@given(data=st.data())
def test_nobody_who_is_due_is_passed_over_whatever_happens(data):
    """Any arrivals, ends, failures and cancellations under any order, read off the journal afterwards."""
    choice = st.sampled_from
    kinds = {
        "a": (60, "medium"),
        "b": (30, "low"),
        "c": (40, "high"),
        "d": (25, "critical"),
        "e": (50, "medium"),
    }
    inventory = {
        name: spec(size, priority=priority, cpu_fallback="none", zone="flexible")
        for name, (size, priority) in kinds.items()
    }
    max_wait_s = data.draw(choice([0.1, 1.0, 3.0]))
    config = settings(
        data.draw(choice([75, 100, 130])),
        f"serving.order={data.draw(choice(LATE))}",
        f"serving.max_wait_s={max_wait_s}",
        f"serving.gpu_streams={data.draw(choice([1, 2, 3]))}",
        f"serving.load_channels={data.draw(choice([1, 2]))}",
    )
    driver = SteeredDriver(config, inventory)
    now_s = 0.0
    for _ in range(data.draw(st.integers(10, 60))):
        now_s += 0.25
        deeds = ["ask", "ask"] + (["end", "end", "end"] if driver.under_way else [])
        if driver.waiting:
            deeds.append("cancel")
        deed = data.draw(choice(deeds))
        if deed == "ask":
            more = {"priority": data.draw(choice([None, None, "critical", "high", "low"]))}
            driver.ask(data.draw(choice(list(inventory))), now_s, **more)
        elif deed == "cancel":
            driver.give_up(data.draw(choice(driver.waiting)), now_s)
        else:
            driver.end(data.draw(choice(list(driver.under_way))), now_s)
        driver.check_now()
    while driver.tasks:
        now_s += 0.25
        assert driver.under_way, f"nobody can go on: {driver.waiting}"
        driver.end(data.draw(choice(list(driver.under_way))), now_s)
    driver.check_at_rest()
    assert passed_over(driver.journal, config, inventory) == []


@pytest.mark.parametrize("order", LATE)
def test_journals_of_simulations_keep_the_bound_and_are_followed_in_lockstep(order):
    trace, inventory, capacity_mb = workload(5, requests=1500, rate_per_s=25, exponent=1.2, share=0.25)
    rng = np.random.default_rng(0)
    priorities = rng.choice(["critical", "high", "medium", "low"], len(trace), p=[0.05, 0.15, 0.6, 0.2])
    trace = Trace.from_frame(trace.frame.assign(priority=priorities), trace.source)
    config = plain_cache(
        capacity_mb, f"serving.order={order}", "serving.gpu_streams=3", "serving.max_wait_s=4"
    )
    journal = Journal()
    records = simulate(trace, config, inventory, journal=journal)
    lines = list(journal)
    assert not np.isnan(records.latency_s).any()
    assert passed_over(lines, config, inventory) == []
    report = lockstep(lines, config, inventory)
    assert not report.differences, str(report.differences[0])


def test_the_check_of_the_bound_can_fail():
    """Under the specification's own flow there is no such bound, and the check says so."""
    trace, inventory, capacity_mb = workload(5, requests=1500, rate_per_s=25, exponent=1.2, share=0.25)
    config = plain_cache(
        capacity_mb,
        "serving.order=arrival",
        "serving.gpu_streams=3",
        "serving.max_wait_s=1",
        "serving.release_timeout_ms=10000000",
    )
    journal = Journal()
    simulate(trace, config, inventory, journal=journal)
    assert passed_over(journal, config, inventory)


# -- orders of one's own ---------------------------------------------------------------------------------


def test_an_order_is_a_function_and_a_line(monkeypatch):
    monkeypatch.setitem(ORDERS, "lifo", lambda waiting, now_s: waiting[-1])
    hand = a_hand(100, "serving.order=lifo")
    number = resident(hand, "a")
    for place in range(3):
        hand.ask(number + place, "a", 1.0)
    hand.end(number, 2.0)
    assert list(hand.under_way) == [number + 2]


def test_a_registered_order_is_simulated_like_ours(monkeypatch):
    monkeypatch.setitem(ORDERS, "lifo", lambda waiting, now_s: waiting[-1])
    config = settings(100, "serving.order=lifo", "optimization.monitor=false")
    inventory = {"a": spec(60, inference_ms=1000)}
    records = simulate(
        Trace.from_frame(pd.DataFrame({"time_s": [0.0, 0.1, 0.2, 0.3], "model": "a"})), config, inventory
    )
    first_s = records.finish_s[0]
    assert (records.finish_s - first_s).round(6).tolist() == [0, 3, 2, 1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("backlock", "did you mean 'backlog'"),
        ("tests.engine.orders:none_such", "none_such"),
        ("no.such.module:order", "No module named 'no'"),
        ("tests.engine.orders:PICKED", "which is int, expected a function"),
    ],
)
def test_an_order_that_cannot_be_had_is_one_clear_line(name, said):
    with pytest.raises(InputError, match=said):
        make_order(name)


def test_an_order_that_picks_who_cannot_run_or_raises_is_one_clear_line():
    trace, inventory, capacity_mb = workload(5, requests=50, rate_per_s=25)
    for name, said in (("gone", "cannot run as it does not wait"), ("raises", "KeyError.*orders.py, line")):
        config = plain_cache(capacity_mb, f"serving.order=tests.engine.orders:{name}")
        with pytest.raises(PolicyError, match=said):
            simulate(trace, config, inventory)


# -- what a step costs -----------------------------------------------------------------------------------


def calls_of_a_step(backlog, order, models):
    """Calls of functions, of Python and C alike, during one arrival and one end of a run."""
    names = [f"m{number}" for number in range(models)]
    inventory = {name: spec(10, cpu_fallback="none") for name in names}
    hand = a_hand(55, f"serving.order={order}", models=inventory)
    resident(hand, *names[:5])
    number = len(names[:5])
    for place in range(backlog):
        hand.ask(number + place, names[place % models], 10.0 + place / 1e6)
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    (running,) = [name for name, effect in hand.under_way.items() if effect.startswith("infer")]
    sys.setprofile(profile)
    try:
        hand.ask(number + backlog, names[3], 20.0)
        hand.end(running, 20.1)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("order", ["fifo", "affinity", "backlog"])
@pytest.mark.parametrize("models", [10, 2000])
def test_ten_thousand_waiting_requests_cost_a_step_no_more_than_ten(order, models):
    assert calls_of_a_step(10_000, order, models) <= 3 * calls_of_a_step(10, order, models)
