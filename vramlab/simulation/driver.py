"""The simulated driver: the engine's effects, which take their time on an agenda.

Here effects take as long as if each was alone; on a machine that they share their ends move
(:mod:`vramlab.simulation.shared`). What goes wrong is in :mod:`vramlab.simulation.faults`. Who plays a trace,
and who serves a SimPy model, is above: :mod:`vramlab.simulation.replaying`, :mod:`vramlab.simulation.server`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, ClassVar, Final

from mypy_extensions import mypyc_attr

from vramlab.engine.effects import Failure, Infer, Load, MemoryReading, ReadMemory, Story, Unload
from vramlab.engine.engine import ENDLESS, Engine
from vramlab.engine.gates import Gate
from vramlab.engine.interpreter import Interpreter, Task
from vramlab.simulation.agenda import Agenda
from vramlab.simulation.faults import Faults
from vramlab.simulation.service_times import ServiceTimes

Answered = Callable[[int | str, Any], object]
"""Told the name of each task that has ended, and its value."""

# For the hot path: what is not Final the compiler looks up.
_INFER: Final = Infer
_LOAD: Final = Load
_UNLOAD: Final = Unload


class SimTask(Task):
    """A task on an agenda."""

    __slots__ = ()

    def __init__(self, name: int | str, story: Story) -> None:
        # not the base's own: a million are made, and what else it would set is set before it is read
        self.name = name
        self.story = story
        self.waiting = None

    @property
    def matters(self) -> bool:
        """Whether the run has to go on for it."""
        return self.name not in ENDLESS

    @property
    def acts(self) -> bool:
        """Whether it does something rather than let time pass."""
        return not isinstance(self.effect, ReadMemory) or self.effect.after_s == 0


class _Timer:
    """The end of the time that a task waits at a gate."""

    __slots__ = ("gate", "task")

    def __init__(self, task: Task, gate: Gate) -> None:
        self.task, self.gate = task, gate

    @property
    def matters(self) -> bool:
        """Whether the run has to go on for it: somebody still waits there."""
        return self.task.waiting is self.gate and self.task.name not in ENDLESS

    acts: ClassVar[bool] = False


@mypyc_attr(allow_interpreted_subclasses=True)
class SimulatedDriver(Interpreter):
    """Runs the engine on simulated time.

    Parameters
    ----------
    engine : Engine
        Whose stories are run.
    times : ServiceTimes
        How long effects take.
    faults : Faults, optional
        What goes wrong.
    answered : callable, optional
        Told of each task that has ended.

    Attributes
    ----------
    agenda : Agenda
        What is still to come.
    starting : bool
        While that is true loads take no time.
    """

    def __init__(
        self,
        engine: Engine,
        times: ServiceTimes,
        faults: Faults | None = None,
        answered: Answered | None = None,
    ) -> None:
        super().__init__(engine, engine.journal)
        self.agenda = Agenda()
        self.faults = faults
        self.starting = False
        self._answered = answered
        self._heap, self._times = self.agenda.heap, times
        self.on_end = self.ended if faults is None else self._ended_or_failed

    def open(self, now_s: float) -> None:
        """Load what is always loaded, in no time, and begin the stories that never end."""
        self.starting = True
        self.begin("start", now_s)
        self.finish()
        self.starting = False
        for name in self.engine.endless_stories():
            self.begin(name, now_s)

    def new_task(self, name: int | str, story: Story) -> Task:
        """Make a task, of the driver's own kind."""
        return SimTask(name, story)

    @property
    def busy(self) -> bool:
        """Whether a run has to go on.

        Not for stories that never end, unless somebody waits for what they do.
        """
        if any(thing.matters for *_, thing in self._heap):
            return True
        waiting = self.engine.waiting_for_gpu + self.engine.waiting_for_room
        return waiting > 0 and any(thing.acts for *_, thing in self._heap)

    def finish(self, time_s: float = inf) -> None:
        """Let happen what is due, as long as the run has to go on, and at `time_s` at the latest."""
        heap = self._heap
        while heap and heap[0][0] <= time_s and (heap[0][3].matters or self.busy):
            self.agenda.step()

    def perform(self, task: Any, effect: Any) -> None:
        """Plan the end of `effect`."""
        kind = type(effect)
        now_s, call = self.now_s, self.on_end
        timeout_s: float | None = None
        if kind is _INFER:
            run: Infer = effect  # its fields by number: by name the compiler asks the interpreter for them
            work_s = self._times.infer_s(run[0], run[1], run[2])
        elif kind is _LOAD:
            load: Load = effect
            timeout_s = load[3]
            work_s = 0.0 if self.starting else self._times.load_s(load[0], load[1])
        elif kind is _UNLOAD:
            work_s = self._times.unload_s(effect[0])
        elif kind is ReadMemory:
            self.agenda.at(now_s + effect.after_s, self._look, task)
            return
        else:
            raise TypeError(f"not an effect: {effect!r}")
        if self.faults is not None:
            work_s = self.faults.begins(task.name, effect, now_s, work_s, self.starting)
        if timeout_s is not None and work_s > timeout_s:
            work_s, call = timeout_s, self.overdue
        self.agenda.at(now_s + work_s, call, task)

    def set_timer(self, task: Task, gate: Gate, timeout_s: float) -> None:
        """Let :meth:`time_out` come after `timeout_s`."""
        self.agenda.at(self.now_s + timeout_s, self._time_is_up, _Timer(task, gate))

    def finished(self, task: Task, value: Any) -> None:
        """Tell who is to be told that a task has ended."""
        if self._answered is not None:
            self._answered(task.name, value)

    def read_memory(self, now_s: float) -> MemoryReading:
        """Read the device: the ledger and the overhead, and nothing else will change it."""
        config = self.engine.config
        allocator = self.engine.allocator
        used = allocator.device.held + allocator.shared_bytes + config.overhead.taken_bytes
        return MemoryReading(config.total_bytes, used, True)

    # -- what the agenda calls ---------------------------------------------------------------------------

    def ended(self, task: Task, now_s: float) -> None:
        """End the effect of a task."""
        self.resume(task, now_s, None)

    def _ended_or_failed(self, task: Task, now_s: float) -> None:
        assert self.faults is not None
        failure = self.faults.ends(task.name, task.effect)
        if failure is None:
            self.resume(task, now_s, None)
        else:
            self.fail(task, now_s, *failure)

    def overdue(self, task: Task, now_s: float) -> None:
        """Fail a load at its time limit."""
        effect: Load = task.effect
        if self.faults is not None:
            self.faults.overdue(task.name, effect)
        self.fail(task, now_s, Failure.TIMED_OUT, f"took longer than {effect.timeout_s:g} s")

    def _look(self, task: Task, now_s: float) -> None:
        reading = self.read_memory(now_s) if self.faults is None else self.faults.reading(now_s)
        self.resume(task, now_s, reading)

    def _time_is_up(self, timer: _Timer, now_s: float) -> None:
        self.time_out(timer.task, timer.gate, now_s)
