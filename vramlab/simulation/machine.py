"""A machine that slows down when much runs on it at once.

Effects under way share the machine: each has an amount of work (its time when alone) and progresses at a
speed that depends on what else runs at the moment, so that its end moves whenever another effect begins or
ends (processor sharing). Speed is a product of two things:

- *Cores.* Effects on one core share it evenly (:mod:`vramlab.simulation.shared_cores`).
- *Neighbours.* One effect beside another may be slower although each has its core (memory bandwidth, a shared
  link, one GPU for two streams). The profile measures it pair by pair; slow-downs by several neighbours
  multiply.

A lone run that is known to be short saves its change of threads, as it does live
(:mod:`vramlab.engine.short_runs`); one that has waited in a queue pays for the report of the end that lets it
begin.

:class:`~vramlab.simulation.shared.SharedDriver` does the rescheduling; constant times need none of this and
take the short way of :class:`~vramlab.simulation.driver.SimulatedDriver`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pandas as pd

from vramlab.engine.effects import Infer, Load, Target, describe_effect
from vramlab.engine.short_runs import ShortRuns
from vramlab.simulation.history import History
from vramlab.simulation.in_turns import TimesInTurns
from vramlab.simulation.profile_times import ProfileTimes
from vramlab.simulation.recorded import RecordedTimes
from vramlab.simulation.service_times import ServiceTimes
from vramlab.simulation.shared_cores import SharedCores

Slowdowns = Mapping[tuple[str, str], float]
"""By what factor the first slows down while the second runs beside it; what is absent does not."""

_LOAD, _DEVICE_RUN = "load on gpu", "infer on gpu"


class SharedMachine:
    """Work from service times, speed by cores and neighbours.

    Parameters
    ----------
    times : ServiceTimes
        What effects take when alone. Of :class:`ProfileTimes`, runs know how long nothing has run,
        and loads whether they are its first.
    cores : int, optional
        Processor cores that the effects share; None where they need none (all work is the device's).
    device_cores : int
        How many of them only runs on the device have, which then have no others.
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
        device_cores: int = 0,
        slowdowns: Slowdowns | None = None,
        one_link: bool = False,
        inline_run_s: float = 0.0,
    ) -> None:
        self._times = times
        self._history = History()
        self._on_loop: list[bool] = []  # whether the event loop's own thread does it
        self._ended_on_loop = False  # the last that ended
        self._cores = SharedCores(cores or 0, device_cores)
        self._slowdowns = dict(slowdowns or {})
        self._one_link = one_link
        self._profile = times if isinstance(times, ProfileTimes) else None
        self._recorded = times if isinstance(times, RecordedTimes | TimesInTurns) else None
        self._short_runs = ShortRuns(inline_run_s)
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

    def begin(self, effect: Any, now_s: float, others: int = 1, queued: bool = False) -> float:
        """Work of an effect that begins now, as the last of those that run: seconds, if it had no company.

        `others`: how many more requests are under way; `queued`: another effect has just ended.
        """
        history = self._history
        if self._recorded is not None:  # which knows what each situation adds
            work_s = self._recorded.work_s(effect, history, now_s, queued)
            history.begin(effect)
            self._on_loop.append(False)
            self._cores.begin(effect)
            return work_s
        by_worker = queued and not self._ended_on_loop  # which reports the end, and goes on with this
        stays = type(effect) is Infer and self._short_runs.stays(effect, others)
        on_loop = stays and not by_worker
        work_s = self._work_s(effect, now_s, on_loop, by_worker)
        history.begin(effect)
        self._on_loop.append(on_loop)
        self._cores.begin(effect)
        return work_s

    def _work_s(self, effect: Any, now_s: float, on_loop: bool, queued: bool) -> float:
        kind, history = type(effect), self._history
        if kind is Infer:
            if self._profile is None:
                return self._times.infer_s(effect.model, effect.target, effect.items)
            pause_s, idle_s = history.pause_s(effect, now_s), history.silence_s(effect.target, now_s)
            served = self._profile.served_s(effect.model, effect.target, effect.items, pause_s, idle_s)
            if served is None:
                return self._profile.run_s(effect.model, effect.target, effect.items, pause_s)
            self._short_runs.note(effect, served.bare_s)
            if on_loop:
                return served.on_loop_s
            return served.queued_s if queued else served.by_worker_s
        if kind is Load:
            if self._profile is not None and history.is_first(effect):
                return self._profile.first_load_s(effect.model, effect.target)
            return self._times.load_s(effect.model, effect.target)
        return self._times.unload_s(effect.model)

    def end(self, place: int, now_s: float) -> None:
        """The effect at that place of those that run has ended; those behind it move up."""
        effect = self._history.end(place, now_s)
        self._ended_on_loop = self._on_loop.pop(place)
        self._cores.end(place)
        if type(effect) is Load:
            self._short_runs.forget(effect.model, effect.target)

    def speeds(self) -> list[float]:
        """Work that each running effect gets done per second, in their order; no core is idle meanwhile."""
        sharing = self._cores.sharing()
        kinds = tuple([self._kind(effect) for effect in self._history.running])
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

    Both medians are of the same model, items and pause. Where the two had to share a core, that alone makes
    the time twice as long, and is not the neighbour's doing.
    """
    alike = ["model", "target", "what", "items", "pause_s"]
    medians_s = frame.groupby([*alike, "beside"]).seconds.median()
    factors: dict[tuple[str, str], list[float]] = {}
    for key, seconds in medians_s.items():
        model, target, what, items, pause_s, beside = cast(tuple[Any, ...], key)
        alone_s = medians_s.get((model, target, what, items, pause_s, ""))
        if beside and alone_s:
            pair = f"{what} on {target}", str(beside)
            factors.setdefault(pair, []).append(seconds / alone_s / _on_one_core(pair, frame))
    return {pair: max(1.0, float(pd.Series(ratios).median())) for pair, ratios in factors.items()}


def _on_one_core(pair: tuple[str, str], frame: pd.DataFrame) -> int:
    """How many of a pair are on each core of those that they have."""
    cores, device_cores = frame.attrs.get("cpu_count") or 0, frame.attrs.get("device_cores", 0)
    on_device = [device_cores > 0 and kind == _DEVICE_RUN for kind in pair]
    if on_device[0] != on_device[1]:
        return 1
    return 2 if (device_cores if on_device[0] else cores - device_cores) == 1 else 1
