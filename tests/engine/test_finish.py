"""The CPU where it would be done sooner (`fallback.when: earliest_finish`)."""

import pytest

from tests.engine.hand import HandDriver, settings, spec
from vramlab.engine.outcomes import Outcome

TIMES = {"load_time_ms": 1000, "inference_ms": 100, "cpu_inference_ms": 400, "cpu_load_time_ms": 50}
MODELS = {"a": spec(60, **TIMES), "b": spec(60, **TIMES), "secure": spec(30, cpu_fallback="none", **TIMES)}


def a_hand(*overrides):
    return HandDriver(settings(130, "fallback.when=earliest_finish", *overrides), MODELS)


def test_by_hand():
    hand = a_hand()
    finish = hand.engine.desk.decider._finish
    a = hand.engine.allocator.models["a"]
    # nothing is under way: load and run on the GPU, session and run on the CPU
    assert finish.on_gpu_s(a, 1, 0.0) == pytest.approx(1.0 + 0.1)
    assert finish.on_cpu_s(a, 1) == pytest.approx(0.05 + 0.4)
    assert finish.on_gpu_s(a, 5, 0.0) == pytest.approx(1.5)
    assert finish.on_cpu_s(a, 5) == pytest.approx(2.05)
    hand.ask(0, "a", 0.0)
    assert hand.under_way == {0: "load on cpu a"}
    # the CPU has 0.4 s to do, so one item more is done sooner there still; five are not
    assert finish.on_cpu_s(a, 1) == pytest.approx(0.4 + 0.05 + 0.4)
    hand.ask(1, "a", 0.1, items=5)
    assert hand.under_way == {0: "load on cpu a", 1: "load on gpu a"}
    # the load ends at 1.1, the five items wait for it
    assert finish.on_gpu_s(a, 1, 0.6) == pytest.approx(max(0.5, 0.5) + 0.1)


def test_a_model_that_is_there_runs_where_it_is_unless_the_line_is_long():
    hand = a_hand("serving.gpu_streams=1")
    hand.ask(0, "a", 0.0, items=20)
    hand.end(0, 1.0)
    assert hand.under_way == {0: "infer on gpu a"}  # 2 s
    hand.ask(1, "a", 2.9)  # 0.1 s are left
    hand.end(0, 3.0)
    assert hand.under_way == {1: "infer on gpu a"}
    hand.ask(2, "a", 3.0, items=8)
    hand.ask(3, "a", 3.0)  # 0.9 s wait on the GPU
    assert hand.under_way[3] == "load on cpu a"
    hand.end(1, 3.1)
    for now_s in (3.2, 3.3):
        hand.end(3, now_s)
    assert hand.outcomes()[3] is Outcome.FALLBACK


def test_a_security_critical_model_never_runs_on_the_cpu():
    hand = a_hand()
    hand.ask(0, "secure", 0.0)
    assert hand.under_way == {0: "load on gpu secure"}


def test_a_full_fallback_queue_leaves_the_gpu():
    hand = a_hand("fallback.fallback_queue_size=0")
    hand.ask(0, "a", 0.0)
    hand.ask(1, "b", 0.0)
    assert hand.under_way == {0: "load on cpu a", 1: "load on gpu b"}
