"""The live driver: the engine's effects with real sessions, in worker threads and in the threads of callers.

Rules:

1. The engine is touched under one lock, by whichever thread has something to report: a caller (a request has
   come), a worker (an effect has ended) or the event loop (a timer). The time of an event is read under that
   lock, so times never decrease.
2. Nothing blocks under the lock. Each kind of effect has its own worker threads, as many as the engine may
   have under way: an effect starts at once, and every queue stays the engine's. A thread that did the like
   just before wakes sooner, and finds memory ready (models loaded by ever other threads take up to three
   times the memory). Which cores they keep to is in :mod:`vramlab.live.cores`.
3. A run is done by a worker, or by its caller's own thread where that blocks anyway
   (:meth:`LiveDriver.serve`), which saves two changes of thread. A lone run known to be short is done on the
   event loop's thread (:mod:`vramlab.live.short_runs`), which stands still meanwhile; by the one who has
   submitted it, if it was begun at once (:meth:`LiveDriver.run_here`).
4. An effect ends once. A load past its time limit has failed; what a worker says later is dropped, and the
   session closed.
5. No code of others runs under the lock but what decides (policies, predictors, orders): a thread of its own
   writes the log. A call into the runtime from inside a decision is refused.
6. No signal strikes in the middle of a decision (:mod:`vramlab.live.interrupts`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from vramlab.allocator.policies.own import PolicyError
from vramlab.config.errors import InputError
from vramlab.config.units import bytes_to_mib, ms_to_s
from vramlab.engine.effects import Failure, Infer, Load, ReadMemory, Story, Target, Unload
from vramlab.engine.engine import ENDLESS, Engine
from vramlab.engine.gates import Gate
from vramlab.engine.interpreter import Interpreter, Task
from vramlab.engine.journal import Journal
from vramlab.engine.requests import Answer, Request
from vramlab.live.answers import to_keep
from vramlab.live.interrupts import GUARD, undisturbed
from vramlab.live.lock import Lock
from vramlab.live.short_runs import ShortRuns
from vramlab.live.tasks import (
    ENDED,
    Backend,
    Caller,
    Closing,
    Failed,
    LiveTask,
    OpenSessions,
    close_session,
    failure_of,
    job_of,
)
from vramlab.live.threads import Jobs, Threads, World

_LOG = logging.getLogger(__name__)
# Unloads and readings are short and wait for nobody; beyond so many at once they may queue for a thread.
_OTHER_THREADS = 3
_GPU = Target.GPU  # a member of an enum is slow to look up


class LiveDriver(Interpreter):
    """Runs the engine with threads, beside an event loop that gives it timers.

    Parameters
    ----------
    engine : Engine
        Whose stories are run.
    backend : Backend
        Makes the sessions.
    journal : Journal, optional
        Where everything is written down.
    world : World, optional
        Threads, timers and clock; without it those of the running event loop and of this machine.
    """

    def new_task(self, name: int | str, story: Story) -> LiveTask:
        """Make a task, of the driver's own kind."""
        return LiveTask(name, story)

    def __init__(
        self, engine: Engine, backend: Backend, journal: Journal | None = None, world: World | None = None
    ) -> None:
        super().__init__(engine, journal)
        self.lock = Lock()
        self.tasks: dict[int | str, LiveTask] = {}
        self.sessions = OpenSessions()
        self._backend = backend
        self._world: World = Threads() if world is None else world
        world = self._world
        self._loop_thread = world.loop_thread
        self._time_s = world.now_s
        self._start_s = world.now_s()
        self.closing = False  # whether it takes no more requests
        self._idle = asyncio.Event()
        self._begun: LiveTask | None = None  # just now, by a caller who may do its run
        self._endless = len(engine.endless_stories())
        serving = engine.config.serving
        self._kept_bytes = 0 if engine.cache is None else engine.cache.limit_bytes
        self._short_runs = ShortRuns(ms_to_s(serving.inline_run_ms))
        cores = backend.cores
        self._gpu_runs = self._workers(serving.gpu_streams, cores.device)
        self._loads = self._workers(serving.load_channels, cores.host)
        self._cpu = self._workers(serving.cpu_workers, cores.host)
        self._others = self._workers(_OTHER_THREADS, cores.host)
        engine.on_notice(self._notice)
        engine.tolerate(self._wrong)

    def clock(self) -> float:
        """Seconds since the driver began."""
        return self._time_s() - self._start_s

    # -- requests and stories ----------------------------------------------------------------------------

    def submit(self, request: Request, inputs: Any, caller: Caller) -> LiveTask:
        """Begin a request of a coroutine.

        A run on the loop that begins at once is left to it: where ``task.here`` is not None, it lets the loop
        take a turn, then calls :meth:`run_here`, or :meth:`give_up`. :meth:`ending` says how to go on.
        """
        before = GUARD.enter()
        try:
            return self._begin_request(request, inputs, caller)
        finally:
            GUARD.leave(before)

    def ending(self, task: LiveTask, caller: Caller) -> asyncio.Future[Answer] | None:
        """Make a future of this thread's loop for the answer; None where the caller has that already."""
        future = None  # the task has none any more once it has ended, which may be before this returns
        if caller.message is not ENDED:
            with undisturbed(), self.lock:
                if caller.message is not ENDED:  # still
                    task.caller, task.future = None, (future := self._world.future())
        return future

    def run_here(self, task: LiveTask) -> None:
        """Do the run that was left to the caller of :meth:`submit`, on the event loop's thread."""
        job: Any = task.here
        before = GUARD.enter()
        try:
            task.here = None
            self._carry_out(job[0], job[1], job[2], job[3])
        finally:
            GUARD.leave(before)

    def serve(self, request: Request, inputs: Any) -> Answer:
        """Serve a request, running the model in this thread; blocks, and so not on the loop's thread."""
        before = GUARD.enter()
        caller, task = Caller(True), None
        try:
            task = self._begin_request(request, inputs, caller)
            while True:
                message, caller.message = caller.message, None
                if message is None:
                    message = caller.wait(self.lock)
                if message is ENDED:
                    break
                self._carry_out(message[0], message[1], message[2], message[3])
        except BaseException:  # an interrupt from the keyboard
            if task is not None:
                self._abandon(task)
            raise
        finally:
            GUARD.leave(before)
        return caller.answer()

    def run_story(self, name: str, model: str | None = None) -> asyncio.Future[Any]:
        """Begin one of the engine's own stories; the future of this thread's event loop has its value."""
        self.lock.refuse_reentry()
        future: asyncio.Future[Any] = self._world.future()
        with undisturbed(), self.lock:
            now_s = self.clock()
            if self.journal is not None:
                self.journal.write(now_s, "begin", name, model)
            task = self.tasks[name] = LiveTask(name, self.engine.story(name, now_s, model))
            task.future = future
            self.start(task, now_s)
        return future

    def give_up(self, task: LiveTask) -> None:
        """Cancel `task`; without effect if it has ended."""
        self.lock.refuse_reentry()
        with undisturbed(), self.lock:
            if task.here is not None:
                self._world.soon(self._carry_out, *task.here)
                task.here = None
            if self.tasks.get(task.name) is task:
                self.cancel(task, self.clock())

    def give_up_all(self) -> None:
        """Cancel every request that is under way."""
        with undisturbed(), self.lock:
            for task in list(self.tasks.values()):
                if isinstance(task.name, int) and self.tasks.get(task.name) is task:
                    self.cancel(task, self.clock())

    def take_no_more(self, *endless: str) -> None:
        """Take no more requests, and end the stories called `endless`."""
        with undisturbed(), self.lock:
            self.closing = True
            for name in endless:
                if name in self.tasks:
                    self.cancel(self.tasks[name], self.clock())
            if not self.tasks:
                self._idle.set()

    async def come_to_rest(self, *endless: str) -> None:
        """Take no more requests, end the stories called `endless`, and wait until all others have ended."""
        self.take_no_more(*endless)
        await self._idle.wait()

    def close(self) -> None:
        """Drop all sessions and end the threads; no task may be under way. Blocks."""
        self.sessions.close_all(self._world.say)
        self._world.close()

    def _begin_request(self, request: Request, inputs: Any, caller: Caller) -> LiveTask:
        lock = self.lock
        if lock._is_owned():  # a call less than `refuse_reentry` itself, which would be seen in a hit
            lock.refuse_reentry()
        with lock:
            if self.closing:
                raise Closing("the runtime is closing")
            now_s = self._time_s() - self._start_s
            number = self.engine.recorder.arrived(request.model, now_s)
            task: LiveTask = self.arrived(number, request, now_s)  # type: ignore[assignment]  # a new_task
            task.inputs, task.caller = inputs, caller
            task.keyed = request.input_key is not None and self.engine.cache is not None
            self.tasks[number] = self._begun = task
            self.start(task, now_s)
            self._begun = None
        return task

    def _abandon(self, task: LiveTask) -> None:
        """The caller's thread is gone: a run that has been begun is a worker's, and all else is cancelled."""
        with self.lock:
            task.caller = None
            if self.tasks.get(task.name) is not task:
                return
            if isinstance(task.pending, Infer):
                self.perform(task, task.pending)
            self.cancel(task, self.clock())

    # -- the interpreter's side, under the lock ----------------------------------------------------------

    def spawn(self, name: str, story: Story) -> None:
        """Start a story of the engine's own."""
        task = self.tasks[name] = LiveTask(name, story)
        self._go_on(task, None)

    def perform(self, task: Any, effect: Any) -> None:
        """Hand `effect` to its caller's thread, to a worker, or to the loop's timers."""
        mine: LiveTask = task  # the compiler knows what it has
        mine.pending = effect
        if isinstance(effect, Infer):
            job = job_of(mine, effect, self.sessions[effect[0], effect[1]], self.tasks, self._kept_bytes)
            if mine.caller is not None and mine.caller.blocks:
                mine.caller.tell(job)
            elif not self._stays_on_loop(effect):
                (self._gpu_runs if effect.target is _GPU else self._cpu).put(job)
            elif mine is self._begun:
                mine.here = job
            else:
                self._world.soon(self._carry_out, *job)
        elif isinstance(effect, Load):
            job = task, effect, self._backend.open, effect[:3]
            (self._loads if effect.target is _GPU else self._cpu).put(job)
            if effect.timeout_s is not None:
                self._world.later(effect.timeout_s, self._overdue, task, effect)
        elif isinstance(effect, Unload):
            self._others.put((task, effect, self.sessions.pop((effect.model, _GPU)).close, ()))
        elif isinstance(effect, ReadMemory):
            job = task, effect, self._backend.memory, ()
            if effect.after_s:
                self._world.later(effect.after_s, self._others.put, job)
            else:
                self._others.put(job)
        else:
            raise TypeError(f"not an effect: {effect!r}")

    def _stays_on_loop(self, effect: Infer) -> bool:
        others = len(self.tasks) - self._endless - 1
        return self._short_runs.stays(effect, others) and threading.get_ident() == self._loop_thread

    def set_timer(self, task: Task, gate: Gate, timeout_s: float) -> None:
        """Let the loop call :meth:`time_out`."""
        self._world.later(timeout_s, self._time_is_up, task, gate)

    def crashed(self, task: Any, error: Exception) -> None:
        """Report a bug; after one of a user's policy the run goes on, and endless stories begin anew."""
        self._world.say(_LOG.error, "task %s crashed", task.name, exc_info=error)
        if not isinstance(error, PolicyError):
            self.finished(task, None, error)
            return
        answer = self.engine.policy_failed(task.name, self.now_s, error)
        endless = task.name in ENDLESS
        # of an endless story nobody asks what became of it
        self.finished(task, answer, None if answer is not None or endless else error)
        if endless and not self.closing:
            pause_s = self.engine.config.optimization.monitoring_interval
            self._world.later(pause_s, self._begin_anew, task.name)

    def _begin_anew(self, name: str) -> None:
        if not self.closing:
            self.run_story(name)

    def finished(self, task: Any, value: Any, error: Exception | None = None) -> None:
        """Give the story's value, or the bug that has ended it, to whoever awaits it."""
        mine: LiveTask = task
        self.tasks.pop(mine.name, None)
        future, caller = mine.future, mine.caller
        # A timer may hold the task for minutes; through story or future it would hold the outputs, and these
        # hold the arena of the session that made them, long after that has been closed.
        mine.story = mine.inputs = mine.pending = mine.future = mine.caller = None  # type: ignore[assignment]
        if future is not None:
            self._world.resolve(future, value, error)
        elif caller is not None:
            caller.value, caller.error = value, error
            caller.tell(ENDED)
        if self.closing and not self.tasks:
            self._world.soon(self._idle.set)

    def _notice(self, what: str, model: str | None, size_bytes: int, why: str) -> None:
        """What the engine has learned or done of its own accord goes to the log."""
        extra = {"what": what, "model": model, "size_bytes": size_bytes, "why": why}
        said = "%s %s: %.1f MB (%s)", what, model or "device", bytes_to_mib(size_bytes), why
        self._world.say(_LOG.warning, *said, extra=extra)

    def _wrong(self, error: InputError) -> None:
        """A user's policy or predictor failed to hear something: what happens does not depend on it."""
        self._world.say(_LOG.error, "%s", error, exc_info=error.__cause__)

    # -- reports from outside ----------------------------------------------------------------------------

    def _workers(self, count: int, cores: frozenset[int] | None) -> Jobs:
        jobs = self._world.jobs()
        for _ in range(count):
            self._world.add_worker(jobs, self._carry_out, cores)
        return jobs

    def _carry_out(self, task: LiveTask, effect: Any, do: Callable[..., Any], given: Any) -> bool:
        """Do what an effect asks for, and report it. Returns whether it came too late."""
        value, failure, caller = None, None, task.caller
        try:
            if not isinstance(effect, Infer):
                value = do(*given)
            elif caller is not None and caller.blocks:
                value = do(given)
            else:
                begin_s = self._time_s()
                value = do(given)
                self._short_runs.note(effect, self._time_s() - begin_s)
            if task.keyed and isinstance(effect, Infer) and not effect.joined:
                value = to_keep(value, self._kept_bytes)
        except Exception as error:  # whatever a session raises is the outcome of its effect
            failure = failure_of(error)
        except BaseException:
            self._report(task, effect, None, (Failure.RAISED, "interrupted", None))
            raise
        return self._report(task, effect, value, failure)

    def _report(self, task: LiveTask, effect: Any, value: Any, failure: Failed | None) -> bool:
        """An effect has ended. Returns whether it was a load that came too late."""
        late = False
        with self.lock:
            if task.pending is not effect or task.effect is not effect:
                late = isinstance(effect, Load)
            else:
                task.pending = None
                now_s = self._time_s() - self._start_s
                if failure is not None:
                    self.fail(task, now_s, *failure)
                else:
                    if isinstance(effect, Load):
                        self._short_runs.forget(effect.model, effect.target)
                        value = self.sessions.loaded(effect, value)
                    self.resume(task, now_s, value)
        if late:
            self._world.say(_LOG.warning, "the load of %s came too late and is dropped", effect.model)
            if value is not None:
                close_session(effect.model, value, self._world.say)
        return late

    def _overdue(self, task: LiveTask, effect: Load) -> None:
        """The time of a load is up; without effect if it has ended."""
        with self.lock:
            if task.pending is not effect:
                return
            task.pending = None
            # in place of the one that hangs, which ends when the load does
            jobs = self._loads if effect.target is _GPU else self._cpu
            self._world.add_worker(jobs, self._carry_out, self._backend.cores.host)
            took = f"loading {effect.model} took longer than {effect.timeout_s:g} s"
            self.fail(task, self.clock(), Failure.TIMED_OUT, took)

    def _time_is_up(self, task: Task, gate: Gate) -> None:
        with self.lock:
            self.time_out(task, gate, self.clock())
