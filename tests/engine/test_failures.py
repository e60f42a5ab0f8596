"""What goes wrong, and what becomes of it (DESIGN, "Failure"): each in the journal, and nothing leaks."""

import pytest

from tests.engine.steered import SteeredDriver, settings, spec
from vramlab.engine.effects import Failure
from vramlab.engine.outcomes import Outcome

MIB = 2**20
MODELS = {"a": spec(60), "b": spec(30), "secure": spec(60, cpu_fallback="none")}


def a_driver(*overrides, capacity_mb=100):
    return SteeredDriver(settings(capacity_mb, *overrides), MODELS)


def test_a_footprint_that_was_too_small_grows_and_the_load_is_tried_once_more():
    driver = a_driver()
    driver.serve_fully("b", 0.0)
    number = driver.ask("a", 1.0)
    driver.fails(number, 1.1, Failure.OUT_OF_MEMORY, "no room for 90 MB")
    assert driver.under_way == {number: "readmemory"}
    driver.end(number, 1.2, driver.reading(70))  # more than its 60 MB: so it needs more than 70
    assert driver.engine.allocator.models["a"].bytes == 85 * MIB  # 70 and a quarter of 60
    assert driver.under_way == {number: "unload b"}  # which was not in the way before
    driver.end(number, 1.3)
    driver.end(number, 1.4)
    driver.end(number, 1.5)
    assert driver.outcome(number) is Outcome.COLD_START
    assert ("grow", "a") in driver.whats("action")
    assert [(load.model, load.error) for load in driver.recorder.loads[1:]] == [
        ("a", "out of memory: no room for 90 MB"),
        ("a", ""),
    ]
    driver.check_at_rest()


def test_a_second_failure_is_the_last_and_the_cpu_answers():
    driver = a_driver()
    number = driver.ask("a", 0.0)
    for now_s in (0.1, 0.3):
        driver.fails(number, now_s, Failure.OUT_OF_MEMORY)
        driver.end(number, now_s + 0.1, driver.reading(100))
    assert driver.engine.allocator.models["a"].bytes == 100 * MIB  # it has been tried with all there is
    assert driver.under_way == {number: "load on cpu a"}
    driver.end(number, 0.5)
    driver.end(number, 0.6)
    assert driver.outcome(number) is Outcome.FALLBACK
    assert driver.engine.allocator.device.held == 0
    driver.check_at_rest()


def test_a_device_that_others_have_taken_memory_from_keeps_footprints_and_has_a_smaller_budget():
    driver = a_driver()
    driver.serve_fully("b", 0.0)
    number = driver.ask("a", 1.0)
    driver.fails(number, 1.1, Failure.OUT_OF_MEMORY)
    driver.end(number, 1.2, driver.reading(50))  # 70 should be available beside b
    allocator = driver.engine.allocator
    assert allocator.models["a"].bytes == 60 * MIB
    assert allocator.device.cap == 80 * MIB
    assert driver.under_way == {number: "unload b"}
    for now_s in (1.3, 1.4, 1.5):
        driver.end(number, now_s)
    assert driver.outcome(number) is Outcome.COLD_START
    assert ("budget", None) in driver.whats("action")
    driver.check_at_rest()


def test_those_who_joined_a_load_that_ran_out_of_memory_join_its_second_try():
    driver = a_driver()
    first, second = driver.ask("a", 0.0), driver.ask("a", 0.1)
    driver.fails(first, 0.2, Failure.OUT_OF_MEMORY)
    third = driver.ask("a", 0.25)  # while the device is being read
    driver.end(first, 0.3, driver.reading(100))
    assert driver.under_way == {first: "load on gpu a"}
    driver.end(first, 0.4)
    for number in (first, second, third):
        driver.end(number, 0.5)
    assert [driver.outcome(number) for number in (first, second, third)] == [
        Outcome.COLD_START,
        Outcome.WAIT,
        Outcome.WAIT,
    ]
    driver.check_at_rest()


def test_a_model_that_may_not_use_the_cpu_waits_for_models_in_use_before_its_second_try():
    driver = a_driver("serving.gpu_streams=2")
    runs = driver.ask("b", 0.0)
    driver.end(runs, 0.1)  # b runs
    number = driver.ask("secure", 0.2)
    driver.fails(number, 0.3, Failure.OUT_OF_MEMORY)
    driver.end(number, 0.4, driver.reading(50))  # 20 MB are gone: b has to leave
    assert driver.waiting == [number]
    driver.end(runs, 0.5)
    assert driver.under_way == {number: "unload b"}
    for now_s in (0.6, 0.7, 0.8):
        driver.end(number, now_s)
    assert driver.outcome(number) is Outcome.COLD_START
    driver.check_at_rest()


