"""Running the engine's stories: what all drivers have in common.

A driver subclasses :class:`Interpreter` and says how an effect is made to happen
(:meth:`Interpreter.perform`); when it has happened, it calls :meth:`Interpreter.resume` or
:meth:`Interpreter.fail`. Waiting on gates, spawning, the order in which tasks go on, and the journal of
effects are here, so that they are the same everywhere.

Everything that follows from one event of the outside (an arrival, an effect that ended, a timer) happens at
that event's one time, `now_s`. That is why a journal of such events can be replayed to the same decisions.
"""

from __future__ import annotations

from typing import Any, Final, cast

from mypy_extensions import mypyc_attr

from vramlab.engine.effects import (
    TIMED_OUT,
    Cancelled,
    EffectFailed,
    Failure,
    Infer,
    ReadMemory,
    Spawn,
    Story,
    Unload,
    Wait,
)
from vramlab.engine.engine import Engine
from vramlab.engine.gates import Gate
from vramlab.engine.journal import Journal
from vramlab.engine.requests import Answer, Request

# A class of tuples is none that the compiler knows: by its name it would be looked up.
_INFER: Final = Infer
_SPAWN: Final = Spawn
_ANSWER: Final = Answer


@mypyc_attr(allow_interpreted_subclasses=True)
class Task:
    """One running story.

    Parameters
    ----------
    name : int or str
        The request's number, or the name of one of the engine's own loops; unique while it runs.
    story : generator
        Of the engine.
    """

    __slots__ = ("effect", "name", "started_s", "story", "waiting")

    def __init__(self, name: int | str, story: Story) -> None:
        self.name = name
        self.story = story
        self.effect: Any = None  # the effect under way
        self.started_s = 0.0
        self.waiting: Gate | None = None


class _Ending:
    """A story that was cancelled in the middle of an effect: it ends where it would next wait, load or run.

    Effects that clean up are not cut off: a victim that was sent away has to be unloaded.
    """

    def __init__(self, story: Story) -> None:
        self._story = story

    def send(self, outcome: Any) -> Any:
        return self._unless_new(self._story.send(outcome), outcome[0])

    def throw(self, failure: EffectFailed) -> Any:
        return self._unless_new(self._story.throw(failure), failure.now_s)

    def _unless_new(self, effect: Any, now_s: float) -> Any:
        if isinstance(effect, Unload | ReadMemory | Spawn | Answer) and not _is_pause(effect):
            return effect
        return self._story.throw(Cancelled(now_s))


def _is_pause(effect: Any) -> bool:
    """Whether the effect does nothing but let time pass, at least to begin with."""
    return isinstance(effect, ReadMemory) and effect.after_s > 0


