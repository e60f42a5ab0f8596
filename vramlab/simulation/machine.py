"""A machine that slows down when much runs on it at once.

Effects under way share the machine: each has an amount of work (its time when alone) and progresses at a
speed that depends on what else runs at the moment, so that its end moves whenever another effect begins or
ends (processor sharing). Speed is a product of two things:

- *Cores.* Every effect keeps one processor core busy. It begins on a core with the fewest others, of several
  such cores on that where one has begun last (systems choose by the recent load), and shares it evenly with
  them; one that shares is moved to the first idle core. (No core is idle whose next effect was waiting
  already: that is the same thread's.) So three on two cores do not run at two thirds each: two of them run at
  half speed, for as long as all three last. That is how systems with a queue per core schedule,
  and what was measured (on two cores, beside two runs that never pause: a load takes 2.0 times as long, a
  run 1.85 times).
- *Neighbours.* One effect beside another may be slower although each has its core (memory bandwidth, a shared
  link, one GPU for two streams). The profile measures it pair by pair; slow-downs by several neighbours
  multiply.

A lone run that is known to be short saves its change of threads, as it does live
(:mod:`vramlab.engine.short_runs`).

:class:`~vramlab.simulation.shared.SharedDriver` does the rescheduling; constant times need none of this and
take the short way of :class:`~vramlab.simulation.driver.SimulatedDriver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import pandas as pd

from vramlab.engine.effects import Infer, Load, Target, describe_effect
from vramlab.engine.short_runs import ShortRuns
from vramlab.simulation.profile_times import ProfileTimes
from vramlab.simulation.service_times import ServiceTimes

Slowdowns = Mapping[tuple[str, str], float]
"""By what factor the first slows down while the second runs beside it; what is absent does not."""

_LOAD = "load on gpu"


class Machine(ServiceTimes, Protocol):
    """Service times with effects that change each other's speed."""

    def begin(self, effect: Any, now_s: float, lone: bool = False) -> float:
        """Work of an effect that begins now, as the last of those that run: the seconds it would take alone.

        `lone`: for the only request that is under way.
        """

    def end(self, place: int, now_s: float) -> None:
        """The effect at that place of those that run has ended; those behind it move up."""

    def speeds(self) -> list[float]:
        """Work that each running effect gets done per second, in their order."""


