"""How long effects take in the simulator: the protocol, and constants from the inventory.

Measured times are in :mod:`vramlab.simulation.profile_times`, loads over a link of known bandwidth in
:mod:`vramlab.simulation.link`, and what effects do to each other in :mod:`vramlab.simulation.machine`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from mypy_extensions import mypyc_attr

from vramlab.config.schema import Inventory, VramConfig, of_models
from vramlab.config.units import ms_to_s
from vramlab.engine.effects import Infer, Load, Target
from vramlab.simulation.history import History

_GPU: Final = Target.GPU  # for the hot path


@mypyc_attr(allow_interpreted_subclasses=True)
class ServiceTimes:
    """Durations in seconds; called once per effect, in the order in which effects start.

    A base rather than a protocol: a call of what the compiler does not know is half of what an effect costs.
    """

    def load_s(self, model: str, target: Target) -> float:
        """Time to make a session."""
        raise NotImplementedError

    def unload_s(self, model: str) -> float:
        """Time to drop a session."""
        raise NotImplementedError

    def infer_s(self, model: str, target: Target, items: int) -> float:
        """Time to run a model."""
        raise NotImplementedError

    def work_s(self, effect: Any, history: History, now_s: float, reporting: bool) -> float:
        """Work of an effect that begins now on a shared machine: seconds without company.

        By default what it takes alone, whatever has run before. `reporting`: the end of another lets it.
        """
        kind = type(effect)
        if kind is Infer:
            return self.infer_s(effect.model, effect.target, effect.items)
        if kind is Load:
            return self.load_s(effect.model, effect.target)
        return self.unload_s(effect.model)


class Quantiles:
    """Uniform quantiles to draw samples by, made many at once; without a generator each is the median's."""

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        self._rng = rng
        self._drawn: list[float] = []

    def next(self) -> float:
        """Return the next one."""
        if self._rng is None:
            return 0.5
        if not self._drawn:
            self._drawn = self._rng.random(4096).tolist()
        return self._drawn.pop()


@mypyc_attr(allow_interpreted_subclasses=True)
class SpecTimes(ServiceTimes):
    """Constant times, from the inventory.

    A GPU item takes ``inference_ms * performance_multiplier``; a CPU item the measured time, else the GPU's
    over ``fallback.cpu_performance_ratio``; several items take so many times as long.
    """

    def __init__(self, config: VramConfig, inventory: Inventory) -> None:
        ratio = config.fallback.cpu_performance_ratio
        self._gpu_item_s = of_models(inventory, lambda spec: spec.inference_s)
        self._cpu_item_s = of_models(inventory, lambda spec: spec.cpu_inference_s(ratio))
        self._gpu_load_s = of_models(inventory, lambda spec: spec.load_s)
        self._cpu_load_s = of_models(inventory, lambda spec: spec.cpu_load_s)
        self._unload_s = ms_to_s(config.serving.unload_time_ms)

    def load_s(self, model: str, target: Target) -> float:
        """As the inventory says."""
        return (self._gpu_load_s if target is _GPU else self._cpu_load_s)[model]

    def unload_s(self, model: str) -> float:
        """As ``serving.unload_time_ms`` says."""
        return self._unload_s

    def infer_s(self, model: str, target: Target, items: int) -> float:
        """As the inventory says, per item."""
        return (self._gpu_item_s if target is _GPU else self._cpu_item_s)[model] * items
