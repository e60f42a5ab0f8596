"""A request that nobody wants any more leaves ledgers, pins, slots and waiters right, wherever it was."""

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.steered import SteeredDriver, settings, spec
from vramlab.config.compiled import compiled
from vramlab.engine.effects import EffectFailed, Failure, MemoryReading, ReadMemory, Target
from vramlab.engine.outcomes import Outcome

MODELS = {"a": spec(60), "b": spec(60), "secure": spec(60, cpu_fallback="none")}


def a_driver(*overrides):
    return SteeredDriver(settings(100, "serving.order=arrival", *overrides), MODELS)


def drain(driver, now_s):
    """End everything that is under way."""
    while driver.tasks:
        name = next(iter(driver.under_way))
        driver.end(name, now_s)


def test_in_the_queue_for_the_gpu():
    driver = a_driver()
    driver.serve_fully("a", 0.0)
    runs, waits, behind = (driver.ask("a", 1.0) for _ in range(3))
    driver.give_up(waits, 1.1)
    assert driver.outcome(waits) is Outcome.CANCELLED
    assert driver.engine.allocator.models["a"].pins == 2
    driver.end(runs, 1.2)
    assert driver.under_way == {behind: "infer on gpu a"}
    driver.end(behind, 1.3)
    driver.check_at_rest()


def test_in_the_line_for_models_in_use():
    driver = a_driver()
    runs = driver.ask("a", 0.0)
    driver.end(runs, 0.1)
    first, second = driver.ask("secure", 0.2), driver.ask("secure", 0.3)
    driver.give_up(first, 0.4)
    driver.end(runs, 0.5)
    assert driver.under_way == {second: "unload a"}
    drain(driver, 1.0)
    driver.check_at_rest()


def test_who_joined_a_load():
    driver = a_driver()
    loads, joined = driver.ask("a", 0.0), driver.ask("a", 0.1)
    driver.give_up(joined, 0.2)
    assert driver.engine.allocator.models["a"].pins == 1
    driver.end(loads, 0.3)
    driver.end(loads, 0.4)
    driver.check_at_rest()


@pytest.mark.parametrize("joined", [True, False])
def test_a_load_that_has_not_begun_goes_on_only_if_others_wait_for_it(joined):
    driver = SteeredDriver(settings(200, "serving.order=arrival"), MODELS)
    busy = driver.ask("b", 0.0)
    number = driver.ask("a", 0.1)  # waits for the load channel
    other = driver.ask("a", 0.2) if joined else None
    driver.give_up(number, 0.3)
    assert driver.outcome(number) is Outcome.CANCELLED
    driver.end(busy, 0.4)
    assert (f"load for {number}" in driver.under_way) == joined
    drain(driver, 1.0)
    if joined:
        assert driver.outcome(other) is Outcome.WAIT
    else:
        assert driver.engine.allocator.models["a"].state.value == "absent"
    driver.check_at_rest()


def test_a_load_whose_victim_is_leaving_unloads_it_and_gives_the_claim_up():
    driver = a_driver()
    driver.serve_fully("a", 0.0)
    number = driver.ask("b", 1.0)
    assert driver.under_way == {number: "unload a"}
    driver.give_up(number, 1.1)
    driver.end(number, 1.2)
    assert driver.outcome(number) is Outcome.CANCELLED
    assert driver.engine.allocator.device.held == 0
    driver.check_at_rest()


def test_a_load_under_way_ends_and_the_run_is_saved():
    driver = a_driver()
    number = driver.ask("a", 0.0)
    driver.give_up(number, 0.1)
    driver.end(number, 0.2)
    assert driver.outcome(number) is Outcome.CANCELLED
    assert driver.engine.allocator.models["a"].state.value == "resident"
    driver.check_at_rest()


def test_a_run_under_way_ends():
    driver = a_driver()
    driver.serve_fully("a", 0.0)
    number = driver.ask("a", 1.0)
    driver.give_up(number, 1.1)
    driver.end(number, 1.2)
    assert driver.outcome(number) is Outcome.HIT  # there was nothing left to save
    driver.check_at_rest()


def test_on_its_way_to_the_cpu():
    driver = a_driver()
    runs = driver.ask("a", 0.0)
    driver.end(runs, 0.1)
    first, second, third = (driver.ask("b", 0.2) for _ in range(3))
    assert driver.under_way[first] == "load on cpu b"
    driver.give_up(second, 0.3)  # in the queue for the CPU
    driver.give_up(first, 0.3)  # loads, then saves its run
    driver.end(first, 0.4)
    assert [driver.outcome(number) for number in (first, second)] == [Outcome.CANCELLED] * 2
    assert driver.under_way[third] == "infer on cpu b"
    drain(driver, 1.0)
    driver.check_at_rest()


