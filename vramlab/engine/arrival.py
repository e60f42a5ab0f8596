"""The specification's own flow: a request is decided on arrival (``serving.order: arrival``).

A miss evicts at once, and its load waits for the channel; where no model may leave for it the CPU answers.
Only a request that may not go there waits, in the queue for room, until a model is released or has left.
"""

from __future__ import annotations

from collections.abc import Sized

from vramlab.allocator import Decision, Kind
from vramlab.engine.desk import Decider, Desk
from vramlab.engine.effects import Cancelled, Spawn, Story, worth_another_try
from vramlab.engine.loading import Loading
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request


class OnArrival(Decider):
    """Decides for one engine.

    Parameters
    ----------
    desk : Desk
        Whose requests these are.
    loading : Loading
        Carries decisions to load out.
    """

    def __init__(self, desk: Desk, loading: Loading) -> None:
        self._desk, self._allocator, self._room, self._loading = desk, desk.allocator, desk.room, loading
        self._answer_while_loading = desk.config.serving.on_miss == "cpu_while_loading"
        self.pending: Sized = desk.room.waiters

    # -- a request's side --------------------------------------------------------------------------------

    def obtain(self, number: int, request: Request, now_s: float) -> Story:
        """Decide now; only what then stands in the way is waited for."""
        desk, name = self._desk, request.model
        if self.pending and self._room.must_wait(name):
            now_s, decision = yield from self._room.wait(number, name, now_s, request.priority, counted=False)
        else:
            decision = self._allocator.request(name, now_s, request.priority)
            desk.notes.decision(number, now_s, decision)
        outcome, why = Outcome.HIT, ""
        if decision.kind is not Kind.HIT:
            now_s, outcome, why = yield from self._load_for(number, request, decision, now_s)
            if outcome in (Outcome.FALLBACK, Outcome.REFUSED, Outcome.FAILED):
                return now_s, outcome, why
        try:
            if not desk.gpu.take():
                now_s, _ = yield desk.gpu
        except Cancelled as cancelled:
            desk.withdraw(name, cancelled.now_s)
            raise
        return now_s, outcome, why

    def _load_for(self, number: int, request: Request, decision: Decision, now_s: float) -> Story:
        """See a decision other than a hit through, to where the request may run or must go elsewhere.

        What fails for want of memory is decided once more, by what has been learned from that. The value is
        (now_s, outcome, why); with HIT, COLD_START and WAIT the model is pinned.
        """
        loading, name, priority = self._loading, request.model, request.priority
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
                now_s, decision = yield from self._room.wait(number, name, now_s, priority, counted=True)
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
            if last_try or not worth_another_try(failure):
                return now_s, Outcome.FALLBACK if may_use_cpu else Outcome.FAILED, str(failure)
            last_try = True
            decision = self._allocator.ask_again(name, now_s, priority)
            self._desk.notes.decision(number, now_s, decision)

    # -- what others tell it -----------------------------------------------------------------------------

    def may_pass(self) -> bool:
        """Not even a critical one: it is decided with the others."""
        return False
