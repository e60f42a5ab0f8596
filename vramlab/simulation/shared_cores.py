"""Processor cores that effects share: which core each has, and with how many others.

Every effect keeps one core busy: runs on the device one of the device's, if it has any for itself
(:mod:`vramlab.live.cores`), all else one of the host's. It begins on a core with the fewest others, of
several such cores on that where one has begun last (systems choose by the recent load), and shares it evenly
with them; one that shares is moved to the first idle core. (No core is idle whose next effect was waiting
already: that is the same thread's.) So three on two cores do not run at two thirds each: two of them run at
half speed, for as long as all three last. That is how systems with a queue per core schedule, and what was
measured (on two cores, beside two runs that never pause: a load takes 2.0 times as long, a run 1.85 times).
"""

from __future__ import annotations

from typing import Any

from vramlab.engine.effects import Infer, Target


class SharedCores:
    """Who has which core, of effects in the order in which they began.

    Parameters
    ----------
    cores : int
        All there are; 0: effects need none, and share nothing.
    device_cores : int
        How many of them only runs on the device have, which then have no others.
    """

    def __init__(self, cores: int, device_cores: int = 0) -> None:
        self._core: list[int] = []  # of each effect
        self._on_core = [0] * cores  # how many run there
        self._host_cores = range(cores - device_cores)
        self._device_cores = range(len(self._host_cores), cores) or self._host_cores

    def begin(self, effect: Any) -> None:
        """Give an effect that begins a core, as the last of those that run."""
        if not self._on_core:
            return
        on_device = type(effect) is Infer and effect.target is Target.GPU
        self._put_on_one_of(self._device_cores if on_device else self._host_cores)

    def end(self, place: int) -> None:
        """Take the core of the effect at that place; those behind it move up."""
        if self._on_core:
            self._on_core[self._core.pop(place)] -= 1

    def sharing(self) -> tuple[int, ...]:
        """Return how many run on the core of each effect; no core is idle meanwhile. Empty without cores."""
        if not self._on_core:
            return ()
        self._use_idle_ones_of(self._host_cores)
        if self._device_cores is not self._host_cores:
            self._use_idle_ones_of(self._device_cores)
        return tuple([self._on_core[core] for core in self._core])

    def _put_on_one_of(self, cores: range) -> None:
        fewest = min([self._on_core[core] for core in cores])
        candidates = [core for core in cores if self._on_core[core] == fewest]
        if fewest == 0:
            core = candidates[0]
        else:
            core = next(core for core in reversed(self._core) if core in candidates)
        self._core.append(core)
        self._on_core[core] += 1

    def _use_idle_ones_of(self, cores: range) -> None:
        while True:
            most = max([self._on_core[core] for core in cores])
            idle = next((core for core in cores if self._on_core[core] == 0), None)
            if most < 2 or idle is None:
                return
            crowded = [core for core in cores if self._on_core[core] == most]
            moved = max(place for place, core in enumerate(self._core) if core in crowded)
            self._on_core[self._core[moved]] -= 1
            self._core[moved] = idle
            self._on_core[idle] = 1