def test_the_monitor_at_any_time():
    driver = SteeredDriver(settings(100, "optimization.monitoring_interval=5"), MODELS)
    driver.begin("monitor", 0.0)
    driver.give_up("monitor", 1.0)
    driver.check_at_rest()


ORDERS = [
    "arrival",
    "fifo",
    "affinity",
    "backlog",
    "tests.engine.orders:latest",
    "tests.engine.orders:nobody",
]
FAILURES = [Failure.CORRUPT, Failure.TIMED_OUT, Failure.RAISED, Failure.OUT_OF_MEMORY]


@given(data=st.data())
@hypothesis.settings(report_multiple_bugs=False)
def test_whatever_happens_nothing_leaks_and_the_journal_is_followed(data):
    """Any order of arrivals, ends, failures, timers, cancellations and commands; then everything ends."""
    choice = st.sampled_from
    inventory = {
        **{name: spec(size, priority=priority, cpu_fallback=fallback, splits=name in "abc", batch_size=3)
           for name, size, priority, fallback in (
               ("a", 60, "medium", "cpu_standard"), ("b", 30, "low", "cpu_standard"),
               ("c", 40, "high", "none"), ("d", 25, "medium", "none"), ("e", 50, "high", "cpu_standard"))},
    }  # fmt: skip
    order = data.draw(choice(ORDERS))
    driver = SteeredDriver(
        settings(
            data.draw(choice([70, 100, 130])),
            f"serving.batching={order != 'arrival' and data.draw(st.booleans())}",
            f"serving.gpu_streams={data.draw(choice([1, 2]))}",
            f"serving.load_channels={data.draw(choice([1, 2]))}",
            f"serving.on_miss={data.draw(choice(['wait', 'wait', 'cpu_while_loading']))}",
            f"serving.order={order}",
            f"serving.max_wait_s={data.draw(choice([0.3, 2, 300]))}",
            f"serving.max_skips={data.draw(choice([1, 3]))}",
            "fallback.fallback_queue_size=2",
        ),
        inventory,
    )
    now_s, commands, may_fail = 0.0, 0, data.draw(st.booleans())
    for _ in range(data.draw(st.integers(5, 60))):
        now_s += 0.25
        deeds = ["ask", "ask", "command"]
        if driver.under_way:
            deeds += ["end", "end", "end", *(["fail"] if may_fail else [])]
        # what the engine has begun by itself, nobody cancels
        wanted = [name for name in driver.tasks if not str(name).startswith("load for")]
        if wanted:
            deeds += ["cancel"]
        deed = data.draw(choice(deeds))
        if deed == "ask":
            driver.ask(data.draw(choice(list(inventory))), now_s)
        elif deed == "command":
            commands += 1
            what = data.draw(choice(["load", "preload", "unload"]))
            driver.begin(f"{what} {commands}", now_s, data.draw(choice(list(inventory))))
        elif deed == "cancel":
            driver.give_up(data.draw(choice(wanted)), now_s)
        else:
            name = data.draw(choice(list(driver.under_way)))
            if deed == "fail":
                driver.fails(name, now_s, data.draw(choice(FAILURES)))
            else:
                driver.end(name, now_s, value_for(driver, name, data))
        driver.check_now()
    while driver.tasks:
        now_s += 0.25
        gates = driver.engine.loading._claims._gates.values()
        claims = [name for name in driver.waiting if driver.tasks[name].waiting in gates]
        if claims and not driver.under_way:  # for bytes that a device which has shrunk will never give
            driver.time_out(driver.tasks[claims[0]], driver.timers[claims[0]], now_s)
            driver.check_now()
            continue
        assert driver.under_way, f"nobody can go on: {driver.waiting}"
        name = data.draw(choice(list(driver.under_way)))
        driver.end(name, now_s, value_for(driver, name, data))
        driver.check_now()
    driver.check_at_rest()
    driver.begin("stop", now_s)
    while driver.tasks:
        driver.end("stop", now_s)
    assert driver.engine.allocator.device.held == 0


def value_for(driver, name, data):
    if type(driver.tasks[name].effect) is not ReadMemory:
        return None
    total = driver.config.total_bytes
    return MemoryReading(total, data.draw(st.integers(0, total)))


@pytest.mark.skipif(compiled(), reason="no method of machine code can be replaced")
def test_the_property_can_fail():
    """A story that forgets its pin is found out."""
    driver = a_driver()
    driver.serve_fully("a", 0.0)
    driver.engine.desk.withdraw = lambda name, now_s: None
    runs, waits = driver.ask("a", 1.0), driver.ask("a", 1.0)
    driver.give_up(waits, 1.1)
    driver.end(runs, 1.2)
    with pytest.raises(AssertionError):
        driver.check_at_rest()


def test_names():
    assert EffectFailed(0.0, Failure.CORRUPT).kind is Failure.CORRUPT
    assert Target("gpu") is Target.GPU
