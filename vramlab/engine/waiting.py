"""Requests that must wait until a model is released or has left, in the order of their coming.

After each such change all of them are decided anew, first come first served. What makes that cheap when
thousands wait: if the first request for a model must go on waiting, so must the others for it, and they are
not asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from vramlab.allocator import Allocator, Decision, Kind
from vramlab.config.schema import Priority
from vramlab.engine.gates import Gate, Ready


class Waiting:
    """One request that waits; its gate opens with the decision that ends the waiting."""

    __slots__ = ("gate", "model", "number", "order", "priority")

    def __init__(self, order: int, number: int, model: str, priority: Priority | None, gate: Gate) -> None:
        self.order, self.number, self.model, self.priority, self.gate = order, number, model, priority, gate

    def __lt__(self, other: Waiting) -> bool:
        return self.order < other.order


class WaitingRoom:
    """All requests that wait.

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
        self, allocator: Allocator, ready: Ready, note: Callable[[int, float, Decision], None]
    ) -> None:
        self._allocator, self._ready, self._note = allocator, ready, note
        self._queues: dict[tuple[str, Priority | None], deque[Waiting]] = {}
        self._came = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def enter(self, number: int, model: str, priority: Priority | None) -> Waiting:
        """A request begins to wait."""
        self._came += 1
        entry = Waiting(self._came, number, model, priority, Gate(self._ready))
        self._queues.setdefault((model, priority), deque()).append(entry)
        return entry

    def leave(self, entry: Waiting) -> None:
        """A request gives up."""
        queue = self._queues[entry.model, entry.priority]
        queue.remove(entry)
        if not queue:
            del self._queues[entry.model, entry.priority]

    def decide(self, now_s: float) -> None:
        """Something has changed: decide anew about everybody whom it may concern."""
        first = [queue[0] for queue in self._queues.values()]
        heapify(first)
        while first:
            entry = heappop(first)
            decision = self._allocator.ask_again(entry.model, now_s, entry.priority)
            if decision.kind is Kind.WAIT:
                continue
            queue = self._queues[entry.model, entry.priority]
            queue.popleft()
            if queue:
                heappush(first, queue[0])
            else:
                del self._queues[entry.model, entry.priority]
            self._note(entry.number, now_s, decision)
            entry.gate.open(decision)
