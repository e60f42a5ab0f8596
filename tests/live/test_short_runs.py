"""Which runs are known to be short: seen, of as many items, since the session was made."""

from vramlab.engine.effects import Infer, Target
from vramlab.live.short_runs import ShortRuns

ONE, FOUR = Infer("a", Target.GPU, 1), Infer("a", Target.GPU, 4)


def test_a_short_run_speaks_for_as_many_items_and_fewer():
    runs = ShortRuns(0.001)
    assert ONE not in runs
    runs.note(FOUR, 0.001)
    assert FOUR in runs
    assert ONE in runs
    assert Infer("a", Target.GPU, 5) not in runs
    assert Infer("a", Target.CPU, 1) not in runs
    assert Infer("b", Target.GPU, 1) not in runs


def test_a_long_run_speaks_against_as_few_items_and_more():
    runs = ShortRuns(0.001)
    runs.note(ONE, 0.0005)
    runs.note(FOUR, 0.002)
    assert ONE in runs
    assert FOUR not in runs
    runs.note(ONE, 0.002)
    assert ONE not in runs
    runs.note(ONE, 0.0005)
    assert ONE in runs


def test_a_session_made_anew_is_unknown_and_nothing_is_short_where_that_is_switched_off():
    runs = ShortRuns(0.001)
    runs.note(ONE, 0.0005)
    runs.forget("a", Target.CPU)
    assert ONE in runs
    runs.forget("a", Target.GPU)
    runs.forget("a", Target.GPU)
    assert ONE not in runs
    off = ShortRuns(0.0)
    off.note(ONE, 0.0001)
    assert ONE not in off
