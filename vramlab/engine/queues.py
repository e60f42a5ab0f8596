"""Queues: for a slot of which only so many are to be had, and for room on the device.

Who takes a slot gives it back (:class:`Queue`): GPU streams, load channels, CPU workers. Room is memory, of
which the allocator keeps the account, and has no slots (:class:`RoomQueue`). Both let the first go on who has
come. The requests that an order of serving picks from wait elsewhere (:mod:`vramlab.engine.waiting`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from vramlab.allocator import Allocator, Decision, Kind
from vramlab.allocator.decisions import WAIT
from vramlab.allocator.facts import STAYING
from vramlab.allocator.policies.own import PolicyError
from vramlab.config.schema import Priority
from vramlab.engine.effects import TIMED_OUT, Cancelled, Story, Wait
from vramlab.engine.gates import Gate, Ready


class Queue(Gate):
    """Slots, and those who wait for one.

    Parameters
    ----------
    ready : Ready
        Of the engine.
    slots : int
        How many may have one at once.
    bound : float
        How many may wait; the queue itself turns nobody away, who comes looks at `room`.

    Attributes
    ----------
    slots, free : int
        All of them, and those that nobody has.
    """

    __slots__ = ("_line", "bound", "free", "slots")

    def __init__(self, ready: Ready, slots: int, bound: float = math.inf) -> None:
        super().__init__(ready)
        self._line: deque[Any] = deque()
        self.waiters = self._line
        self.slots = self.free = slots
        self.bound = bound

    @property
    def room(self) -> float:
        """How many more may come, to get a slot or to wait for one."""
        return self.free + self.bound - len(self.waiters)

    def take(self) -> bool:
        """Take a slot if one is free; else yield the queue itself, and go on with one."""
        if self.free:
            self.free -= 1
            return True
        return False

    def release(self) -> None:
        """Give one slot back, to the first who waits if somebody does."""
        if self._line:
            self._ready.append((self._line.popleft(), None))
        else:
            self.free += 1


class _Waiter:
    """Somebody who waits for room; the gate opens with the decision that ends the waiting."""

    __slots__ = ("counted", "gate", "model", "priority", "task")

    def __init__(
        self, task: int | str, model: str, priority: Priority | None, counted: bool, gate: Gate
    ) -> None:
        self.task, self.model, self.priority, self.gate = task, model, priority, gate
        self.counted = counted  # whether the allocator has been asked before, and has counted the use


class RoomQueue:
    """Those who wait for room: because models in use, or their own unloading, stand in their way.

    They are decided anew after each change, in the order of their coming. Nobody overtakes the first: those
    who come later for a model that could make room for it stand behind it, or they would use that model again
    and again while it waits.

    Parameters
    ----------
    allocator : Allocator
        Decides.
    ready : Ready
        Of the engine.
    note : callable
        ``note(task, now_s, decision)``, called for each decision that ends a waiting.
    timeout_s : float
        How long anybody waits.
    """

    def __init__(
        self,
        allocator: Allocator,
        ready: Ready,
        note: Callable[[int | str, float, Decision], None],
        timeout_s: float,
    ) -> None:
        self.waiters: deque[_Waiter] = deque()
        self._allocator, self._ready, self._note, self._timeout_s = allocator, ready, note, timeout_s

    def must_wait(self, name: str) -> bool:
        """Whether a request that comes now, while others wait, has to stand behind them.

        Free to go on are requests for models that never leave (critical), and those for absent models that
        the CPU may answer.
        """
        model = self._allocator.models[name]
        if model.critical:
            return False
        if model.state not in STAYING:
            return not model.may_run_on_cpu
        return True

    def wait(
        self, task: int | str, name: str, now_s: float, priority: Priority | None, counted: bool
    ) -> Story:
        """Wait behind those who wait already. The value is (now_s, decision).

        `counted` says that the allocator has been asked before, and has counted the use.
        """
        waiter = _Waiter(task, name, priority, counted, Gate(self._ready))
        self.waiters.append(waiter)
        try:
            now_s, decision = yield Wait(waiter.gate, self._timeout_s)
        except Cancelled as cancelled:
            self.leave(waiter, cancelled.now_s)
            raise
        if isinstance(decision, PolicyError):
            raise decision
        if decision is TIMED_OUT:
            self.leave(waiter, now_s)
            kind = Kind.CPU if self._allocator.models[name].may_run_on_cpu else Kind.REFUSE
            decision = Decision(kind, name, reason="waited too long for models in use")
        return now_s, decision

    def leave(self, waiter: _Waiter, now_s: float) -> None:
        """Stop waiting; those behind may go on."""
        self.waiters.remove(waiter)
        self.decide(now_s)

    def decide(self, now_s: float) -> None:
        """Something has changed: let them go on, from the first, until one must go on waiting."""
        waiters = self.waiters
        while waiters and self._goes_on(waiters[0], now_s):
            waiters.popleft()

    def _goes_on(self, waiter: _Waiter, now_s: float) -> bool:
        allocator, name, priority = self._allocator, waiter.model, waiter.priority
        try:
            if waiter.counted:
                decision = allocator.ask_again(name, now_s, priority)
            else:
                decision = allocator.request(name, now_s, priority)
        except PolicyError as error:
            # that of the request that waits, and not of the one whose end has brought us here
            waiter.gate.open(error)
            return True
        waiter.counted = True
        if decision[0] is WAIT:
            return False
        self._note(waiter.task, now_s, decision)
        waiter.gate.open(decision)
        return True
