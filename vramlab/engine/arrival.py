"""The specification's own flow: a request is decided on arrival (``serving.order: arrival``).

A miss evicts at once, and its load waits for the channel; where nobody may leave for it the CPU answers. Only
a request that may not go there waits, in a line, until a model is released or has left: because models in use
(or its own unloading) stand in its way. It is decided anew after each change, and nobody overtakes it:
requests that come later for a model that could make room for it stand behind it, or they would use that model
again and again while it waits. Free to go on are requests for models that never leave (critical), and those
for absent models that the CPU may answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from vramlab.allocator import Allocator, Decision, Kind, State
from vramlab.allocator.policies.own import PolicyError
from vramlab.config.schema import Priority
from vramlab.config.units import ms_to_s
from vramlab.engine.effects import TIMED_OUT, Cancelled, Spawn, Story, Wait
from vramlab.engine.gates import Gate, Ready
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request

if TYPE_CHECKING:
    from vramlab.engine.serving import Engine

_THERE = (State.RESIDENT, State.IN_USE, State.LOADING)


class InLine:
    """One request in the line; its gate opens with the decision that ends the waiting."""

    __slots__ = ("asked", "gate", "model", "number", "priority")

    def __init__(
        self, number: int | str, model: str, priority: Priority | None, asked: bool, gate: Gate
    ) -> None:
        self.number, self.model, self.priority, self.gate = number, model, priority, gate
        self.asked = asked  # whether the allocator has been asked, and has counted the use


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
    """

    def __init__(
        self,
        allocator: Allocator,
        ready: Ready,
        note: Callable[[int | str, float, Decision], None],
    ) -> None:
        self.queue: deque[InLine] = deque()
        self._allocator, self._ready, self._note = allocator, ready, note

    def must_wait(self, name: str) -> bool:
        """Whether a request that comes now, while others wait, has to stand behind them."""
        model = self._allocator.models[name]
        if model.critical:
            return False
        if model.state not in _THERE:
            return not model.may_run_on_cpu
        return True

    def enter(self, number: int | str, name: str, priority: Priority | None, asked: bool) -> InLine:
        """Stand at the end of the line."""
        entry = InLine(number, name, priority, asked, Gate(self._ready))
        self.queue.append(entry)
        return entry

    def leave(self, entry: InLine, now_s: float) -> None:
        """Give up; those behind may go on."""
        self.queue.remove(entry)
        self.decide(now_s)

    def decide(self, now_s: float) -> None:
        """Something has changed: decide anew, from the first on, until one must go on waiting."""
        queue = self.queue
        while queue and self._settled(queue[0], now_s):
            queue.popleft()

    def _settled(self, entry: InLine, now_s: float) -> bool:
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


class OnArrival:
    """Decides for one engine.

    Parameters
    ----------
    engine : Engine
        Whose requests these are.
    """

    def __init__(self, engine: Engine) -> None:
        serving = engine.config.serving
        self._engine, self._allocator, self._gpu = engine, engine.allocator, engine.gpu
        self._answer_while_loading = serving.on_miss == "cpu_while_loading"
        self._release_timeout_s = ms_to_s(serving.release_timeout_ms)
        self._wait_gpu = Wait(engine.gpu)
        self.line = Line(engine.allocator, engine.ready, engine.note_decision)

    # -- a request's side --------------------------------------------------------------------------------

    def obtain(self, number: int, request: Request, now_s: float) -> Story:
        """Decide now, and wait until the request may run, or must go elsewhere.

        The value is (now_s, outcome, why); with HIT, COLD_START and WAIT it has a stream, and its model is
        pinned.
        """
        name, line = request.model, self.line
        if line.queue and line.must_wait(name):
            now_s, decision = yield from self.wait_in_line(number, name, now_s, request.priority, asked=False)
        else:
            decision = self._allocator.request(name, now_s, request.priority)
            self._engine.note_decision(number, now_s, decision)
        outcome, why = Outcome.HIT, ""
        if decision.kind is not Kind.HIT:
            now_s, outcome, why = yield from self._load_for(number, request, decision, now_s)
            if outcome in (Outcome.FALLBACK, Outcome.REFUSED, Outcome.FAILED):
                return now_s, outcome, why
        if self._gpu.free:
            self._gpu.free -= 1
        else:
            try:
                now_s, _ = yield self._wait_gpu
            except Cancelled as cancelled:
                self._engine.withdraw(name, cancelled.now_s)
                raise
        return now_s, outcome, why

    def wait_in_line(
        self, task: int | str, name: str, now_s: float, priority: Priority | None, asked: bool
    ) -> Story:
        """Wait for models in use, behind those who wait already. The value is (now_s, decision)."""
        entry = self.line.enter(task, name, priority, asked)
        try:
            now_s, decision = yield Wait(entry.gate, self._release_timeout_s)
        except Cancelled as cancelled:
            self.line.leave(entry, cancelled.now_s)
            raise
        if isinstance(decision, PolicyError):
            raise decision
        if decision is TIMED_OUT:
            self.line.leave(entry, now_s)
            kind = Kind.CPU if self._allocator.models[name].may_run_on_cpu else Kind.REFUSE
            decision = Decision(kind, name, reason="waited too long for models in use")
        return now_s, decision

    def _load_for(self, number: int, request: Request, decision: Decision, now_s: float) -> Story:
        """See a decision other than a hit through, to where the request may run or must go elsewhere.

        What fails for want of memory is decided once more, by what has been learned from that. The value is
        (now_s, outcome, why); with HIT, COLD_START and WAIT the model is pinned.
        """
        engine, loading = self._engine, self._engine.loading
        name, priority = request.model, request.priority
        may_use_cpu = self._allocator.models[name].may_run_on_cpu
        outcome, last_try = Outcome.HIT, False
        while True:
            kind = decision.kind
            if kind is Kind.HIT:  # by now
                return now_s, outcome, ""
            if kind is Kind.CPU:
                return now_s, Outcome.FALLBACK, decision.reason
            if kind is Kind.REFUSE:
                return now_s, Outcome.REFUSED, decision.reason
            if kind is Kind.WAIT:
                now_s, decision = yield from self.wait_in_line(number, name, now_s, priority, asked=True)
                continue
            if self._answer_while_loading and may_use_cpu:
                self._allocator.withdraw(name)
                if kind is Kind.LOAD:
                    yield Spawn(f"load for {number}", loading.load(decision, now_s, "request"))
                return now_s, Outcome.FALLBACK, "answered while it loads"
            if kind is Kind.LOAD:
                outcome = Outcome.COLD_START
                now_s, failure = yield from loading.load_for(number, decision, now_s)
            else:
                outcome = Outcome.WAIT if outcome is Outcome.HIT else outcome
                now_s, failure = yield from loading.join(name)
            if failure is None:
                return now_s, outcome, ""
            if last_try or not engine.worth_another_try(failure):
                return now_s, Outcome.FALLBACK if may_use_cpu else Outcome.FAILED, str(failure)
            last_try = True
            decision = self._allocator.ask_again(name, now_s, priority)
            engine.note_decision(number, now_s, decision)

    # -- what others tell it -----------------------------------------------------------------------------

    def may_pass(self) -> bool:
        """Whether a request that comes may run at once though others wait."""
        return False  # unless it is critical, which is decided with the others

    def run_ended(self, idle: bool, now_s: float) -> None:
        """A stream is free, and its model if `idle`."""
        if idle:
            self.line.decide(now_s)

    def changed(self, now_s: float) -> None:
        """Models have been released, or have come or gone."""
        self.line.decide(now_s)
