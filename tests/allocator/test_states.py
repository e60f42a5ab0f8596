"""The table of states, drawn and enforced."""

import pytest

from vramlab.allocator.states import (
    ADMITTED_AT_ONCE,
    EXPELLED_AT_ONCE,
    PINNED,
    TRANSITIONS,
    IllegalTransition,
    State,
    state_diagram,
)


def test_the_diagram_has_a_line_for_each_way():
    lines = state_diagram().split("\n")
    assert lines[:3] == ["stateDiagram-v2", "    direction LR", "    [*] --> absent"]
    assert len(lines) == 3 + len(TRANSITIONS)
    assert lines[3] == "    absent --> loading: a decision to load"
    assert "    resident --> in_use: a request takes it (pin)" in lines
    assert "    in_use --> resident: the last run ends (unpin)" in lines


def test_what_is_required_is_named():
    assert PINNED.after(State.IN_USE, "m") is State.IN_USE
    with pytest.raises(IllegalTransition, match=r"^use: model 'm' is loading, must be resident or in use$"):
        PINNED.after(State.LOADING, "m")


def test_what_takes_no_time_goes_the_same_ways():
    assert ADMITTED_AT_ONCE.follows == {State.ABSENT: State.RESIDENT}
    assert EXPELLED_AT_ONCE.follows == {State.RESIDENT: State.ABSENT}
