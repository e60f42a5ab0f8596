"""The line: first come, first served; or affinity with a bound."""

import numpy as np
import pytest

from tests.engine.hand import HandDriver, settings, spec
from tests.simulation.workloads import plain_cache, workload
from vramlab.engine.journal import Journal
from vramlab.engine.records import Outcome
from vramlab.simulation.driver import simulate

MODELS = {name: spec(60, cpu_fallback="none") for name in "ab"} | {
    "critical": spec(10, priority="critical", always_loaded=True)
}


def blocked(*overrides):
    """A model in use, and one request that waits for it."""
    hand = HandDriver(settings(100, *overrides), MODELS)
    hand.begin("start", 0.0)
    hand.end("start", 0.0)
    hand.ask(0, "a", 0.0)
    hand.end(0, 0.1)
    hand.ask(1, "b", 0.2)
    assert hand.under_way == {0: "infer on gpu a"}
    return hand


def test_nobody_uses_the_model_again_that_an_earlier_request_waits_for():
    hand = blocked("serving.gpu_streams=2")
    hand.ask(2, "a", 0.3)
    assert hand.under_way == {0: "infer on gpu a"}
    hand.end(0, 0.4)
    assert hand.under_way == {1: "unload a"}
    for time_s in (0.5, 0.6, 0.7):
        hand.end(1, time_s)
    assert hand.under_way == {2: "unload b"}
    assert hand.outcomes()[1] is Outcome.COLD_START


def test_a_model_that_never_leaves_can_be_used_while_others_wait():
    hand = blocked("serving.gpu_streams=2")
    hand.ask(2, "critical", 0.3)
    assert hand.under_way[2] == "infer on gpu critical"


def test_affinity_lets_a_bounded_number_pass():
    hand = blocked("serving.gpu_streams=9", "serving.queue=affinity", "serving.max_skips=2")
    for number in (2, 3, 4):
        hand.ask(number, "a", 0.3)
    assert sorted(hand.under_way) == [0, 2, 3]
    for number in (0, 2, 3):
        hand.end(number, 0.4)
    assert hand.under_way == {1: "unload a"}


def test_who_gives_up_makes_way():
    hand = blocked("serving.gpu_streams=2", "serving.release_timeout_ms=1000")
    hand.ask(2, "a", 0.3)
    hand.time_out_of(1, 1.2)
    assert hand.outcomes()[1] is Outcome.REFUSED
    assert hand.under_way == {0: "infer on gpu a", 2: "infer on gpu a"}


@pytest.mark.parametrize("max_skips", [1, 3])
def test_no_request_is_overtaken_more_often_than_the_setting_says(max_skips):
    trace, inventory, capacity_mb = workload(3, requests=4000, rate_per_s=20, exponent=1.2, share=0.3)
    config = plain_cache(
        capacity_mb,
        "serving.gpu_streams=4",
        "serving.queue=affinity",
        f"serving.max_skips={max_skips}",
        "serving.release_timeout_ms=10000000",
    )
    journal = Journal()
    simulate(trace, config, inventory, journal=journal)
    waiting: dict[int, int] = {}  # number of a request that waits -> how often it was overtaken
    most = 0
    for line in journal:
        if line.event == "decision" and line.what == "wait":
            waiting[line.task] = 0
        elif line.event == "arrival":
            arrived = line.task
            waiting.setdefault(arrived, 0)
        elif line.event == "decision":
            waiting.pop(line.task, None)
            for number in waiting:
                if number < line.task:
                    waiting[number] += 1
                    most = max(most, waiting[number])
    assert most == max_skips


def test_affinity_saves_loads_under_pressure():
    trace, inventory, capacity_mb = workload(4, requests=4000, rate_per_s=20, exponent=1.0, share=0.3)
    loads = {}
    for queue in ("fifo", "affinity"):
        config = plain_cache(
            capacity_mb,
            "serving.gpu_streams=4",
            f"serving.queue={queue}",
            "serving.release_timeout_ms=10000000",
        )
        records = simulate(trace, config, inventory)
        assert not np.isin(records.outcomes, [Outcome.REFUSED, Outcome.FAILED]).any()
        loads[queue] = len(records.loads)
    assert loads["affinity"] < loads["fifo"]
