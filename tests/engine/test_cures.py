"""Each kind of failed run has its own cure, in the journal, and nothing leaks."""

import pytest

from tests.engine.steered import SteeredDriver, settings, spec
from vramlab.engine.effects import Failure
from vramlab.engine.outcomes import Outcome

MIB = 2**20
MODELS = {"a": spec(40), "b": spec(30), "secure": spec(40, cpu_fallback="none")}


def a_driver(*overrides, capacity_mb=100):
    return SteeredDriver(settings(capacity_mb, *overrides), MODELS)


def failed_run(driver, model, kind, lacking_mb=None, now_s=1.0):
    """Ask for a model that is loaded and whose run fails."""
    number = driver.ask(model, now_s)
    while driver.under_way[number] != f"infer on gpu {model}":
        driver.end(number, now_s)
    lacking = None if lacking_mb is None else int(lacking_mb * MIB)
    driver.fail(driver.tasks[number], now_s + 0.1, kind, "as the driver says", lacking)
    return number


# -- its own limit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tries", [1, 2])
def test_a_run_at_its_own_limit_is_tried_again_in_a_shrunk_arena_and_nobody_leaves(tries):
    driver = a_driver()
    driver.serve_fully("b", 0.0)
    number = failed_run(driver, "a", Failure.OWN_LIMIT, 5)
    for step in range(tries):
        assert driver.under_way == {number: "infer on gpu, shrinking a"}
        if step < tries - 1:
            driver.fail(driver.tasks[number], 1.2, Failure.OWN_LIMIT, "still", 5 * MIB)
    driver.end(number, 1.3)
    assert driver.outcome(number) is Outcome.COLD_START
    assert driver.whats("action") == [("shrink", "a")]
    assert {
        name for name, model in driver.engine.allocator.models.items() if model.state.value == "resident"
    } == {
        "a",
        "b",
    }
    driver.check_at_rest()


def test_if_that_does_not_do_it_is_loaded_with_a_larger_limit_into_free_room():
    driver = a_driver()
    driver.serve_fully("b", 0.0)
    number = failed_run(driver, "a", Failure.OWN_LIMIT, 5)
    for now_s in (1.2, 1.3):
        driver.fail(driver.tasks[number], now_s, Failure.OWN_LIMIT, "still", 5 * MIB)
    assert driver.under_way == {number: "unload a"}
    driver.end(number, 1.4)
    assert driver.under_way == {number: "load on gpu a"}
    assert driver.tasks[number].effect.size_bytes == 50 * MIB  # a quarter more, which is more than 5 MB
    driver.end(number, 1.5)
    driver.end(number, 1.6)
    assert driver.outcome(number) is Outcome.COLD_START
    assert driver.whats("action") == [("shrink", "a"), ("grow", "a")]
    assert [(e.model, e.reason) for e in driver.recorder.evictions] == [("a", "larger limit")]
    driver.check_at_rest()


@pytest.mark.parametrize("model", ["a", "secure"])
def test_without_free_room_nobody_is_evicted_for_it_unless_it_may_run_nowhere_else(model):
    driver = a_driver(capacity_mb=75)
    driver.serve_fully("b", 0.0)
    number = failed_run(driver, model, Failure.OWN_LIMIT, 20)
    for now_s in (1.2, 1.3):
        driver.fail(driver.tasks[number], now_s, Failure.OWN_LIMIT, "still", 20 * MIB)
    driver.end(number, 1.4)
    if model == "a":
        assert driver.under_way == {number: "load on cpu a"}
        driver.end(number, 1.5)
        driver.end(number, 1.6)
        assert driver.outcome(number) is Outcome.FALLBACK
        assert [e.model for e in driver.recorder.evictions] == ["a"]
    else:  # it is a model of 60 MB by now, and is served as one
        assert driver.under_way == {number: "unload b"}
        for now_s in (1.5, 1.6, 1.7):
            driver.end(number, now_s)
        assert driver.outcome(number) is Outcome.COLD_START
    driver.check_at_rest()


