"""Who is served next, decided late: when a stream, a load channel or memory becomes free.

On arrival a request only joins those that wait (:mod:`vramlab.engine.waiting`). At each change the order
(:mod:`vramlab.engine.orders`) picks the next run and the next load from all that wait. What holds whatever
the order says:

1. Nobody is passed over for longer than ``max_wait_s`` while it could be served: of the requests for models
   that are there, and of those for absent ones, the first that is due goes before a pick that has a later
   place. Models that others wait for may leave for it.
2. If models in use stand in its way, requests that have a later place do not use these again, and nothing
   else is loaded, until it has its room.
3. If nothing is under way and the order begins nothing, the first that can be is: an order that hesitates
   does not stop the server.
4. A load is decided when a channel is free for it, and gets the bytes of idle models only.

A request goes to the CPU or is refused when its turn for a load comes and the allocator says so
(``fallback.when``).
"""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Final

from vramlab.allocator import Decision, Kind
from vramlab.allocator.decisions import CLEAR, CPU, LOAD
from vramlab.allocator.facts import PRESENT, Model, Turn
from vramlab.allocator.planning import Plan
from vramlab.allocator.policies.own import PolicyError
from vramlab.allocator.states import ABSENT, LOADING
from vramlab.config.schema import Inventory
from vramlab.engine.batching import Again, Batching
from vramlab.engine.candidates import NOBODY, Candidates, View
from vramlab.engine.desk import Decider, Desk
from vramlab.engine.effects import Cancelled, EffectFailed, Result, Spawn, Story, worth_another_try
from vramlab.engine.fallback import Fallback
from vramlab.engine.finish import Finish
from vramlab.engine.loading import Loading
from vramlab.engine.orders import GREEDY, HEEDLESS, make_order
from vramlab.engine.outcomes import COLD_START, FAILED, FALLBACK, HIT, REFUSED, WAIT, Outcome
from vramlab.engine.requests import Ran, Request
from vramlab.engine.waiting import Waiting

_RUN: Final = object()
_BEFORE_ALL: Final[Turn] = (-math.inf, -1)
_ELSEWHERE: Final = {CPU: FALLBACK, Kind.REFUSE: REFUSED}


