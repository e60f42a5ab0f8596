"""For how long was a request passed over while it could be served? Read off a journal.

The scheduler promises that this never exceeds ``serving.max_wait_s`` (:mod:`vramlab.engine.scheduler`). Here
that is measured from outside, by who waits and what is loaded, with nothing of the scheduler's own. In doubt
nobody is passed over: those whose load or joined run has failed are followed no further, runs that begin at
one moment pass nobody, and neither does anybody while a due request needs models in use to leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.journal import Line
from vramlab.engine.orders import ARRIVAL

_PATIENCE = {Priority.CRITICAL: 0.0, Priority.HIGH: 0.5}
"""Share of the bound after which a request is due (:mod:`vramlab.engine.waiting`); all of it for the rest."""

_Place = tuple[float, int]


def longest_passed_over(lines: Iterable[Line], config: VramConfig, inventory: Inventory) -> float | None:
    """Return the longest time after which a run began for a request with a later place, seconds.

    A request that is due sooner than after ``max_wait_s`` counts as if it had come as much earlier, so the
    bound is the same for all.

    Returns
    -------
    float or None
        0 where nobody was passed over; None where there is no such bound: requests are decided on arrival, or
        answered by the CPU while their model loads.
    """
    serving = config.serving
    if serving.order == ARRIVAL or serving.on_miss != "wait":
        return None
    follower = _Follower(serving.max_wait_s, inventory)
    for line in lines:
        follower.follow(line)
    follower.moment_ended()
    return follower.longest_s


class _Follower:
    """Who waits, and which models are there, as far as a journal has been read."""

    def __init__(self, max_wait_s: float, inventory: Inventory) -> None:
        self.longest_s = 0.0
        self._max_wait_s, self._inventory = max_wait_s, inventory
        self._places: dict[int | str, _Place] = {}  # of the requests that wait, by number
        self._queues: dict[str, list[_Place]] = {name: [] for name in inventory}  # with those who have left
        self._there: set[str] = set()
        self._coming: set[str] = set()
        self._now_s = 0.0
        self._served: _Place | None = None  # the latest place that was served at this moment
        self._could_run: set[str] = set()  # models that were there then

    def follow(self, line: Line) -> None:
        """Read one line."""
        if line.time_s > self._now_s:
            self.moment_ended()
            self._now_s = line.time_s
        event, what, task, model = line.event, line.what or "", line.task, line.model
        detail = line.detail or {}
        if event == "arrival" and model is not None and isinstance(task, int):
            priority = detail.get("priority") or self._inventory[model].priority
            place = line.time_s + self._max_wait_s * _PATIENCE.get(Priority(priority), 1.0), task
            self._places[task] = place
            heappush(self._queues[model], place)
        elif event == "start" and what == "infer on gpu":
            for number in (task, *detail.get("joined", ())):
                self._serve(number)
        elif event == "decision" and what == "load" and model is not None:
            self._there.difference_update(detail.get("victims", ()))
            self._coming.add(model)
        elif what == "load on gpu" and event in ("end", "fail") and model is not None:
            self._load_ended(model, well=event == "end")
        elif event == "start" and what == "unload" and model is not None:
            self._there.discard(model)
        elif event in ("done", "cancel") or what in ("cpu", "refuse") or what.endswith("on cpu"):
            self._places.pop(task, None)

    def _serve(self, number: int | str) -> None:
        place = self._places.pop(number, None)
        if place is None:
            return
        if self._served is None:
            self._could_run = set(self._there)
        self._served = max(place, self._served or place)

    def _load_ended(self, model: str, well: bool) -> None:
        self._coming.discard(model)
        if well:
            self._there.add(model)
            return
        for _, number in self._queues[model]:
            self._places.pop(number, None)
        self._queues[model].clear()

    def moment_ended(self) -> None:
        """See whom the runs that began at this moment have passed over."""
        served, self._served = self._served, None
        if served is None or not self._places or self._is_blocked(served):
            return
        for model in self._could_run & self._there:
            first = self._first(model)
            if first is not None and first < served:
                self.longest_s = max(self.longest_s, self._now_s - first[0] + self._max_wait_s)

    def _is_blocked(self, served: _Place) -> bool:
        """Whether somebody due, with an earlier place than `served`, may wait for models to leave."""
        absent = self._queues.keys() - self._there - self._coming
        firsts = [first for model in absent if (first := self._first(model)) is not None]
        return any(first < served and first[0] <= self._now_s for first in firsts)

    def _first(self, model: str) -> _Place | None:
        queue = self._queues[model]
        while queue and queue[0][1] not in self._places:
            heappop(queue)
        return queue[0] if queue else None
