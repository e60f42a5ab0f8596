"""Loading, preloading and unloading on demand, and the end of a run."""

from tests.engine.steered import SteeredDriver, settings, spec
from vramlab.engine.effects import Failure

MODELS = {"a": spec(60), "b": spec(30), "c": spec(50), "low": spec(60, priority="low")}


def a_driver():
    return SteeredDriver(settings(100), MODELS)


def finish(driver, name, now_s):
    while name in driver.tasks:
        driver.end(name, now_s)
    return driver.answers[name][1]


def test_load_evicts_as_a_request_does_and_leaves_the_model_free_to_go():
    driver = a_driver()
    driver.serve_fully("c", 0.0)
    driver.begin("load 1", 1.0, "a")
    assert driver.under_way == {"load 1": "unload c"}
    assert finish(driver, "load 1", 1.1) == ""
    driver.begin("load 2", 2.0, "a")
    assert finish(driver, "load 2", 2.0) == ""
    assert len(driver.recorder.loads) == 2
    driver.check_at_rest()


def test_load_joins_a_load_under_way():
    driver = a_driver()
    number = driver.ask("a", 0.0)
    driver.begin("load 1", 0.1, "a")
    driver.end(number, 0.5)
    assert driver.answers["load 1"] == (0.5, "")
    driver.end(number, 0.6)
    driver.check_at_rest()


def test_what_cannot_be_done_says_why():
    driver = a_driver()
    driver.serve_fully("a", 0.0)
    driver.begin("load 1", 1.0, "low")  # low priority loads into free room only
    assert "free room" in driver.answers["load 1"][1]
    driver.begin("preload 1", 1.0, "c")
    assert "no free room" in driver.answers["preload 1"][1]
    driver.begin("unload 1", 1.0, "b")
    assert driver.answers["unload 1"][1] == "it is absent"
    driver.begin("load 2", 1.0, "b")
    driver.fails("load 2", 1.1, Failure.CORRUPT, "no model")
    assert "no model" in driver.answers["load 2"][1]
    driver.check_at_rest()


def test_preload_and_unload():
    driver = a_driver()
    driver.begin("preload 1", 0.0, "a")
    assert finish(driver, "preload 1", 0.5) == ""
    assert driver.recorder.loads[0].reason == "preload"
    number = driver.ask("a", 1.0)
    driver.begin("unload 1", 1.1, "a")
    assert driver.answers["unload 1"][1] == "it is in use"
    driver.end(number, 1.2)
    driver.begin("unload 2", 1.3, "a")
    assert finish(driver, "unload 2", 1.4) == ""
    assert [eviction.reason for eviction in driver.recorder.evictions] == ["asked for"]
    driver.check_at_rest()


def test_stop_leaves_nothing_on_the_device_and_evicts_nobody():
    driver = a_driver()
    driver.serve_fully("a", 0.0)
    driver.serve_fully("b", 0.1)
    driver.begin("stop", 1.0)
    driver.end("stop", 1.1)
    driver.end("stop", 1.2)
    assert driver.engine.allocator.device.held == 0
    assert driver.recorder.evictions == []
    driver.check_at_rest()
