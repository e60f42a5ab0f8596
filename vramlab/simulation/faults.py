"""Fault plans in a simulated run: what fails, a device that shrinks, a slow disk, a CPU that stalls.

A faulty driver is any of the simulated drivers whose service times are stretched and some of whose loads
fail. The engine is told what it would be told live, and nothing more: a load fails, a reading shows less
memory. What went wrong is counted in ``Records.faults``, and what was lost by it in ``Records.lost`` and the
failed loads.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from vramlab.config.faults import FaultPlan, LoadFailures
from vramlab.engine.effects import Failure, Infer, Load, MemoryReading, Target, Unload
from vramlab.engine.engine import Engine
from vramlab.engine.interpreter import Task
from vramlab.engine.journal import Journal
from vramlab.simulation.driver import SimulatedDriver
from vramlab.simulation.service_times import ServiceTimes

MESSAGE = "by the fault plan"


class Pace:
    """How fast work gets done: one second of it per second, but for some periods.

    Parameters
    ----------
    periods : iterable of (from_s, until_s, speed)
        Where periods overlap, speeds multiply; 0 is a standstill.
    """

    def __init__(self, periods: Iterable[tuple[float, float, float]]) -> None:
        periods = list(periods)
        self._edges = sorted({edge for start_s, end_s, _ in periods for edge in (start_s, end_s)})
        # the speed before each edge; after the last one it is 1 again
        before = [-np.inf, *self._edges]
        self._speeds = [
            prod(speed for start_s, end_s, speed in periods if start_s <= edge < end_s)
            for edge in before[:-1]
        ]

    def end_s(self, start_s: float, work_s: float) -> float:
        """When work is done that would take ``work_s`` at speed 1."""
        now_s, left_s = start_s, work_s
        for place in range(bisect_right(self._edges, start_s), len(self._edges)):
            if not left_s:
                break
            speed, edge_s = self._speeds[place], self._edges[place]
            done_s = (edge_s - now_s) * speed
            if left_s <= done_s:
                return now_s + left_s / speed
            now_s, left_s = edge_s, left_s - done_s
        return now_s + left_s


class _FaultyTimes:
    """Service times, stretched by the plan; ``now_s`` is set by the driver before each effect."""

    def __init__(self, times: ServiceTimes, plan: FaultPlan, counts: dict[str, float]) -> None:
        self._times = times
        self._counts = counts
        disk = [(slow.from_s, slow.until_s, 1 / slow.factor) for slow in plan.slow_disk]
        stalls = [(stall.from_s, stall.until_s, 0.0) for stall in plan.cpu_stalls]
        self._load_pace = {Target.GPU: Pace(disk), Target.CPU: Pace(disk + stalls)}
        self._run_pace = {Target.GPU: Pace([]), Target.CPU: Pace(stalls)}
        self.now_s = 0.0

    def load_s(self, model: str, target: Target) -> float:
        return self._loading_s(self._times.load_s(model, target), target)

    def unload_s(self, model: str) -> float:
        return self._times.unload_s(model)

    def infer_s(self, model: str, target: Target, items: int) -> float:
        return self._running_s(self._times.infer_s(model, target, items), target)

    def _loading_s(self, work_s: float, target: Target) -> float:
        return self._stretched(work_s, self._load_pace[target], "loads_slowed", "load_delay_s")

    def _running_s(self, work_s: float, target: Target) -> float:
        return self._stretched(work_s, self._run_pace[target], "runs_stalled", "run_delay_s")

    def _stretched(self, work_s: float, pace: Pace, count: str, delay: str) -> float:
        duration_s = pace.end_s(self.now_s, work_s) - self.now_s
        if duration_s - work_s > 1e-9 * (1 + abs(self.now_s)):  # not the last digits of a subtraction
            self._counts[count] += 1
            self._counts[delay] += duration_s - work_s
            return duration_s
        return work_s


class _FaultyMachine(_FaultyTimes):
    """The same for a machine that its effects share (:class:`~vramlab.simulation.machine.Machine`).

    Work is stretched as if it were done alone; what is slowed down by neighbours on top of that keeps the
    stretch it began with.
    """

    _times: Any

    def begin(self, effect: Any, now_s: float, lone: bool = False, queued: bool = False) -> float:
        work_s: float = self._times.begin(effect, now_s, lone, queued)
        if type(effect) is Load:
            return self._loading_s(work_s, effect.target)
        return self._running_s(work_s, effect.target) if type(effect) is Infer else work_s

    def end(self, place: int, now_s: float) -> None:
        self._times.end(place, now_s)

    def speeds(self) -> Any:
        return self._times.speeds()


class _LoadFailing:
    """Which loads one rule of the plan fails."""

    def __init__(self, rule: LoadFailures, rng: np.random.Generator) -> None:
        self._rule = rule
        self._rng = rng
        self._models = set(rule.models)
        self.due_s = sorted(rule.at_s, reverse=True)
        self.kind = Failure(rule.why)

    def strikes(self, effect: Load, now_s: float) -> bool:
        """Whether a load that begins now will fail; asked once per load."""
        rule = self._rule
        if rule.target not in ("any", effect.target.value) or (
            self._models and effect.model not in self._models
        ):
            return False
        if rule.at_s:
            if not self.due_s or self.due_s[-1] > now_s:
                return False
            self.due_s.pop()
            return True
        if now_s < (rule.from_s if rule.from_s is not None else -np.inf):
            return False
        if now_s >= (rule.until_s if rule.until_s is not None else np.inf):
            return False
        return bool(self._rng.random() < rule.probability)


class FaultyDriver(SimulatedDriver):
    """A simulated driver under a fault plan; made by :func:`faulty`, which may put another one behind it.

    The device holds what has begun to load and has not been unloaded: that, rather than the ledger, is what a
    reading shows, and a load for which it has no room runs out of memory.
    """

    plan: FaultPlan
    rng: np.random.Generator

    def __init__(self, engine: Engine, times: ServiceTimes, journal: Journal | None = None) -> None:
        self._counts = engine.recorder.faults
        self._counts |= dict.fromkeys(_COUNTED, 0)
        kind = _FaultyMachine if hasattr(times, "speeds") else _FaultyTimes
        self._stretched = kind(times, self.plan, self._counts)
        super().__init__(engine, self._stretched, journal)
        self._rules = [_LoadFailing(rule, self.rng) for rule in self.plan.load_failures]
        self._doomed: dict[int | str, tuple[Failure, str]] = {}
        failing = self.plan.run_failures
        self._failing = frozenset(() if failing is None else failing.requests)
        self._on_device: dict[str, int] = {}
        self._room = engine.config.total_bytes - engine.config.overhead.taken_bytes
        self._last_change_s = max((shrink.until_s for shrink in self.plan.device_shrinks), default=-np.inf)
        self._count_unused()

    def perform(self, task: Any, effect: Any) -> None:
        """Schedule the end of `effect`, and decide whether it will be a failure."""
        self._stretched.now_s = self.now_s
        doom = self._begin_load(effect) if type(effect) is Load else None
        if doom is not None:
            self._doomed[task.name] = doom
        super().perform(task, effect)

    def resume(self, task: Task, now_s: float, value: Any) -> None:
        """The effect that `task` asked for has ended, well or not."""
        effect = task.effect
        if type(effect) is Load and task.name in self._doomed:
            self.fail(task, now_s, *self._doomed[task.name])
            return
        if type(effect) is Infer and task.name in self._failing:
            self._counts["run_failures"] += 1
            super().fail(task, now_s, Failure.RAISED, MESSAGE)
            return
        if type(effect) is Unload:
            self._on_device.pop(effect.model, None)
        super().resume(task, now_s, value)

    def fail(
        self,
        task: Task,
        now_s: float,
        kind: Failure,
        message: str = "",
        lacking_bytes: int | None = None,
    ) -> None:
        """The load that `task` asked for has failed, by the plan or because it took too long."""
        effect = task.effect
        self._doomed.pop(task.name, None)
        if effect.target is Target.GPU:
            del self._on_device[effect.model]
        self._counts["load_failures" if message == MESSAGE else _COUNT_OF[kind]] += 1
        super().fail(task, now_s, kind, message, lacking_bytes)

    def _begin_load(self, effect: Load) -> tuple[Failure, str] | None:
        """Take the room for a load. Returns how it is going to fail, if it is."""
        doom = None
        if not self._starting:
            # every rule is asked, so that what one of them draws does not hang on the others
            struck = [rule for rule in self._rules if rule.strikes(effect, self.now_s)]
            if struck:
                doom = struck[0].kind, MESSAGE
                self._count_unused()
        if effect.target is Target.GPU:
            size = effect.size_bytes or 0
            if doom is None and self._held() + size > self._room - self._taken(self.now_s):
                doom = Failure.OUT_OF_MEMORY, "others have taken the device's memory"
            self._on_device[effect.model] = size
        return doom

    def _count_unused(self) -> None:
        self._counts["load_failures_unused"] = sum(len(rule.due_s) for rule in self._rules)

    def _held(self) -> int:
        return sum(self._on_device.values())

    def _taken(self, now_s: float) -> int:
        """Bytes that others have taken."""
        shrinks = self.plan.device_shrinks
        return sum(shrink.by_bytes for shrink in shrinks if shrink.from_s <= now_s < shrink.until_s)

    def _memory(self) -> MemoryReading:
        now_s, config = self.env.now, self.engine.config
        used = self._held() + config.overhead.taken_bytes + self._taken(now_s)
        return MemoryReading(config.total_bytes, used, now_s >= self._last_change_s)


_COUNTED = (
    "load_failures",
    "load_failures_unused",
    "loads_out_of_memory",
    "loads_timed_out",
    "loads_slowed",
    "load_delay_s",
    "run_failures",
    "runs_stalled",
    "run_delay_s",
)


_COUNT_OF = {Failure.OUT_OF_MEMORY: "loads_out_of_memory", Failure.TIMED_OUT: "loads_timed_out"}


def faulty(driver: type[SimulatedDriver], plan: FaultPlan, rng: np.random.Generator) -> type[SimulatedDriver]:
    """The driver under a fault plan.

    Parameters
    ----------
    driver : type
        Any of the simulated drivers.
    plan : FaultPlan
        What goes wrong.
    rng : Generator
        Decides which loads fail, where the plan gives a probability.
    """
    return type(f"Faulty{driver.__name__}", (FaultyDriver, driver), {"plan": plan, "rng": rng})
