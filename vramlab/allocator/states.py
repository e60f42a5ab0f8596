"""The states of a model and the only ways between them.

Everything that says which state may follow which lives in this table (DESIGN, "The contract between engine
and drivers"); an illegal transition raises, nothing is silently repaired.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a model is in its life on the device."""

    ABSENT = "absent"
    LOADING = "loading"
    RESIDENT = "resident"
    IN_USE = "in use"
    EVICTING = "evicting"

    # Members are compared by identity on every request; Enum's own hash goes through the name.
    __hash__ = object.__hash__


ABSENT, LOADING, RESIDENT, IN_USE, EVICTING = State
"""For the hot path: to look a member up in its class costs Python 3.11 as much as a call."""

TRANSITIONS: dict[tuple[State, State], str] = {
    (State.ABSENT, State.LOADING): "a decision to load",
    (State.LOADING, State.RESIDENT): "loaded, nobody waits for it",
    (State.LOADING, State.IN_USE): "loaded, the requests that wait for it run next",
    (State.LOADING, State.ABSENT): "the load failed",
    (State.RESIDENT, State.IN_USE): "a request takes it (pin)",
    (State.RESIDENT, State.EVICTING): "chosen as victim, or unloaded",
    (State.IN_USE, State.RESIDENT): "the last run ends (unpin)",
    (State.EVICTING, State.ABSENT): "unloaded, its bytes are back",
}


def state_diagram() -> str:
    """The table as a Mermaid state diagram; the README has it, and a test compares the two."""
    lines = ["stateDiagram-v2", "    direction LR", "    [*] --> absent"]
    for (before, after), event in TRANSITIONS.items():
        lines.append(f"    {_identifier(before)} --> {_identifier(after)}: {event}")
    return "\n".join(lines)


def _identifier(state: State) -> str:
    return state.value.replace(" ", "_")


class IllegalTransition(RuntimeError):
    """The caller reported an event that cannot happen to a model in its present state."""


def require(name: str, state: State, event: str, *allowed: State) -> None:
    """Raise :class:`IllegalTransition` unless `state` is one of `allowed`."""
    if state not in allowed:
        wanted = " or ".join(s.value for s in allowed)
        raise IllegalTransition(f"{event}: model {name!r} is {state.value}, must be {wanted}")