@mypyc_attr(allow_interpreted_subclasses=True)
class Interpreter:
    """Base of the drivers.

    Parameters
    ----------
    engine : Engine
        Whose stories are run.
    journal : Journal, optional
        Where effects are written down.
    """

    def __init__(self, engine: Engine, journal: Journal | None = None) -> None:
        self.engine = engine
        self.journal = journal
        self.now_s = 0.0
        self._ready, self._serving = engine.ready, engine.serving

    # -- for drivers to fill in --------------------------------------------------------------------------

    def new_task(self, name: int | str, story: Story) -> Task:
        """Make a task, of the driver's own kind."""
        return Task(name, story)

    def perform(self, task: Task, effect: Any) -> None:
        """Begin to make `effect` happen (one of Load, Unload, Infer, ReadMemory)."""
        raise NotImplementedError

    def set_timer(self, task: Task, gate: Gate, timeout_s: float) -> None:
        """Call :meth:`time_out` with `task` and `gate` after `timeout_s`."""
        raise NotImplementedError

    def spawn(self, name: str, story: Story) -> None:
        """Start a story of the engine's own."""
        self._go_on(self.new_task(name, story), None)

    def finished(self, task: Task, value: Any) -> None:
        """`task` has come to its end with `value`."""

    def crashed(self, task: Task, error: Exception) -> None:
        """`task` ended with an exception that is none of the engine's outcomes: a bug, not to be hidden."""
        raise error

    # -- for drivers to call -----------------------------------------------------------------------------

    def request(self, number: int, request: Request, now_s: float) -> Task:
        """A request has come: begin its story."""
        task = self.arrived(number, request, now_s)
        self.start(task, now_s)
        return task

    def arrived(self, number: int, request: Request, now_s: float) -> Task:
        """As :meth:`request`, but the task is still to be started."""
        if self.journal is not None:
            self.journal.put(now_s, number, request, None)
        return self.new_task(number, self._serving.serve(number, request, now_s))

    def begin(self, name: str, now_s: float, model: str | None = None) -> Task:
        """Begin one of the engine's own stories (:meth:`Engine.story`)."""
        if self.journal is not None:
            self.journal.write(now_s, "begin", name, model)
        task = self.new_task(name, self.engine.story(name, now_s, model))
        self.start(task, now_s)
        return task

    def start(self, task: Task, now_s: float) -> None:
        """Begin a task, at `now_s`."""
        self.now_s = now_s
        self._go_on(task, None)
        if self._ready:
            self._drain()

    def resume(self, task: Task, now_s: float, value: Any) -> None:
        """The effect that `task` asked for has happened."""
        self.now_s = now_s
        journal = self.journal
        if journal is not None:
            if value is None or type(value) is list:  # outputs, of which nothing is noted
                journal.put(now_s, task.name, task.effect, task.started_s)
            else:
                journal.ended(now_s, task.name, task.effect, value, task.started_s)
        self._go_on(task, (now_s, value))
        if self._ready:
            self._drain()

    def fail(
        self,
        task: Task,
        now_s: float,
        kind: Failure,
        message: str = "",
        lacking_bytes: int | None = None,
    ) -> None:
        """The effect that `task` asked for has failed."""
        self.now_s = now_s
        failure = EffectFailed(now_s, kind, message, lacking_bytes)
        if self.journal is not None:
            self.journal.failed(task.name, task.effect, task.started_s, failure)
        self._go_on(task, failure, throws=True)
        if self._ready:
            self._drain()

    def time_out(self, task: Task, gate: Gate, now_s: float) -> None:
        """The time of a ``Wait`` is up; without effect if `task` no longer waits there."""
        if task.waiting is not gate or task not in gate.waiters:
            return
        self.now_s = now_s
        gate.waiters.remove(task)
        if self.journal is not None:
            self.journal.write(now_s, "timer", task.name)
        self._go_on(task, (now_s, TIMED_OUT))
        if self._ready:
            self._drain()

    def cancel(self, task: Task, now_s: float) -> None:
        """Cancel a running task.

        A task that waits ends now. An effect under way cannot be called back: the task ends after it, and its
        answer may still come if it has nothing more to wait for.
        """
        self.now_s = now_s
        if self.journal is not None:
            self.journal.write(now_s, "cancel", task.name)
        gate = task.waiting
        if gate is not None and task in gate.waiters:
            gate.waiters.remove(task)
        elif _is_pause(task.effect):
            task.effect = None  # drivers leave the end of a pause alone that is not the task's effect
        else:
            task.story = cast(Story, _Ending(task.story))
            return
        self._go_on(task, Cancelled(now_s), throws=True)
        if self._ready:
            self._drain()

    # -- the trampoline ----------------------------------------------------------------------------------

    def _go_on(self, task: Task, outcome: Any, throws: bool = False) -> None:
        """Send an outcome into a story, or throw it, and begin the effect that it yields next."""
        try:
            effect: Any = task.story.throw(outcome) if throws else task.story.send(outcome)
        except StopIteration as end:
            self.finished(task, end.value)
            return
        except Cancelled:
            self.finished(task, self.engine.cancelled(task.name, self.now_s))
            return
        except Exception as error:
            self.crashed(task, error)
            return
        kind = type(effect)
        if kind is _INFER:  # asked first: a hit has no other effect, and an answer
            pass
        elif kind is _ANSWER:
            self.finished(task, effect)
            return
        elif isinstance(effect, Gate):
            task.waiting = effect
            effect.waiters.append(task)
            return
        elif isinstance(effect, Wait):
            gate = task.waiting = effect.gate
            gate.waiters.append(task)
            if effect.timeout_s is not None:
                self.set_timer(task, gate, effect.timeout_s)
            return
        elif kind is _SPAWN:
            self.spawn(*effect)
            self._go_on(task, (self.now_s, None))
            return
        task.effect = effect
        task.started_s = now_s = self.now_s
        journal = self.journal
        if journal is not None:
            journal.put(now_s, task.name, effect, None)
        self.perform(task, effect)

    def _drain(self) -> None:
        """Resume the tasks whose gates have opened, in order."""
        ready = self._ready
        while ready:
            task, value = ready.popleft()
            task.waiting = None
            self._go_on(task, (self.now_s, value))
