"""The simulated driver for a machine that its effects share: their ends move when others begin or end.

Only one end is ever on the agenda: that of the effect which is done first as things stand. Whenever an effect
begins or ends, the work done so far is taken off everybody's and the first end is found anew; an end that was
planned before counts for nothing. Few effects run at once (the engine's queues see to that), so this is a
short list.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vramlab.engine.effects import Infer, Load, Unload
from vramlab.engine.engine import Engine
from vramlab.engine.interpreter import Task
from vramlab.simulation.driver import Answered, SimulatedDriver
from vramlab.simulation.faults import Faults
from vramlab.simulation.machine import SharedMachine

_WORK = (Infer, Load, Unload)


class _End:
    """A planned end; it no longer matters once another one has been planned."""

    __slots__ = ("matters",)

    def __init__(self) -> None:
        self.matters = True

    acts: ClassVar[bool] = True


class _Limit:
    """The time limit of a load; it no longer matters once the task does something else."""

    __slots__ = ("effect", "task")

    def __init__(self, task: Task) -> None:
        self.task, self.effect = task, task.effect

    @property
    def matters(self) -> bool:
        """Whether the load may still be under way."""
        return self.task.effect is self.effect

    acts: ClassVar[bool] = False


class SharedDriver(SimulatedDriver):
    """Runs the engine on simulated time, on a machine that slows down when much runs at once.

    Parameters
    ----------
    machine : SharedMachine
        How much work effects are, and how fast it gets done. The others are those of
        :class:`~vramlab.simulation.driver.SimulatedDriver`.
    """

    def __init__(
        self,
        engine: Engine,
        machine: SharedMachine,
        faults: Faults | None = None,
        answered: Answered | None = None,
    ) -> None:
        super().__init__(engine, machine, faults, answered)
        self._machine = machine
        self._running: list[Task] = []
        self._left_s: list[float] = []  # work that each still has
        self._speeds: list[float] = []
        self._reckoned_s = 0.0  # when the work left was true
        self._planned: _End | None = None
        self._first = 0  # place of the task that is done first
        self._reporting = False  # an end

    def perform(self, task: Task, effect: Any) -> None:
        """Begin the work of `effect`."""
        if self.starting or type(effect) not in _WORK:
            super().perform(task, effect)
            return
        now_s = self.now_s
        self._reckon(now_s)
        self._running.append(task)
        work_s = self._machine.begin(effect, now_s, self._reporting)
        if self.faults is not None:
            work_s = self.faults.begins(task.name, effect, now_s, work_s)
        self._left_s.append(work_s)
        self._plan()
        if type(effect) is Load and effect.timeout_s is not None:
            self.agenda.at(now_s + effect.timeout_s, self._limit, _Limit(task))

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
        self._planned = _End()
        self.agenda.at(self._reckoned_s + wait_s, self._end, self._planned)

    def _end(self, end: _End, now_s: float) -> None:
        if not end.matters:
            return
        task = self._take_out(self._first, now_s)
        self._reporting = True
        self.on_end(task, now_s)
        self._reporting = False
        self._plan()

    def _limit(self, limit: _Limit, now_s: float) -> None:
        if limit.matters and limit.task in self._running:
            self.overdue(self._take_out(self._running.index(limit.task), now_s), now_s)
            self._plan()

    def _take_out(self, place: int, now_s: float) -> Task:
        """Take the task at that place out of those that run; what begins next may take its core."""
        self._reckon(now_s)
        task = self._running.pop(place)
        del self._left_s[place]
        self._machine.end(place, now_s)
        return task