class Scheduler(Decider):
    """Decides for one engine.

    Parameters
    ----------
    desk : Desk
        Whose requests these are.
    loading : Loading
        Carries decisions to load out.
    fallback : Fallback
        What the CPU has to do.
    inventory : dict of str to ModelSpec
        How long runs take.
    """

    def __init__(self, desk: Desk, loading: Loading, fallback: Fallback, inventory: Inventory) -> None:
        self.serving = desk.config.serving
        name = self.serving.order
        self._notes, self._allocator = desk.notes, desk.allocator
        self._gpu, self._channel = desk.gpu, desk.channel
        self._loading, self._waiting = loading, desk.waiting
        self._batching = Batching(desk, inventory)
        self._order = make_order(name)
        self._waiting_is_nothing = desk.config.rules.waited_for == "ignored"
        self._heedless = name in HEEDLESS or self._waiting_is_nothing
        self._plain = name == "backlog" and not self._heedless
        self._waiting_is_use = desk.config.rules.waited_for == "in_use"
        self._greedy = name in GREEDY and desk.config.fallback.when == "full"
        self._candidates = Candidates(desk, self._heedless)
        self._view = View(self._candidates, desk.waiting)
        self._loads: dict[Model, int] = {}  # how many were begun
        self._answer_while_loading = self.serving.on_miss == "cpu_while_loading"
        soonest = desk.config.fallback.when == "earliest_finish"
        self._finish = Finish(desk, fallback, inventory) if soonest else None
        # where each request is to be thought about, it is as if somebody always waited
        self.pending: Sized = (None,) if soonest else desk.waiting.entries

    # -- a request's side --------------------------------------------------------------------------------

    def obtain(self, number: int, request: Request, now_s: float) -> Story:
        """Join those who wait, until a decision picks this one."""
        model, waiting = self._allocator.models[request.model], self._waiting
        rank = model.rank if request.priority is None else request.priority.rank
        self._allocator.asked(model, now_s)
        if self._answer_while_loading and model.may_run_on_cpu and model.state not in PRESENT:
            yield from self._load_beside(number, model, rank, now_s)
            return now_s, FALLBACK, "answered while it loads"
        why = self._cpu_at_once(number, model, rank, request.items, now_s) if model.may_run_on_cpu else ""
        if why:
            return now_s, FALLBACK, why
        entry = Waiting(number, model, now_s, rank, request.items, model.run_s * request.items)
        waiting.enter(entry)
        entry.loads_before = self._loads.get(model, 0)
        if model.state is LOADING:
            entry.outcome = WAIT
            self._notes.decision(number, now_s, Decision(Kind.JOIN, model.name, model.zone.name))
        self.decide(now_s)
        try:
            while True:
                if entry.told is None:
                    opened: Result = yield waiting.gate(entry)
                    now_s = opened[0]
                told, entry.told = entry.told, None
                if told is _RUN:
                    if entry.batch is None:
                        return now_s, entry.outcome, ""
                    now_s, told = yield from self._batching.run(entry, now_s)
                if isinstance(told, Decision):
                    if told.kind is CLEAR:
                        yield Spawn(f"room for {number}", self._make_room(told, now_s))
                    else:
                        now_s, _ = yield from self._loading.load_for(
                            number, told, now_s, pinned=False, has_channel=True
                        )
                    continue
                if isinstance(told, Ran):
                    return now_s, entry.outcome, told
                if isinstance(told, Again):
                    entry = told.entry
                    continue
                if isinstance(told, PolicyError):
                    raise told
                outcome, why = told
                self._candidates.sent -= outcome is FALLBACK
                return now_s, outcome, why
        except Cancelled as cancelled:
            if not entry.gone:
                waiting.leave(entry)
                self.decide(cancelled.now_s)
            elif entry.batch is not None:
                self._batching.leave(entry, cancelled.now_s)
            raise

    def _load_beside(self, number: int, model: Model, rank: int, now_s: float) -> Story:
        """Load for a request that the CPU answers meanwhile, if a channel and room are free now."""
        if model.state is not ABSENT or not self._channel.free:
            return
        plan = self._allocator.plan(model, now_s, rank)
        if plan.kind is LOAD:
            decision = self._carry_out(number, plan, now_s)
            yield Spawn(f"load for {number}", self._loading.load(decision, now_s, "request", True))

    def _cpu_at_once(self, number: int, model: Model, rank: int, items: int, now_s: float) -> str:
        """Why a request that comes goes to the CPU without waiting; empty if it does not."""
        if self._finish is not None and self._candidates.cpu_has_room:
            why = self._finish.sooner_on_cpu(model, items, now_s)
            if why:
                self._notes.decision(number, now_s, Decision(CPU, model.name, reason=why))
                return why
        if model.state is ABSENT:
            plan = self._allocator.plan(model, now_s, rank)
            if plan.kind is CPU:
                self._note_plan(number, plan, now_s)
                return plan.reason
        return ""

    # -- what others tell it -----------------------------------------------------------------------------

    def may_pass(self) -> bool:
        """If none of those who wait could begin now."""
        waiting = self._waiting
        if not self._greedy or waiting.there or (waiting.absent and self._channel.free):
            return False
        waiting.pass_all()
        return True

    def run_ended(self, model: Model, now_s: float) -> None:
        """Decide; the next run takes the stream."""
        if model.wanted is None or model.zone.retention_s:  # it may leave now, or not any more
            self._candidates.stuck = -1
        self.decide(now_s)

    def freed(self, now_s: float) -> None:
        """Decide, if there is anybody to decide for."""
        self._candidates.stuck = -1
        if self._waiting.entries:
            self.decide(now_s)

    def load_failed(self, model: Model, failure: EffectFailed | Cancelled) -> None:
        """Send those elsewhere that it has failed, unless another try may help."""
        again = worth_another_try(failure)
        for entry in self._waiting.of(model):
            entry.tries += 1
            if isinstance(failure, Cancelled):  # the one that is cancelled: for others it would go on
                self._waiting.leave(entry)
            elif not again or entry.tries > 1:
                elsewhere = FALLBACK if model.may_run_on_cpu else FAILED
                self._send(entry, elsewhere, str(failure))

    def load_ended(self, model: Model, now_s: float) -> None:
        """Decide: a channel is free, and perhaps the model there."""
        if model.wanted is not None:
            self._waiting.moved(model)
        self.freed(now_s)

    # -- deciding ----------------------------------------------------------------------------------------

    def decide(self, now_s: float) -> None:
        """Begin all runs and loads that may begin now."""
        gpu, channel, waiting = self._gpu, self._channel, self._waiting
        if not (gpu.free and waiting.there) and not (channel.free and waiting.absent):
            return
        candidates = self._candidates
        candidates.held, candidates.blocked, candidates.now_s = NOBODY, None, now_s
        if self._plain:  # nothing can be loaded: what the rules below come to, in a third of the calls
            while gpu.free and waiting.there and not self._may_load(now_s):
                first = waiting.there[0][2].first
                self._run(first if first.due_s <= now_s else waiting.turns[0][2].next)
            if not waiting.absent or (candidates.under_way and not self._may_load(now_s)):
                return
        while (gpu.free and waiting.there) or (channel.free and waiting.absent):
            candidates.plans.clear()
            try:
                if self._plain and self._load_only():
                    return
                if not self._begin_next(now_s) and not self._begin_any():
                    return
            except PolicyError as error:  # of whoever asked first, not of the one whose end brought us here
                # and not of one that was told of a load in this very step, and has yet to begin it
                entry = next((entry for entry in self._waiting if entry.told is None), None)
                if entry is None:
                    return
                self._waiting.leave(entry)
                entry.tell(error)

    def _load_only(self) -> bool:
        """Begin the only thing that could be begun, a load: two in three misses, in half the calls."""
        waiting, candidates = self._waiting, self._candidates
        if len(waiting.absent) != 1 or (self._gpu.free and waiting.there):
            return False
        entry = waiting.absent[0][2].first
        if not candidates.is_next(entry) or not candidates.may_load:
            return False
        plan = self._candidates.plan(entry, None)
        if plan.kind is LOAD:
            self._begin_load(entry, plan)
        return plan.kind is LOAD

    def _may_load(self, now_s: float) -> bool:
        """Whether a load might be begun, beside which a run is not all that there is to do."""
        absent = self._waiting.absent
        return bool(self._channel.free and absent) and (absent[0][0] <= now_s or self._candidates.may_load)

    def _begin_next(self, now_s: float) -> bool:
        """Begin one run or load, or block others for one. Returns whether there may be more to begin."""
        pick = self._order(self._view, now_s)
        gpu, channel, candidates = self._gpu, self._channel, self._candidates
        if channel.free and candidates.blocked is None:
            due = candidates.first_absent()
            if due is not None and due is not pick and self._goes_before(due, pick):
                return self._load(due, due.place) or self._block(due)
        if gpu.free:
            due = candidates.first_there()
            if due is not None and self._goes_before(due, pick):
                pick = due
        if pick is None or not candidates.is_next(pick):
            return False
        if pick.model.state is not ABSENT:
            return self._run(pick)
        if self._waiting_is_use:
            return self._load(pick, None) or self._block(pick)
        plain = not self._heedless and self._load(pick, None)
        turn = _BEFORE_ALL if self._waiting_is_nothing else pick.place
        return plain or self._load(pick, turn) or self._block(pick)

    def _goes_before(self, due: Waiting, pick: Waiting | None) -> bool:
        """Whether the bound puts `due` before what the order has picked."""
        return due.due_s <= self._candidates.now_s and (pick is None or due.place < pick.place)

    def _begin_any(self) -> bool:
        """Where nothing is under way, begin the first thing that can be: somebody waits."""
        if self._candidates.under_way:
            return False
        there, absent = self._candidates.first_there(), self._candidates.first_absent()
        if there is not None:
            return self._run(there)
        return absent is not None and self._load(absent, absent.place)

    # -- beginning ---------------------------------------------------------------------------------------

    def _run(self, entry: Waiting) -> bool:
        """Give a request a stream, and let others join its run."""
        self._gpu.free -= 1
        self._begin_run(entry)
        run_s = entry.run_s
        if self._batching.on and not entry.alone:
            batch = [entry]
            for other in self._batching.others(entry, self._candidates.now_s):
                if self._candidates.is_held(other):
                    break
                self._begin_run(other)
                batch.append(other)
                run_s += other.run_s
            if len(batch) > 1:
                for member in batch:
                    member.batch = batch
        if self._finish is not None:
            self._finish.run_began(run_s, self._candidates.now_s)
        entry.tell(_RUN)
        return True

    def _begin_run(self, entry: Waiting) -> None:
        """Pin the model for a request, which waits no longer."""
        model, now_s = entry.model, self._candidates.now_s
        self._allocator.use(model, now_s, entry.outcome is COLD_START)
        if entry.outcome is HIT:  # the others' is written down already
            self._notes.decision(entry.number, now_s, model.hit)
            if self._loads.get(model, 0) != entry.loads_before:
                entry.outcome = WAIT
        self._waiting.start(entry)

    def _load(self, entry: Waiting, turn: Turn | None) -> bool:
        """Load for a request, or send it elsewhere. Returns whether one of these was done."""
        plan = self._candidates.plan(entry, turn)
        if plan.kind is LOAD:
            self._begin_load(entry, plan)
        elif plan.kind is CLEAR:
            entry.tell(self._clear(entry.number, plan))
        elif plan.kind is Kind.WAIT:
            return False
        else:
            self._note_plan(entry.number, plan, self._candidates.now_s)
            self._send(entry, _ELSEWHERE[plan.kind], plan.reason)
        return True

    def _note_plan(self, number: int, plan: Plan, now_s: float) -> None:
        """Write down that a request goes elsewhere."""
        self._notes.decision(number, now_s, self._allocator.decline(plan, now_s))

    def _begin_load(self, entry: Waiting, plan: Plan) -> None:
        """Load for a request."""
        entry.outcome = COLD_START
        entry.tell(self._carry_out(entry.number, plan, self._candidates.now_s))

    def _carry_out(self, number: int, plan: Plan, now_s: float) -> Decision:
        """Take a channel and send the victims away; the load itself is a story of its own."""
        self._channel.free -= 1
        decision = self._allocator.carry_out(plan, now_s)
        self._loads[plan.model] = self._loads.get(plan.model, 0) + 1
        if self._finish is not None:
            self._finish.load_began(plan.model, now_s)
        self._notes.decision(number, now_s, decision)
        return decision

    def _clear(self, number: int, plan: Plan) -> Decision:
        """Send away what has to leave before a load is decided anew; it keeps the channel meanwhile."""
        self._channel.free -= 1
        self._candidates.clearing.add(plan.model)
        decision = self._allocator.clear(plan)
        self._notes.decision(number, self._candidates.now_s, decision)
        return decision

    def _make_room(self, decision: Decision, now_s: float) -> Story:
        """Unload what has been sent away, then let it be decided anew."""
        now_s = yield from self._loading.clear(decision, now_s)
        self._candidates.clearing.discard(self._allocator.models[decision.model])
        self._channel.release()
        self.freed(now_s)

    def _block(self, entry: Waiting) -> bool:
        """Let nobody behind `entry` use what it waits for, and nothing else be loaded."""
        self._candidates.blocked = entry.place
        if self._waiting_is_use:
            return True
        self._candidates.held = frozenset(self._candidates.plan(entry, entry.place).victims)
        return True

    def _send(self, entry: Waiting, outcome: Outcome, why: str) -> None:
        """A request waits no longer, and goes elsewhere."""
        self._candidates.sent += outcome is FALLBACK
        self._waiting.leave(entry)
        entry.tell((outcome, why))