def test_a_device_that_cannot_be_read_is_taken_at_its_word():
    driver = a_driver()
    number = driver.ask("a", 0.0)
    driver.fails(number, 0.1, Failure.OUT_OF_MEMORY)
    driver.fails(number, 0.2, Failure.RAISED, "NVML is gone")
    assert driver.engine.allocator.models["a"].bytes == 75 * MIB
    driver.end(number, 0.3)
    driver.end(number, 0.4)
    assert driver.outcome(number) is Outcome.COLD_START
    driver.check_at_rest()


@pytest.mark.parametrize("kind", [Failure.CORRUPT, Failure.TIMED_OUT, Failure.RAISED])
@pytest.mark.parametrize(("model", "outcome"), [("a", Outcome.FALLBACK), ("secure", Outcome.FAILED)])
def test_other_failures_of_a_load_are_not_tried_again(kind, model, outcome):
    driver = a_driver()
    number = driver.ask(model, 0.0)
    driver.fails(number, 0.5, kind, "no such luck")
    while number in driver.tasks:
        driver.end(number, 1.0)
    assert driver.outcome(number) is outcome
    assert "no such luck" in driver.answers[number].why
    driver.check_at_rest()


def test_a_run_out_of_memory_makes_room_and_is_answered_by_the_cpu():
    driver = a_driver()
    driver.serve_fully("b", 0.0)
    number = driver.ask("a", 1.0)
    driver.end(number, 1.1)
    driver.fails(number, 1.2, Failure.OUT_OF_MEMORY)
    driver.end(number, 1.3, driver.reading(10))
    assert driver.under_way == {number: "unload b"}
    driver.end(number, 1.4)
    assert driver.under_way == {number: "load on cpu a"}
    driver.end(number, 1.5)
    driver.end(number, 1.6)
    assert driver.outcome(number) is Outcome.FALLBACK
    assert driver.engine.allocator.models["a"].bytes == 60 * MIB  # as long as it is there
    driver.begin("unload 1", 2.0, "a")
    driver.end("unload 1", 2.1)
    assert driver.engine.allocator.models["a"].bytes == 75 * MIB
    driver.check_at_rest()


@pytest.mark.parametrize("again", [True, False])
def test_a_run_out_of_memory_without_the_cpu_is_run_once_more(again):
    driver = a_driver()
    number = driver.ask("secure", 0.0)
    driver.end(number, 0.1)
    driver.fails(number, 0.2, Failure.OUT_OF_MEMORY)
    driver.end(number, 0.3, driver.reading(40))
    assert driver.under_way == {number: "infer on gpu secure"}
    if again:
        driver.end(number, 0.4)
    else:
        driver.fails(number, 0.4, Failure.OUT_OF_MEMORY)
    assert driver.outcome(number) is (Outcome.COLD_START if again else Outcome.FAILED)
    driver.check_at_rest()


def test_a_run_that_raises_fails_its_request_alone():
    driver = a_driver()
    first, second = driver.ask("a", 0.0), driver.ask("a", 0.1)
    driver.end(first, 0.2)
    driver.fails(first, 0.3, Failure.RAISED, "bad input")
    driver.end(second, 0.4)
    assert (driver.outcome(first), driver.outcome(second)) == (Outcome.FAILED, Outcome.WAIT)
    driver.check_at_rest()


def test_an_unload_that_fails_has_unloaded():
    driver = a_driver()
    driver.serve_fully("a", 0.0)
    number = driver.ask("secure", 1.0)
    driver.fails(number, 1.1, Failure.RAISED, "the session was closed twice")
    assert driver.under_way == {number: "load on gpu secure"}
    driver.end(number, 1.2)
    driver.end(number, 1.3)
    driver.check_at_rest()


def test_what_is_always_loaded_is_tried_twice():
    driver = SteeredDriver(settings(100), {"a": spec(30, always_loaded=True)})
    driver.begin("start", 0.0)
    driver.fails("start", 0.1, Failure.OUT_OF_MEMORY)
    driver.end("start", 0.2, driver.reading(100))
    assert driver.under_way == {"start": "load on gpu a"}
    driver.fails("start", 0.3, Failure.OUT_OF_MEMORY)
    driver.end("start", 0.4, driver.reading(100))
    driver.check_at_rest()
