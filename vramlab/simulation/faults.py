"""Fault plans in a simulated run: what fails, a device that shrinks, a slow disk, a CPU that stalls.

A driver asks :class:`Faults` how long each effect takes, how it ends and what a reading of the memory shows.
The engine is told what it would be told live, and nothing more: a load fails, a reading shows less memory.
What went wrong is counted in ``Records.faults``, and what was lost by it in ``Records.lost`` and the failed
loads.
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

MESSAGE = "by the fault plan"

How = tuple[Failure, str]
"""How an effect fails, and what is said of it."""


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


class Faults:
    """A fault plan while a run goes on.

    The device holds what has begun to load and has not been unloaded: that, rather than the ledger, is what a
    reading shows, and a load for which it has no room runs out of memory.

    Parameters
    ----------
    plan : FaultPlan
        What goes wrong.
    rng : Generator
        Decides which loads fail, where the plan gives a probability.
    engine : Engine
        Of the run: how large its device is, what no model may have of it, and where it is counted what went
        wrong.
    """

    def __init__(self, plan: FaultPlan, rng: np.random.Generator, engine: Engine) -> None:
        self._counts = engine.recorder.faults
        self._counts |= dict.fromkeys(_COUNTED, 0)
        config = engine.config
        self._total_bytes = config.total_bytes
        self._overhead_bytes = config.overhead.taken_bytes + engine.allocator.shared_bytes
        disk = [(slow.from_s, slow.until_s, 1 / slow.factor) for slow in plan.slow_disk]
        stalls = [(stall.from_s, stall.until_s, 0.0) for stall in plan.cpu_stalls]
        self._load_pace = {Target.GPU: Pace(disk), Target.CPU: Pace(disk + stalls)}
        self._run_pace = {Target.GPU: Pace([]), Target.CPU: Pace(stalls)}
        self._rules = [_LoadFailing(rule, rng) for rule in plan.load_failures]
        self._failing = frozenset(() if plan.run_failures is None else plan.run_failures.requests)
        self._shrinks = plan.device_shrinks
        self._last_change_s = max((shrink.until_s for shrink in self._shrinks), default=-np.inf)
        self._doomed: dict[int | str, How] = {}
        self._on_device: dict[str, int] = {}
        self._count_unused()

    def begins(
        self, task: int | str, effect: Any, now_s: float, work_s: float, starting: bool = False
    ) -> float:
        """Begin an effect that would take ``work_s`` without faults. Returns how long it takes.

        While a run is `starting`, no rule strikes.
        """
        if type(effect) is Load:
            doom = self._doom(effect, now_s, starting)
            if doom is not None:
                self._doomed[task] = doom
            return self._stretched(work_s, now_s, self._load_pace[effect.target], "load")
        if type(effect) is Infer:
            return self._stretched(work_s, now_s, self._run_pace[effect.target], "run")
        return work_s

    def ends(self, task: int | str, effect: Any) -> How | None:
        """End an effect. Returns how it has failed, if it has."""
        if type(effect) is Load and task in self._doomed:
            doom = self._doomed.pop(task)
            self._left(effect)
            self._counts["load_failures" if doom[1] == MESSAGE else "loads_out_of_memory"] += 1
            return doom
        if type(effect) is Infer and not self._failing.isdisjoint((task, *effect.joined)):
            self._counts["run_failures"] += 1
            return Failure.RAISED, MESSAGE
        if type(effect) is Unload:
            self._on_device.pop(effect.model, None)
        return None

    def overdue(self, task: int | str, effect: Load) -> None:
        """Count a load that took too long, whatever else would have become of it."""
        self._doomed.pop(task, None)
        self._left(effect)
        self._counts["loads_timed_out"] += 1

    def reading(self, now_s: float) -> MemoryReading:
        """Read what the device shows."""
        used = self._held() + self._overhead_bytes + self._taken(now_s)
        return MemoryReading(self._total_bytes, used, now_s >= self._last_change_s)

    def _doom(self, effect: Load, now_s: float, starting: bool) -> How | None:
        """Take the room for a load. Returns how it is going to fail, if it is."""
        doom = None
        if not starting:
            # every rule is asked, so that what one of them draws does not hang on the others
            struck = [rule for rule in self._rules if rule.strikes(effect, now_s)]
            if struck:
                doom = struck[0].kind, MESSAGE
                self._count_unused()
        if effect.target is Target.GPU:
            size = effect.size_bytes or 0
            room = self._total_bytes - self._overhead_bytes
            if doom is None and self._held() + size > room - self._taken(now_s):
                doom = Failure.OUT_OF_MEMORY, "others have taken the device's memory"
            self._on_device[effect.model] = size
        return doom

    def _left(self, effect: Load) -> None:
        if effect.target is Target.GPU:
            del self._on_device[effect.model]

    def _stretched(self, work_s: float, now_s: float, pace: Pace, what: str) -> float:
        duration_s = pace.end_s(now_s, work_s) - now_s
        if duration_s - work_s > 1e-9 * (1 + abs(now_s)):  # not the last digits of a subtraction
            self._counts[{"load": "loads_slowed", "run": "runs_stalled"}[what]] += 1
            self._counts[f"{what}_delay_s"] += duration_s - work_s
            return duration_s
        return work_s

    def _count_unused(self) -> None:
        self._counts["load_failures_unused"] = sum(len(rule.due_s) for rule in self._rules)

    def _held(self) -> int:
        return sum(self._on_device.values())

    def _taken(self, now_s: float) -> int:
        """Add up the bytes that others have taken."""
        return sum(shrink.by_bytes for shrink in self._shrinks if shrink.from_s <= now_s < shrink.until_s)


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
