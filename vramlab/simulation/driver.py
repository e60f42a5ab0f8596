"""The simulated driver: the engine's effects on a SimPy environment, as the clock and the order of events.

A trace is already in the order of time, so its arrivals are not pushed through SimPy's heap: they are merged
with it (:meth:`_Environment.replay`). At equal times what is in the heap comes first: an effect that ends at
the moment of an arrival has ended when the request is decided. A task is its own SimPy event, scheduled
again for each effect, so that a hit costs one event.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import chain, repeat
from typing import Any

import numpy as np
import simpy

from vramlab.config.faults import FaultPlan
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.effects import Failure, Infer, Load, MemoryReading, ReadMemory, Story, Unload
from vramlab.engine.engine import ENDLESS, Engine
from vramlab.engine.gates import Gate
from vramlab.engine.interpreter import Interpreter, Task
from vramlab.engine.journal import Journal
from vramlab.engine.requests import Request
from vramlab.runs.records import Recorder, Records
from vramlab.simulation.service_times import ServiceTimes, SpecTimes
from vramlab.simulation.watching import pieces
from vramlab.traces.trace import Trace, check_models


class _Environment(simpy.Environment):
    """SimPy's clock and heap, with arrivals that need no heap and times that are exact."""

    _queue: list[Any]  # of SimPy's tuples; to make its types of numbers would cost a call each

    def schedule_at(self, event: Any, time_s: float) -> None:
        """Put `event` at a time; SimPy's own ``schedule`` takes a delay, and ``now + (t - now)`` is not t."""
        heappush(self._queue, (time_s, 1, next(self._eid), event))

    def replay(
        self,
        times_s: Iterable[float],
        requests: Iterable[Request],
        arrive: Callable[[int, Request, float], object],
    ) -> None:
        """Run the events of the heap and the arrivals, in the order of time, until there are no arrivals."""
        queue = self._queue
        for number, (time_s, request) in enumerate(zip(times_s, requests, strict=True)):
            while queue and queue[0][0] <= time_s:
                # SimPy's own step, without its care for events that fail or are waited for twice
                self._now, _, _, event = heappop(queue)
                event.callbacks[0](event)
            self._now = time_s
            arrive(number, request, time_s)
        self.finish()

    def finish(self) -> None:
        """Run until nothing is under way any more but stories that never end."""
        queue = self._queue
        while any(getattr(event, "matters", True) for _, _, _, event in queue):
            self._now, _, _, event = heappop(queue)
            event.callbacks[0](event)

    def advance_to(self, time_s: float) -> None:
        """Start the clock there; nothing may be in the heap."""
        self._now = time_s


class _SimTask(Task, simpy.Event):
    """A task that is the SimPy event of the end of its effect."""

    __slots__ = ("callbacks",)

    def __init__(self, name: int | str, story: Story) -> None:
        # not the bases' own: a million are made, and what they would set is set before it is read
        self.name = name
        self.story = story

    @property
    def matters(self) -> bool:
        """Whether the run has to go on for it."""
        return self.name not in ENDLESS


class _Timer(simpy.Event):
    """The end of the time that a task waits at a gate."""

    __slots__ = ("callbacks", "gate", "task")

    callbacks: Any  # a tuple that all share, where SimPy has a list each

    def __init__(self, task: Task, gate: Gate) -> None:
        self.task, self.gate = task, gate

    @property
    def matters(self) -> bool:
        """Whether the run has to go on for it: somebody still waits there."""
        return self.task.waiting is self.gate and self.task.name not in ENDLESS


