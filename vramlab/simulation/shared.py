"""The simulated driver for a machine that its effects share: their ends move when others begin or end.

Only one end is ever in SimPy's heap: that of the effect which is done first as things stand. Whenever an
effect begins or ends, the work done so far is taken off everybody's and the first end is found anew; an end
that was planned before counts for nothing. Few effects run at once (the engine's queues see to that), so
this is a short list.
"""

from __future__ import annotations

from typing import Any

from vramlab.engine.effects import Infer, Load, Story, Unload
from vramlab.engine.engine import Engine
from vramlab.engine.journal import Journal
from vramlab.simulation.driver import SimulatedDriver
from vramlab.simulation.machine import Machine

_WORK = (Infer, Load, Unload)


class _End:
    """A planned end in SimPy's heap; it no longer matters once another one has been planned."""

    __slots__ = ("callbacks", "matters")

    def __init__(self, callbacks: tuple[Any, ...]) -> None:
        self.callbacks = callbacks
        self.matters = True


class _Limit:
    """The time limit of a load; it no longer matters once the task does something else."""

    __slots__ = ("callbacks", "effect", "task")

    def __init__(self, task: Any, callbacks: tuple[Any, ...]) -> None:
        self.task, self.effect, self.callbacks = task, task.effect, callbacks

    @property
    def matters(self) -> bool:
        """Whether the load may still be under way."""
        return self.task.effect is self.effect


class SharedDriver(SimulatedDriver):
    """Runs the engine on simulated time, on a machine that gets slower the more runs at once.

    Parameters
    ----------
    engine : Engine
        Whose stories are run.
    machine : Machine
        How much work effects are, and how fast it gets done.
    journal : Journal, optional
        Where effects are written down.
    """

    def __init__(self, engine: Engine, machine: Machine, journal: Journal | None = None) -> None:
        super().__init__(engine, machine, journal)
        self._machine = machine
        self._running: list[Any] = []  # tasks
        self._left_s: list[float] = []  # work that each still has
        self._speeds: list[float] = []
        self._reckoned_s = 0.0  # when the work left was true
        self._planned: _End | None = None
        self._first = 0  # place of the task that is done first
        self._under_way = -len(engine.endless_stories())  # requests, and stories that end
        self._reporting = False  # an end
        self._on_end = (self._end,)
        self._on_limit = (self._limit,)

    def start(self, task: Any, now_s: float) -> None:
        """Begin a task."""
        self._under_way += 1
        super().start(task, now_s)

    def spawn(self, name: str, story: Story) -> None:
        """Start a story of the engine's own."""
        self._under_way += 1
        super().spawn(name, story)

    def finished(self, task: Any, value: Any) -> None:
        """A task has ended."""
        self._under_way -= 1

    def perform(self, task: Any, effect: Any) -> None:
        """Begin the work of `effect`."""
        if self._starting or type(effect) not in _WORK:
            super().perform(task, effect)
            return
        self._reckon(self.now_s)
        self._running.append(task)
        lone, queued = self._under_way <= 1, self._reporting
        self._left_s.append(self._machine.begin(effect, self.now_s, lone, queued))
        self._plan()
        if type(effect) is Load and effect.timeout_s is not None:
            self.env.schedule_at(_Limit(task, self._on_limit), self.now_s + effect.timeout_s)

    def _reckon(self, now_s: float) -> None:
        """Take what has been done since the last time off the work that is left."""
        elapsed_s = now_s - self._reckoned_s
        self._reckoned_s = now_s
        if elapsed_s > 0:
            pairs = zip(self._left_s, self._speeds, strict=True)
            self._left_s = [max(0.0, left_s - speed * elapsed_s) for left_s, speed in pairs]

    def _plan(self) -> None:
        """Find the effect that is done first as things stand."""
        if self._planned is not None:
            self._planned.matters = False
            self._planned = None
        if not self._running:
            self._speeds = []
            return
        self._speeds = self._machine.speeds()
        waits_s = [left_s / speed for left_s, speed in zip(self._left_s, self._speeds, strict=True)]
        wait_s = min(waits_s)
        self._first = waits_s.index(wait_s)
        self._planned = end = _End(self._on_end)
        self.env.schedule_at(end, self._reckoned_s + wait_s)

    def _end(self, end: _End) -> None:
        if not end.matters:
            return
        task = self._take_out(self._first)
        self._reporting = True
        self.resume(task, self.env.now, None)
        self._reporting = False
        self._plan()

    def _limit(self, limit: _Limit) -> None:
        if limit.matters and limit.task in self._running:
            self._overdue(self._take_out(self._running.index(limit.task)))
            self._plan()

    def _take_out(self, place: int) -> Any:
        """The task at a place of those that run; it runs no longer, and what begins now may take its core."""
        now_s = self.env.now
        self._reckon(now_s)
        task = self._running.pop(place)
        del self._left_s[place]
        self._machine.end(place, now_s)
        return task