def test_a_limit_that_can_never_be_large_enough_ends():
    driver = a_driver("serving.order=arrival")
    number = failed_run(driver, "secure", Failure.OWN_LIMIT, 30)
    now_s = 2.0
    while number in driver.tasks:
        now_s += 0.1
        if driver.under_way[number].startswith("infer"):
            driver.fail(driver.tasks[number], now_s, Failure.OWN_LIMIT, "never", 30 * MIB)
        else:
            driver.end(number, now_s)
    assert driver.outcome(number) is Outcome.FAILED
    assert "never" in driver.answers[number].why
    assert driver.engine.allocator.models["secure"].bytes == 100 * MIB
    driver.begin("unload 1", 9.0, "secure")
    if "unload 1" in driver.tasks:
        driver.end("unload 1", 9.1)
    driver.check_at_rest()


def test_who_is_cancelled_while_it_is_cured_leaves_nothing_behind():
    steps = 0
    while True:
        driver = a_driver()
        number = failed_run(driver, "a", Failure.OWN_LIMIT, 5)
        for step in range(steps):
            if number not in driver.tasks:
                driver.check_at_rest()
                assert step > 4
                return
            if "shrinking" in driver.under_way[number]:
                driver.fail(driver.tasks[number], 2 + step, Failure.OWN_LIMIT, "still")
            else:
                driver.end(number, 2 + step)
        if number in driver.tasks:
            driver.give_up(number, 50.0)
        while number in driver.tasks:
            driver.end(number, 51.0)
        while "load for 0" in driver.tasks:
            driver.end("load for 0", 52.0)
        driver.check_at_rest()
        steps += 1


def test_what_all_share_is_full_as_a_device_is():
    driver = SteeredDriver(settings(100, "workspace=shared"), MODELS)
    driver.serve_fully("b", 0.0)
    number = failed_run(driver, "a", Failure.OWN_LIMIT, 5)
    for now_s in (1.2, 1.3):
        driver.fail(driver.tasks[number], now_s, Failure.OWN_LIMIT, "still", 5 * MIB)
    assert driver.under_way == {number: "readmemory"}
    driver.end(number, 1.4, driver.reading(30))
    assert driver.under_way == {number: "unload b"}
    driver.end(number, 1.5)
    driver.end(number, 1.6)
    driver.end(number, 1.7)
    assert driver.outcome(number) is Outcome.FALLBACK
    assert driver.engine.allocator.models["a"].bytes == 40 * MIB
    driver.check_at_rest()


# -- a full device -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacking_mb", "gone"), [(1, {"b"}), (30, {"b"}), (31, {"b", "c"}), (60, {"b", "c"})]
)
def test_a_full_device_loses_what_is_lacking_and_no_more(lacking_mb, gone):
    models = {"b": spec(30), "c": spec(30), "d": spec(30), "secure": spec(40, cpu_fallback="none")}
    driver = SteeredDriver(settings(130), models)
    for now_s, name in enumerate(("b", "c", "d")):
        driver.serve_fully(name, float(now_s))
    number = failed_run(driver, "secure", Failure.OUT_OF_MEMORY, lacking_mb, now_s=5.0)
    driver.end(number, 5.2, driver.reading(-lacking_mb))  # others have taken as much
    while driver.under_way[number].startswith("unload"):
        driver.end(number, 5.3)
    driver.end(number, 5.4)
    assert driver.outcome(number) is Outcome.COLD_START
    assert {e.model for e in driver.recorder.evictions} == gone
    assert driver.engine.allocator.device.cap == (130 - lacking_mb) * MIB
    driver.check_at_rest()


def test_a_load_at_its_own_limit_is_tried_once_more_with_what_was_lacking():
    driver = a_driver()
    number = driver.ask("a", 0.0)
    driver.fail(driver.tasks[number], 0.1, Failure.OWN_LIMIT, "its weights take more", 25 * MIB)
    assert driver.under_way == {number: "load on gpu a"}
    assert driver.tasks[number].effect.size_bytes == 65 * MIB
    driver.end(number, 0.2)
    driver.end(number, 0.3)
    assert driver.outcome(number) is Outcome.COLD_START
    driver.check_at_rest()


