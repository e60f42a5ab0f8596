"""A machine that slows down when much runs on it at once.

Effects under way share the machine: each has an amount of work (its time when alone) and progresses at a
speed that depends on what else runs at the moment, so that its end moves whenever another effect begins or
ends (processor sharing). Effects on one core share it evenly (:mod:`vramlab.simulation.shared_cores`), and so
do loads one link. That neighbours with a core of their own slow each other down, and what changes of thread
cost, was measured and simulated once: it moved no figure of the bundled recording (traces/recorded_tight) by
more than four per cent.

:class:`~vramlab.simulation.shared.SharedDriver` does the rescheduling; constant times need none of this and
take the short way of :class:`~vramlab.simulation.driver.SimulatedDriver`.
"""

from __future__ import annotations

from typing import Any

from vramlab.engine.effects import Load, Target
from vramlab.simulation.history import History
from vramlab.simulation.service_times import ServiceTimes
from vramlab.simulation.shared_cores import SharedCores


class SharedMachine(ServiceTimes):
    """Work from service times, speed by cores and link.

    Parameters
    ----------
    times : ServiceTimes
        What effects take.
    cores : int, optional
        Processor cores that the effects share; None where they need none (all work is the device's).
    device_cores : int
        How many of them only runs on the device have, which then have no others.
    one_link : bool
        Whether all GPU loads under way share the bandwidth of one link evenly.
    """

    def __init__(
        self,
        times: ServiceTimes,
        cores: int | None = None,
        device_cores: int = 0,
        one_link: bool = False,
    ) -> None:
        self._times = times
        self._history = History()
        self._cores = SharedCores(cores or 0, device_cores)
        self._one_link = one_link

    def load_s(self, model: str, target: Target) -> float:
        """Alone."""
        return self._times.load_s(model, target)

    def unload_s(self, model: str) -> float:
        """Alone."""
        return self._times.unload_s(model)

    def infer_s(self, model: str, target: Target, items: int) -> float:
        """Alone."""
        return self._times.infer_s(model, target, items)

    def begin(self, effect: Any, now_s: float, reporting: bool = False) -> float:
        """Work of an effect that begins now, as the last of those that run: seconds, if it had no company.

        `reporting`: the end of another lets it.
        """
        work_s = self._times.work_s(effect, self._history, now_s, reporting)
        self._history.begin(effect)
        self._cores.begin(effect)
        return work_s

    def end(self, place: int, now_s: float) -> None:
        """The effect at that place of those that run has ended; those behind it move up."""
        self._history.end(place, now_s)
        self._cores.end(place)

    def speeds(self) -> list[float]:
        """Work that each running effect gets done per second, in their order; no core is idle meanwhile."""
        running = self._history.running
        sharing = self._cores.sharing() or (1,) * len(running)
        if not self._one_link:
            return [1 / on_core for on_core in sharing]
        loads = [type(effect) is Load and effect.target is Target.GPU for effect in running]
        on_link = sum(loads)
        return [
            1 / (on_core * (on_link if load else 1)) for on_core, load in zip(sharing, loads, strict=True)
        ]
