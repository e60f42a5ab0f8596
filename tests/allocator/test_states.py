"""The table of states, drawn and enforced."""

import pytest

from vramlab.allocator.states import TRANSITIONS, IllegalTransition, State, require, state_diagram


def test_the_diagram_has_a_line_for_each_way():
    lines = state_diagram().split("\n")
    assert lines[:3] == ["stateDiagram-v2", "    direction LR", "    [*] --> absent"]
    assert len(lines) == 3 + len(TRANSITIONS)
    assert lines[3] == "    absent --> loading: a decision to load"
    assert "    resident --> in_use: a request takes it (pin)" in lines
    assert "    in_use --> resident: the last run ends (unpin)" in lines


def test_what_is_required_is_named():
    require("m", State.LOADING, "loaded", State.RESIDENT, State.LOADING)
    with pytest.raises(IllegalTransition, match=r"^loaded: model 'm' is in use, must be absent or loading$"):
        require("m", State.IN_USE, "loaded", State.ABSENT, State.LOADING)
