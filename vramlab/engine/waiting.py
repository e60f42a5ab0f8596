"""The line of requests that must wait until a model is released or has left.

A request gets here because only models in use (or its own unloading) stand in its way. It is decided anew
after each change, and nobody overtakes it (``serving.queue: fifo``): requests that come later for a model
that could make room for it stand behind it, or they would use that model again and again while it waits. Free
to go on are requests for models that never leave (critical), and those for absent models that the CPU may
answer.

With ``affinity`` a request for a model that is there may go first, so that a mixed batch does not reload each
model for each item, but at most ``max_skips`` times past the same request. So waiting is bounded: a request
waits for the runs and loads that were begun before it, and for at most so many begun after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from vramlab.allocator import Allocator, Decision, Kind, State
from vramlab.allocator.policies.own import PolicyError
from vramlab.config.schema import Priority
from vramlab.engine.gates import Gate, Ready

_THERE = (State.RESIDENT, State.IN_USE, State.LOADING)


class Waiting:
    """One request in the line; its gate opens with the decision that ends the waiting."""

    __slots__ = ("asked", "gate", "model", "number", "passed_before", "priority")

    def __init__(
        self, number: int | str, model: str, priority: Priority | None, asked: bool, passed: int, gate: Gate
    ) -> None:
        self.number, self.model, self.priority, self.gate = number, model, priority, gate
        self.asked = asked  # whether the allocator has been asked, and has counted the use
        self.passed_before = passed


class Line:
    """All requests that wait, in the order of their coming.

    Parameters
    ----------
    allocator : Allocator
        Decides.
    ready : Ready
        Of the engine.
    note : callable
        ``note(number, now_s, decision)``, called for each decision that ends a waiting.
    max_skips : int
        How often the same request may be overtaken; 0 for first come, first served.
    """

    def __init__(
        self,
        allocator: Allocator,
        ready: Ready,
        note: Callable[[int | str, float, Decision], None],
        max_skips: int,
    ) -> None:
        self.queue: deque[Waiting] = deque()
        self._allocator, self._ready, self._note = allocator, ready, note
        self._max_skips = max_skips
        self._passed = 0  # how many have overtaken somebody so far

    def must_wait(self, name: str) -> bool:
        """Whether a request that comes now, while others wait, has to stand behind them."""
        model = self._allocator.models[name]
        if model.critical:
            return False
        if model.state not in _THERE:
            return not model.may_run_on_cpu
        if self._skips_left() > 0:
            self._passed += 1
            return False
        return True

    def enter(self, number: int | str, name: str, priority: Priority | None, asked: bool) -> Waiting:
        """Stand at the end of the line."""
        entry = Waiting(number, name, priority, asked, self._passed, Gate(self._ready))
        self.queue.append(entry)
        return entry

    def leave(self, entry: Waiting, now_s: float) -> None:
        """Give up; those behind may go on."""
        self.queue.remove(entry)
        self.decide(now_s)

    def decide(self, now_s: float) -> None:
        """Something has changed: decide anew, from the first on, until one must go on waiting."""
        queue = self.queue
        while queue and self._settled(queue[0], now_s):
            queue.popleft()
        if not queue or self._skips_left() <= 0:
            return
        for entry in list(queue)[1:]:
            if self._allocator.models[entry.model].state in _THERE and self._settled(entry, now_s):
                queue.remove(entry)
                self._passed += 1
                if self._skips_left() <= 0:
                    return

    def _skips_left(self) -> int:
        """How many may still overtake the first, who has been overtaken most."""
        return self._max_skips - (self._passed - self.queue[0].passed_before)

    def _settled(self, entry: Waiting, now_s: float) -> bool:
        ask = self._allocator.ask_again if entry.asked else self._allocator.request
        try:
            decision = ask(entry.model, now_s, entry.priority)
        except PolicyError as error:
            # that of the request that waits, and not of the one whose end has brought us here
            entry.gate.open(error)
            return True
        entry.asked = True
        if decision.kind is Kind.WAIT:
            return False
        self._note(entry.number, now_s, decision)
        entry.gate.open(decision)
        return True
