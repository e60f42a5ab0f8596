"""What follows from a model's spec, whatever becomes of the model: sizes, times, and the rights it has."""

from __future__ import annotations

import math

from vramlab.config.schema import ModelSpec, Priority, PriorityWeights


class Traits:
    """What all models of one spec have in common: worked out once, where tens of thousands have the same."""

    __slots__ = (
        "always_loaded", "bytes", "critical", "gpu_only", "load_s", "may_run_on_cpu", "priority",
        "priority_weight", "rank", "run_s",
    )  # fmt: skip

    def __init__(self, spec: ModelSpec, weights: PriorityWeights, cpu_enabled: bool) -> None:
        self.bytes = spec.footprint_bytes
        self.load_s, self.run_s = spec.load_s, spec.inference_s
        self.priority, self.rank = spec.priority, spec.priority.rank
        self.critical = spec.priority is Priority.CRITICAL
        self.priority_weight = math.inf if self.critical else float(getattr(weights, spec.priority.value))
        self.gpu_only = not spec.may_run_on_cpu  # security-critical; else the CPU may just be switched off
        self.may_run_on_cpu = cpu_enabled and spec.may_run_on_cpu
        self.always_loaded = spec.always_loaded