def test_a_load_that_was_seen_to_take_more_is_reserved_more_the_next_time():
    driver = a_driver()
    number = driver.ask("a", 0.0)
    driver.end(number, 0.1, 45 * MIB)
    driver.end(number, 0.2)
    allocator = driver.engine.allocator
    assert allocator.models["a"].bytes == 40 * MIB
    assert driver.whats("action") == [("grow", "a")]
    driver.begin("unload 1", 1.0, "a")
    driver.end("unload 1", 1.1)
    assert allocator.models["a"].bytes == 45 * MIB
    driver.check_at_rest()


# -- nonsense, a lost device, other failures -----------------------------------------------------------------


def test_a_nonsense_size_fails_its_request_and_teaches_nothing():
    driver = a_driver()
    driver.serve_fully("b", 0.0)
    number = failed_run(driver, "a", Failure.NONSENSE_SIZE, 4_000_000)
    assert driver.outcome(number) is Outcome.FAILED
    allocator = driver.engine.allocator
    assert (allocator.models["a"].bytes, allocator.device.cap) == (40 * MIB, 100 * MIB)
    assert not driver.recorder.evictions
    assert driver.whats("action") == []
    driver.check_at_rest()


@pytest.mark.parametrize(("model", "outcome"), [("a", Outcome.FALLBACK), ("secure", Outcome.FAILED)])
def test_what_the_device_fails_at_the_cpu_may_do(model, outcome):
    driver = a_driver()
    number = failed_run(driver, model, Failure.DEVICE_FAILED)
    while number in driver.tasks:
        driver.end(number, 2.0)
    assert driver.outcome(number) is outcome
    assert "device failed: as the driver says" in driver.answers[number].why or outcome is Outcome.FALLBACK
    assert driver.engine.allocator.models[model].state.value == "resident"
    driver.check_at_rest()


@pytest.mark.parametrize("order", ["backlog", "arrival"])
def test_a_lost_device_is_used_no_more_and_the_cpu_serves_what_it_may(order):
    driver = a_driver(f"serving.order={order}")
    driver.serve_fully("b", 0.0)
    number = failed_run(driver, "a", Failure.DEVICE_LOST)
    while number in driver.tasks:
        driver.end(number, 2.0)
    assert driver.outcome(number) is Outcome.FALLBACK
    assert driver.whats("action")[0] == ("device lost", None)
    allocator = driver.engine.allocator
    assert (allocator.device.held, allocator.device.cap) == (0, 0)
    for model, outcome in (("b", Outcome.FALLBACK), ("secure", Outcome.REFUSED), ("a", Outcome.FALLBACK)):
        later = driver.ask(model, 3.0)
        while later in driver.tasks:
            assert "gpu" not in driver.under_way[later]
            driver.end(later, 3.1)
        assert driver.outcome(later) is outcome
        if outcome is Outcome.REFUSED:
            assert driver.answers[later].why == "the device is lost to this process: restart it"
    # the monitor sees free memory there, and gives none of it away
    driver.begin("monitor", 4.0)
    driver.end("monitor", 9.0, driver.reading(100))
    assert allocator.device.cap == 0
    driver.give_up("monitor", 10.0)
    driver.check_at_rest()


def test_a_load_can_lose_the_device_too_and_runs_under_way_there_end_on_the_cpu():
    driver = a_driver("serving.gpu_streams=2")
    runs = driver.ask("b", 0.0)
    driver.end(runs, 0.1)
    number = driver.ask("a", 0.2)
    driver.fails(number, 0.3, Failure.DEVICE_LOST, "sticky")
    driver.fails(runs, 0.4, Failure.DEVICE_LOST, "sticky")
    now_s = 0.5
    while driver.tasks:
        for name in list(driver.under_way):
            driver.end(name, now_s)
            now_s += 0.1
    assert [driver.outcome(n) for n in (runs, number)] == [Outcome.FALLBACK, Outcome.FALLBACK]
    assert [what for what, _ in driver.whats("action")] == ["device lost"]
    driver.check_at_rest()
