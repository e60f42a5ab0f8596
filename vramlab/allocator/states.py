"""The states of a model, and the only ways between them.

Rules that must hold:

1. Which state may follow which, and on what event, stands in this table alone. The README's diagram is drawn
   from it, and :mod:`vramlab.allocator.facts` changes a state by looking it up here.
2. An illegal transition raises. It names the event, the model, its state, and the states expected. Nothing is
   silently repaired.
3. This file knows no zone, no byte and no clock, so that no rule of theirs can slip in.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr


class State(Enum):
    """Where a model is in its life on the device."""

    ABSENT = "absent"
    LOADING = "loading"
    RESIDENT = "resident"
    IN_USE = "in use"
    EVICTING = "evicting"

    # Members are compared by identity on every request; Enum's own hash goes through the name.
    __hash__ = object.__hash__


# For the hot path, as all that is Final at the top of a module: the compiler finds it without a look-up, and
# to look a member up in its class costs Python 3.11 as much as a call.
ABSENT: Final[State] = State.ABSENT
LOADING: Final[State] = State.LOADING
RESIDENT: Final[State] = State.RESIDENT
IN_USE: Final[State] = State.IN_USE
EVICTING: Final[State] = State.EVICTING

PRESENT: Final = frozenset({RESIDENT, IN_USE})
"""A request for a model in one of these is a hit."""

STAYING: Final = PRESENT | {LOADING}
"""A model in one of these counts in its zone; one that is leaving does not."""


@mypyc_attr(native_class=False)  # the compiler knows few built-in exceptions as bases
class IllegalTransition(RuntimeError):
    """The caller reported an event that cannot happen to a model in its present state."""


class Event(NamedTuple):
    """What happens to a model: its name in errors, its words in the diagram, and what follows which state."""

    name: str
    words: str
    follows: dict[State, State]

    def after(self, state: State, model: str) -> State:
        """Return the state that follows; raise :class:`IllegalTransition` where none may."""
        try:
            return self.follows[state]
        except KeyError:
            raise self.refused(state, model) from None

    def refused(self, state: State, model: str) -> IllegalTransition:
        """Say which model was in which state, and in which it should have been."""
        wanted = " or ".join(allowed.value for allowed in self.follows)
        return IllegalTransition(f"{self.name}: model {model!r} is {state.value}, must be {wanted}")

    def then(self, later: Event) -> Event:
        """Return both events as one, for what takes no time."""
        follows = {before: later.follows[between] for before, between in self.follows.items()}
        return Event(self.name, later.words, follows)


PROMISED: Final = Event("load", "a decision to load", {ABSENT: LOADING})
LOADED: Final = Event("loaded", "loaded, nobody waits for it", {LOADING: RESIDENT})
LOADED_FOR: Final = Event("loaded", "loaded, the requests that wait for it run next", {LOADING: IN_USE})
FAILED: Final = Event("load failed", "the load failed", {LOADING: ABSENT})
PINNED: Final = Event("use", "a request takes it (pin)", {RESIDENT: IN_USE, IN_USE: IN_USE})
CHOSEN: Final = Event("evict", "chosen as victim, or unloaded", {RESIDENT: EVICTING})
UNPINNED: Final = Event("released", "the last run ends (unpin)", {IN_USE: RESIDENT})
UNLOADED: Final = Event("unloaded", "unloaded, its bytes are back", {EVICTING: ABSENT})

EVENTS = (PROMISED, LOADED, LOADED_FOR, FAILED, PINNED, CHOSEN, UNPINNED, UNLOADED)

# Decide mode: both take no time. They are composed of the above, so they can be no way that is none there.
ADMITTED_AT_ONCE: Final = PROMISED.then(LOADED)
EXPELLED_AT_ONCE: Final = CHOSEN.then(UNLOADED)

TRANSITIONS: dict[tuple[State, State], str] = {
    (before, after): event.words
    for event in EVENTS
    for before, after in event.follows.items()
    if before is not after
}


def state_diagram() -> str:
    """Draw the table as a Mermaid state diagram; the README has it, and a test compares the two."""
    lines = ["stateDiagram-v2", "    direction LR", "    [*] --> absent"]
    for (before, after), words in TRANSITIONS.items():
        lines.append(f"    {_identifier(before)} --> {_identifier(after)}: {words}")
    return "\n".join(lines)


def _identifier(state: State) -> str:
    return state.value.replace(" ", "_")