class SimulatedDriver(Interpreter):
    """Runs the engine on simulated time.

    Parameters
    ----------
    engine : Engine
        Whose stories are run.
    times : ServiceTimes
        How long effects take.
    journal : Journal, optional
        Where effects are written down.
    """

    task_type = _SimTask

    def __init__(self, engine: Engine, times: ServiceTimes, journal: Journal | None = None) -> None:
        super().__init__(engine, journal)
        self.env = _Environment()
        self._queue, self._next_id = self.env._queue, self.env._eid.__next__
        self._infer_s, self._load_s, self._unload_s = times.infer_s, times.load_s, times.unload_s
        self._callbacks = (self._ended,)
        self._timed_out = (self._time_is_up,)
        self._too_long = (self._overdue,)
        self._starting = False
        self.taken_by_others = 0  # bytes of the device that a fault plan gave to others
        self.steady_memory = True  # False where that may change: the monitor then looks every time

    def run(self, trace: Trace) -> None:
        """Serve a whole trace; what is always loaded is there when the first request comes."""
        start_s = float(trace.times_s[0])
        self.env.advance_to(start_s)
        self._starting = True
        self.begin("start", start_s)
        self.env.finish()
        self._starting = False
        for name in self.engine.endless_stories():
            self.begin(name, start_s)
        self.env.replay(_watched(trace.times_s), requests_of(trace), self.request)

    def perform(self, task: Any, effect: Any) -> None:
        """Schedule the end of `effect`."""
        kind = type(effect)
        now_s, callbacks = self.now_s, self._callbacks
        if kind is Infer:
            end_s = now_s + self._infer_s(effect.model, effect.target, effect.items)
        elif kind is Load:
            work_s = 0.0 if self._starting else self._load_s(effect.model, effect.target)
            end_s, limit_s = now_s + work_s, effect.timeout_s
            if limit_s is not None and work_s > limit_s:
                end_s, callbacks = now_s + limit_s, self._too_long
        elif kind is Unload:
            end_s = now_s + self._unload_s(effect.model)
        elif kind is ReadMemory:
            end_s = now_s + effect.after_s
        else:
            raise TypeError(f"not an effect: {effect!r}")
        task.callbacks = callbacks
        heappush(self._queue, (end_s, 1, self._next_id(), task))

    def set_timer(self, task: Task, gate: Gate, timeout_s: float) -> None:
        """Let :meth:`time_out` come after `timeout_s`."""
        timer = _Timer(task, gate)
        timer.callbacks = self._timed_out
        self.env.schedule_at(timer, self.now_s + timeout_s)

    def _time_is_up(self, timer: _Timer) -> None:
        self.time_out(timer.task, timer.gate, self.env.now)

    def _ended(self, task: Any) -> None:
        value = self._memory() if type(task.effect) is ReadMemory else None
        self.resume(task, self.env._now, value)

    def _overdue(self, task: Any) -> None:
        """A load has reached its time limit."""
        message = f"took longer than {task.effect.timeout_s:g} s"
        self.fail(task, self.env.now, Failure.TIMED_OUT, message)

    def _memory(self) -> MemoryReading:
        config = self.engine.config
        held = self.engine.allocator.device.held
        shared = self.engine.allocator.shared_bytes
        used = held + shared + config.overhead.taken_bytes + self.taken_by_others
        return MemoryReading(config.total_bytes, used, self.steady_memory)


def requests_of(trace: Trace) -> Iterator[Request]:
    """The requests of a trace, in their order; those that ask for nothing but a model share one per model."""
    names, codes = trace.model_names, _plain(trace.model_codes)
    columns = trace.priorities, trace.requesters, trace.input_keys
    if all(column is None for column in columns) and (trace.items == 1).all():
        alike = [Request(name) for name in names]
        return map(alike.__getitem__, codes)
    given = [repeat(None) if column is None else _plain(column) for column in columns]
    return map(Request.noted, map(names.__getitem__, codes), _plain(trace.items), *given)


def _plain(values: np.ndarray) -> Iterator[Any]:
    """The values as Python's own, made as they are needed: ten million at once would take half a gigabyte."""
    pieces = range(0, len(values), 65_536)
    return chain.from_iterable(values[start : start + 65_536].tolist() for start in pieces)


def simulate(
    trace: Trace,
    config: VramConfig,
    inventory: Inventory,
    times: ServiceTimes | None = None,
    journal: Journal | None = None,
    faults: FaultPlan | None = None,
    rng: np.random.Generator | None = None,
) -> Records:
    """Replay a trace through the engine on simulated time.

    Parameters
    ----------
    trace : Trace
        Requests.
    config : VramConfig
        Settings.
    inventory : dict of str to ModelSpec
        Models; every model of the trace must be in it.
    times : ServiceTimes, optional
        How long effects take; those of the inventory by default. With a
        :class:`~vramlab.simulation.machine.Machine` effects change each other's speed.
    journal : Journal, optional
        Filled with everything that happens.
    faults : FaultPlan, optional
        What goes wrong (:mod:`vramlab.simulation.faults`).
    rng : Generator, optional
        Decides what goes wrong with a probability; needed only for that.

    Returns
    -------
    Records
        One outcome per request, and all loads and evictions.

    Raises
    ------
    InputError
        If the trace asks for a model that the inventory lacks.
    """
    check_models(trace, inventory)
    recorder = Recorder(list(config.zones))
    recorder.expect(trace.model_names, trace.model_codes, trace.times_s)
    maps_matter = config.placement == "contiguous" or config.optimization.defragmentation == "always"
    engine = Engine(config, inventory, recorder, journal, mapped=maps_matter)
    driver_type: type[SimulatedDriver] = SimulatedDriver
    if hasattr(times, "speeds"):
        from vramlab.simulation.shared import SharedDriver  # which builds on this module

        driver_type = SharedDriver
    if faults:
        from vramlab.simulation.faults import faulty

        driver_type = faulty(driver_type, faults, rng or np.random.default_rng(0))
    driver = driver_type(engine, times or SpecTimes(config, inventory), journal)
    with _collecting_rarely():
        driver.run(trace)
    return recorder.records()


def _watched(times_s: np.ndarray) -> Iterator[float]:
    """As :func:`_plain`, and whoever watches the replay is told how far it is."""
    return chain.from_iterable(times_s[piece].tolist() for piece in pieces(len(times_s), 65_536))


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Spare the garbage collector from going through what grows without cycles; failures do leave cycles."""
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
