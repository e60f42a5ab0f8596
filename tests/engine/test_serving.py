"""The engine's stories, one at a time, under a driver that the test steers by hand."""

import pytest

from tests.engine.hand import HandDriver, settings, spec
from vramlab.engine.effects import Failure
from vramlab.engine.outcomes import Outcome

SMALL = {"a": spec(60), "b": spec(60), "secure": spec(60, cpu_fallback="none")}


def test_a_miss_loads_then_runs_and_the_next_is_a_hit():
    hand = HandDriver(settings(100), SMALL)
    hand.ask(0, "a", 0.0)
    assert hand.under_way == {0: "load on gpu a"}
    hand.end(0, 0.5)
    assert hand.under_way == {0: "infer on gpu a"}
    hand.end(0, 0.6)
    hand.ask(1, "a", 0.7)
    hand.end(1, 0.8)
    assert hand.outcomes() == [Outcome.COLD_START, Outcome.HIT]
    assert hand.recorder.records().finish_s.tolist() == [0.6, 0.8]


def test_a_request_joins_a_load_under_way_and_there_is_never_a_second_one():
    hand = HandDriver(settings(100, "serving.gpu_streams=2"), SMALL)
    hand.ask(0, "a", 0.0)
    hand.ask(1, "a", 0.1)
    assert hand.under_way == {0: "load on gpu a"}
    hand.end(0, 0.5)
    assert hand.under_way == {0: "infer on gpu a", 1: "infer on gpu a"}
    hand.end(1, 0.6)
    hand.end(0, 0.7)
    assert hand.outcomes() == [Outcome.COLD_START, Outcome.WAIT]
    assert len(hand.recorder.loads) == 1


def test_one_stream_runs_one_at_a_time_first_come_first_served():
    hand = HandDriver(settings(100), SMALL)
    hand.ask(0, "a", 0.0)
    hand.end(0, 0.1)
    hand.ask(1, "a", 0.2)
    hand.ask(2, "a", 0.3)
    assert hand.under_way == {0: "infer on gpu a"}
    hand.end(0, 1.0)
    assert hand.under_way == {1: "infer on gpu a"}
    hand.end(1, 2.0)
    assert hand.under_way == {2: "infer on gpu a"}


def test_the_victim_leaves_before_the_load_starts():
    hand = HandDriver(settings(100), SMALL)
    hand.serve_fully("a")
    hand.ask(1, "b", 1.0)
    assert hand.under_way == {1: "unload a"}
    assert hand.held() == 60 * 2**20  # a's bytes; b has a claim on them
    hand.end(1, 1.1)
    assert hand.under_way == {1: "load on gpu b"}
    assert hand.held() == 60 * 2**20  # b's
    assert [(e.model, e.time_s, e.reason) for e in hand.recorder.evictions] == [("a", 1.1, "eviction")]


def test_a_model_in_use_is_not_evicted_and_the_newcomer_takes_the_cpu():
    hand = HandDriver(settings(100), SMALL)
    hand.ask(0, "a", 0.0)
    hand.end(0, 0.1)  # a runs
    hand.ask(1, "b", 0.2)
    assert hand.under_way == {0: "infer on gpu a", 1: "load on cpu b"}
    hand.end(1, 0.3)
    assert hand.under_way[1] == "infer on cpu b"
    hand.end(1, 0.4)
    assert hand.outcomes()[1] is Outcome.FALLBACK
    hand.ask(2, "b", 0.5)  # its CPU session is there now
    assert hand.under_way[2] == "infer on cpu b"


def test_a_model_without_fallback_waits_for_the_release_and_is_decided_again():
    hand = HandDriver(settings(100), SMALL)
    hand.ask(0, "a", 0.0)
    hand.end(0, 0.1)
    hand.ask(1, "secure", 0.2)
    assert hand.under_way == {0: "infer on gpu a"}
    hand.end(0, 0.3)
    assert hand.under_way == {1: "unload a"}
    hand.end(1, 0.4)
    hand.end(1, 0.5)
    hand.end(1, 0.6)
    assert hand.outcomes() == [Outcome.COLD_START, Outcome.COLD_START]


