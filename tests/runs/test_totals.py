"""Running totals say what full records would, and hold nothing of what has ended."""

import pytest

from tests.engine.hand import HandDriver, settings, spec
from vramlab.engine.effects import Failure
from vramlab.engine.outcomes import Outcome
from vramlab.runs.recorder import Recorder
from vramlab.runs.totals import RunningTotals


class Driver(HandDriver):
    """Hand-steered, with the recorder that the test gives."""

    def __init__(self, recorder):
        config = settings(10, "fallback.cpu_fallback_enabled=false")
        super().__init__(config, {"a": spec(8), "b": spec(8)}, recorder)


def story(recorder):
    """A cold start, a hit, an eviction, a load that fails, and a request that is still under way."""
    driver = Driver(recorder)
    driver.serve_fully("a", 0.0)
    driver.serve_fully("a", 1.0)
    driver.serve_fully("b", 2.0)
    driver.ask(3, "a", 3.0)
    driver.end(3, 3.5)  # the unload of b
    driver.fail(3, 4.0, Failure.CORRUPT)
    driver.ask(4, "b", 5.0)
    return recorder.totals()


def test_the_same_as_of_full_records():
    totals = story(Recorder(["flexible"]))
    assert story(RunningTotals()) == totals
    assert totals.outcomes == dict.fromkeys(Outcome, 0) | {
        Outcome.COLD_START: 2,
        Outcome.HIT: 1,
        Outcome.FAILED: 1,
    }
    assert totals[1:] == (2, 1, 2)


def test_what_has_ended_is_forgotten_and_observed():
    seen = []
    totals = RunningTotals(lambda outcome, latency_s: seen.append((outcome, latency_s)))
    story(totals)
    assert totals.arrival_s == {4: 5.0}
    assert seen == [
        (Outcome.COLD_START, 0.0),
        (Outcome.HIT, 0.0),
        (Outcome.COLD_START, 0.0),
        (Outcome.FAILED, 1.0),
    ]
    with pytest.raises(RuntimeError, match="totals only"):
        totals.records()
