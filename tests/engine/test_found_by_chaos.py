"""What seeds of chaos (tests/live/chaos.py) have found in the engine, each as the few steps that it takes."""

from tests.allocator.building import mb
from tests.engine.steered import SteeredDriver, settings, spec
from vramlab.allocator import make_allocator
from vramlab.allocator.extents import Extent
from vramlab.allocator.invariants import check
from vramlab.allocator.states import State
from vramlab.engine.effects import Failure
from vramlab.engine.outcomes import Outcome

MIB = 2**20


def test_who_tries_again_may_join_a_load_that_was_decided_and_has_not_begun():
    """One who waited is given the load; the one whose load has failed goes on first, and joins it."""
    driver = SteeredDriver(
        settings(200, "serving.order=arrival"),
        {"x": spec(40), "d": spec(60, cpu_fallback="none"), "huge": spec(150, cpu_fallback="none")},
    )
    driver.serve_fully("x", 0.0)
    loads = driver.ask("d", 1.0)
    driver.ask("huge", 1.1)  # waits for d, which is being loaded
    waits = driver.ask("d", 1.2)  # stands behind it
    assert len(driver.waiting) == 2
    driver.fails(loads, 1.3, Failure.OUT_OF_MEMORY)
    driver.end(loads, 1.4, driver.reading(59))  # the device has shrunk: huge is refused, d may evict x
    assert driver.under_way == {waits: "unload x"}
    for _ in range(2):
        driver.end(waits, 1.5)
    driver.end(waits, 1.6)
    driver.end(loads, 1.7)
    assert driver.outcome(loads) is Outcome.COLD_START
    driver.check_at_rest()


def test_a_claim_on_a_device_that_has_shrunk_is_not_waited_for_for_ever():
    """The monitor gives it up; without one, or after its end, nobody did."""
    driver = SteeredDriver(
        settings(100, "optimization.monitor=false"), {"a": spec(60), "s": spec(60, cpu_fallback="none")}
    )
    driver.serve_fully("a", 0.0)
    loads = driver.ask("s", 1.0)
    driver.engine.desk.allocator.set_budget(50 * MIB)
    driver.end(loads, 1.2)
    assert driver.waiting == [loads]
    driver.time_out(driver.tasks[loads], driver.timers[loads], 31.2)
    assert driver.outcome(loads) is Outcome.FAILED
    assert "too little memory" in driver.answers[loads].why
    assert driver.engine.allocator.models["s"].state is State.ABSENT
    assert driver.engine.loading.idle


def test_a_model_that_has_grown_is_not_put_back_where_it_was_smaller():
    for placement in ("paged", "contiguous"):
        config = settings(10, f"placement={placement}")
        allocator = make_allocator(config, {"a": spec(1), "b": spec(2)})
        allocator.request("a", 0.0)
        allocator.loaded("a", 0.1)
        allocator.released("a")
        allocator.grow("a", 2 * MIB)
        allocator.unload("a", 0.2)
        allocator.unloaded("a")
        place = (Extent(mb(4), mb(1)),)
        assert allocator.reserve_at("a", 0.3, allocator.zones["flexible"], place) is not None
        check(allocator)


def test_a_defragmentation_that_is_cut_off_leaves_no_model_loading():
    """The run ends while a model that was moved waits for the load channel."""
    driver = SteeredDriver(
        settings(
            100, "placement=contiguous", "optimization.monitoring_interval=1",
            "optimization.pressure_available_mb=0", "optimization.optimization_threshold=1",
            "optimization.defragmentation_threshold=0.2",
        ),
        {"a": spec(20), "b": spec(20), "c": spec(20), "d": spec(30)},
    )  # fmt: skip
    for model in "abc":
        driver.serve_fully(model, 0.0)
    driver.engine.allocator.unload("a", 0.5)
    driver.engine.allocator.unloaded("a")
    driver.engine.allocator.unload("c", 0.5)
    driver.engine.allocator.unloaded("c")  # [ 20 free | b 20 | 60 free ]
    loads = driver.ask("d", 0.9)
    driver.begin("monitor", 1.0)
    for _ in range(2):  # for the monitor, and for its note of what was before
        driver.end("monitor", 2.0, driver.reading(80))
    assert driver.under_way == {"monitor": "unload b", loads: "load on gpu d"}
    driver.end("monitor", 2.2)
    assert driver.waiting == ["monitor"]
    assert driver.engine.allocator.models["b"].state is State.LOADING
    driver.give_up("monitor", 2.3)
    assert driver.engine.allocator.models["b"].state is State.ABSENT
    driver.end(loads, 2.4)
    driver.end(loads, 2.5)
    check(driver.engine.allocator)
    assert driver.engine.loading.idle