def test_waiting_for_a_release_has_an_end():
    hand = HandDriver(settings(100, "serving.order=arrival", "serving.release_timeout_ms=5000"), SMALL)
    hand.ask(0, "a", 0.0)
    hand.end(0, 0.1)
    hand.ask(1, "secure", 0.2)
    assert hand.timers == [(1, 5.0)]
    hand.time_out_of(1, 5.2)
    assert hand.outcomes()[1] is Outcome.REFUSED
    hand.end(0, 6.0)  # and nobody is left who waits
    assert hand.under_way == {}


def test_a_full_fallback_queue_refuses():
    hand = HandDriver(settings(100, "fallback.fallback_queue_size=1"), SMALL)
    hand.ask(0, "a", 0.0)
    hand.end(0, 0.1)
    for number in (1, 2, 3):  # one runs, one waits, one is too many
        hand.ask(number, "b", 0.2)
    assert hand.outcomes()[3] is Outcome.REFUSED
    hand.end(1, 0.3)
    hand.end(1, 0.4)
    assert hand.under_way[2] == "infer on cpu b"


def test_a_failed_load_gives_its_bytes_back_and_everybody_who_waited_takes_the_cpu():
    hand = HandDriver(settings(100), SMALL)
    hand.ask(0, "a", 0.0)
    hand.ask(1, "a", 0.1)
    hand.fail(0, 0.5, Failure.CORRUPT, "no such luck")
    assert hand.held() == 0
    assert hand.under_way == {0: "load on cpu a"}
    hand.end(0, 0.6)
    hand.end(0, 0.7)
    hand.end(1, 0.8)
    assert hand.outcomes() == [Outcome.FALLBACK, Outcome.FALLBACK]
    assert hand.recorder.loads[0].error == "corrupt: no such luck"


def test_a_failed_load_of_a_model_without_fallback_fails_loudly():
    hand = HandDriver(settings(100), SMALL)
    hand.ask(0, "secure", 0.0)
    hand.fail(0, 0.5, Failure.CORRUPT, "no such luck")
    assert hand.outcomes() == [Outcome.FAILED]
    assert "no such luck" in hand.answers[0].why


def test_a_run_that_raises_fails_its_request_alone():
    hand = HandDriver(settings(100), SMALL)
    hand.ask(0, "a", 0.0)
    hand.end(0, 0.1)
    hand.ask(1, "a", 0.2)
    hand.fail(0, 0.3, Failure.RAISED, "bad input")
    assert hand.outcomes()[0] is Outcome.FAILED
    assert hand.under_way == {1: "infer on gpu a"}
    hand.end(1, 0.4)
    assert hand.outcomes()[1] is Outcome.HIT or hand.outcomes()[1] is Outcome.WAIT
    assert hand.engine.allocator.models["a"].pins == 0


def test_cpu_while_loading_answers_at_once_and_loads_beside():
    hand = HandDriver(settings(100, "serving.on_miss=cpu_while_loading"), SMALL)
    hand.ask(0, "a", 0.0)
    assert sorted(hand.under_way.values()) == ["load on cpu a", "load on gpu a"]
    hand.end(0, 0.1)
    hand.end(0, 0.2)
    assert hand.outcomes() == [Outcome.FALLBACK]
    hand.end("load for 0", 0.5)
    hand.ask(1, "a", 0.6)
    hand.end(1, 0.7)
    assert hand.outcomes()[1] is Outcome.HIT


def test_equal_inputs_are_answered_from_the_result_cache_until_their_time_is_up():
    hand = HandDriver(settings(100, "caching.cache_ttl=10", "caching.enable_result_caching=true"), SMALL)
    hand.ask(0, "a", 0.0, input_key="k")
    hand.end(0, 0.1)
    hand.end(0, 0.2, value="outputs")
    hand.ask(1, "a", 5.0, input_key="k")
    assert (hand.answers[1].outcome, hand.answers[1].outputs) == (Outcome.CACHE_HIT, "outputs")
    hand.ask(2, "a", 6.0, input_key="other")
    hand.end(2, 6.1)
    hand.ask(3, "a", 11.0, input_key="k")  # 10.8 s after it was kept
    assert hand.under_way == {3: "infer on gpu a"}


@pytest.mark.parametrize("channels", [1, 2])
def test_the_load_channel_bounds_loads(channels):
    hand = HandDriver(settings(200, f"serving.load_channels={channels}"), SMALL)
    hand.ask(0, "a", 0.0)
    hand.ask(1, "b", 0.0)
    assert len(hand.under_way) == channels
    hand.end(0, 0.5)
    assert "load on gpu b" in hand.under_way.values()