class SharedMachine:
    """Work from service times, speed by cores and neighbours.

    Parameters
    ----------
    times : ServiceTimes
        What effects take when alone. Of :class:`ProfileTimes`, runs know how long their model paused,
        and loads whether they are its first.
    cores : int, optional
        Processor cores that the effects share; None where they need none (all work is the device's).
    slowdowns : mapping, optional
        By pairs of kinds, as the journal calls them: ``("infer on gpu", "load on gpu"): 1.2``.
    one_link : bool
        Whether all GPU loads under way share the bandwidth of one link evenly.
    inline_run_s : float
        The longest that a lone run may take to be done without a change of threads (where the profile has
        such times).
    """

    def __init__(
        self,
        times: ServiceTimes,
        cores: int | None = None,
        slowdowns: Slowdowns | None = None,
        one_link: bool = False,
        inline_run_s: float = 0.0,
    ) -> None:
        self._times = times
        self._running: list[Any] = []
        self._core: list[int] = []  # of each that runs
        self._on_core = [0] * (cores or 0)  # how many run there
        self._slowdowns = dict(slowdowns or {})
        self._one_link = one_link
        self._profile = times if isinstance(times, ProfileTimes) else None
        self._short_runs = ShortRuns(inline_run_s)
        self._last_s: dict[tuple[str, Target], float] = {}  # when a session ran last
        self._last_run_s: dict[Target, float] = {}  # of any session
        self._speeds: dict[tuple[tuple[str, ...], tuple[int, ...]], list[float]] = {}
        self._kinds: dict[Any, str] = {}

    def load_s(self, model: str, target: Target) -> float:
        """Alone."""
        return self._times.load_s(model, target)

    def unload_s(self, model: str) -> float:
        """Alone."""
        return self._times.unload_s(model)

    def infer_s(self, model: str, target: Target, items: int) -> float:
        """Alone."""
        return self._times.infer_s(model, target, items)

    def begin(self, effect: Any, now_s: float, lone: bool = False) -> float:
        """Work of an effect that begins now."""
        self._running.append(effect)
        if self._on_core:
            self._put_on_a_core()
        return self._work_s(effect, now_s, lone)

    def _put_on_a_core(self) -> None:
        fewest = min(self._on_core)
        if fewest == 0:
            core = self._on_core.index(0)
        else:
            core = next(c for c in reversed(self._core) if self._on_core[c] == fewest)
        self._core.append(core)
        self._on_core[core] += 1

    def _use_idle_cores(self) -> None:
        while (most := max(self._on_core)) > 1 and 0 in self._on_core:
            moved = max(place for place, core in enumerate(self._core) if self._on_core[core] == most)
            idle = self._on_core.index(0)
            self._on_core[self._core[moved]] -= 1
            self._core[moved] = idle
            self._on_core[idle] = 1

    def _work_s(self, effect: Any, now_s: float, lone: bool) -> float:
        kind = type(effect)
        if kind is Infer:
            if self._profile is None:
                return self._times.infer_s(effect.model, effect.target, effect.items)
            last_s = self._last_s.get((effect.model, effect.target))
            pause_s = None if last_s is None else now_s - last_s
            other_s = self._last_run_s.get(effect.target)
            idle_s = None if other_s is None else now_s - other_s
            served = self._profile.served_s(effect.model, effect.target, effect.items, pause_s, idle_s)
            if served is None:
                return self._profile.run_s(effect.model, effect.target, effect.items, pause_s)
            on_loop = lone and effect in self._short_runs
            self._short_runs.note(effect, served.bare_s)
            return served.on_loop_s if on_loop else served.by_worker_s
        if kind is Load:
            first = (effect.model, effect.target) not in self._last_s
            if first and self._profile is not None:
                return self._profile.first_load_s(effect.model, effect.target)
            return self._times.load_s(effect.model, effect.target)
        return self._times.unload_s(effect.model)

    def end(self, place: int, now_s: float) -> None:
        """Remember when a session ran last; a load ends with its session having run, or about to."""
        effect = self._running.pop(place)
        if self._on_core:
            self._on_core[self._core.pop(place)] -= 1
        kind = type(effect)
        if kind is Infer or kind is Load:
            self._last_s[effect.model, effect.target] = now_s
        if kind is Infer:
            self._last_run_s[effect.target] = now_s
        if kind is Load:
            self._short_runs.forget(effect.model, effect.target)

    def speeds(self) -> list[float]:
        """Work per second, by the kinds of what runs and by who shares a core; no core is idle meanwhile."""
        if self._on_core:
            self._use_idle_cores()
        kinds = tuple([self._kind(effect) for effect in self._running])
        sharing = tuple([self._on_core[core] for core in self._core])
        speeds = self._speeds.get((kinds, sharing))
        if speeds is None:
            speeds = self._speeds[kinds, sharing] = self._speeds_of(kinds, sharing or (1,) * len(kinds))
        return speeds

    def _kind(self, effect: Any) -> str:
        kind = self._kinds.get(effect)
        if kind is None:
            kind = self._kinds[effect] = describe_effect(effect)[0]
        return kind

    def _speeds_of(self, kinds: tuple[str, ...], sharing: tuple[int, ...]) -> list[float]:
        speeds = []
        for place, (kind, on_core) in enumerate(zip(kinds, sharing, strict=True)):
            slowdown = kinds.count(_LOAD) if self._one_link and kind == _LOAD else 1.0
            for other, beside in enumerate(kinds):
                if other != place:
                    slowdown *= self._slowdowns.get((kind, beside), 1.0)
            speeds.append(1 / (on_core * slowdown))
        return speeds


def measured_slowdowns(frame: pd.DataFrame) -> Slowdowns:
    """What a profile says of neighbours: the median time beside them over the median time alone, at least 1.

    Both medians are of the same model, items and pause.
    """
    alike = ["model", "target", "what", "items", "pause_s"]
    medians_s = frame.groupby([*alike, "beside"]).seconds.median()
    factors: dict[tuple[str, str], list[float]] = {}
    for key, seconds in medians_s.items():
        model, target, what, items, pause_s, beside = cast(tuple[Any, ...], key)
        alone_s = medians_s.get((model, target, what, items, pause_s, ""))
        if beside and alone_s:
            factors.setdefault((f"{what} on {target}", str(beside)), []).append(seconds / alone_s)
    return {pair: max(1.0, float(pd.Series(ratios).median())) for pair, ratios in factors.items()}
