"""Who goes next, as servers of today have it: orders as ``vramlab.servers.orders:NAME``."""

from __future__ import annotations

from vramlab.allocator.states import IN_USE, RESIDENT
from vramlab.engine.orders import WaitingView
from vramlab.engine.outcomes import Outcome
from vramlab.engine.waiting import Waiting

VRAMD_CUTS = 3
_THERE = (RESIDENT, IN_USE)


def one_pending(waiting: WaitingView, now_s: float) -> Waiting | None:
    """Requests for models that are there go at once, the others one at a time, as they came.

    Ollama fb30760, ``server/sched.go`` (``processPending``): while room is made for one, no other is looked
    at.
    """
    return _run(waiting) or waiting.first_absent()


def swap_queue(waiting: WaitingView, now_s: float) -> Waiting | None:
    """Requests for models that are there go at once, the others as they can.

    They are walked through in the order of coming; the first whose load sends no busy model away is begun.

    llama-swap 0bdb372, ``router/scheduler/fifo.go``.
    """
    return _run(waiting) or next(waiting.loads(), None)


def hot_jumps(waiting: WaitingView, now_s: float) -> Waiting | None:
    """The head of the more important band, but a hot request of that band jumps a cold head, three times.

    vramd d70128c (0.3.9), ``scheduler.py`` (``AffinityScheduler``) and ``dispatcher.py``: interactive (here
    critical and high) before batch; a cold request is begun when nothing is under way. Its time-out against
    starving is off by default.
    """
    if waiting.under_way >= waiting.serving.gpu_streams:  # a worker loads, and then runs
        return None
    begun = next((entry for entry in waiting if entry.outcome is Outcome.COLD_START), None)
    if begun is not None and begun.model.state in _THERE:
        return begun
    head, hot = waiting.first, waiting.first_there()
    picked = head
    if hot is not None and hot is not head and head.cuts < VRAMD_CUTS and _band(hot) == _band(head):
        picked = hot
    if not waiting.is_next(picked) or (waiting.under_way and picked.model.state not in _THERE):
        return None
    head.cuts += picked is not head
    return picked


def _run(waiting: WaitingView) -> Waiting | None:
    """The first whose model is there, if it can run now."""
    first = waiting.first_there()
    return first if first is not None and waiting.is_next(first) else None


def _band(entry: Waiting) -> bool:
    return entry.rank < 2
