"""The line of those who wait under `arrival`: first come, first served."""

from tests.engine.hand import HandDriver, settings, spec
from vramlab.engine.outcomes import Outcome

MODELS = {name: spec(60, cpu_fallback="none") for name in "ab"} | {
    "critical": spec(10, priority="critical", always_loaded=True)
}


def blocked(*overrides):
    """A model in use, and one request that waits for it."""
    hand = HandDriver(settings(100, "serving.order=arrival", *overrides), MODELS)
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


def test_who_gives_up_makes_way():
    hand = blocked("serving.gpu_streams=2", "serving.release_timeout_ms=1000")
    hand.ask(2, "a", 0.3)
    hand.time_out_of(1, 1.2)
    assert hand.outcomes()[1] is Outcome.REFUSED
    assert hand.under_way == {0: "infer on gpu a", 2: "infer on gpu a"}
