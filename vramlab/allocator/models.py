"""What the allocator knows of one model: constants from the inventory, and the account of its use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vramlab.allocator.states import State
from vramlab.config.schema import ModelSpec, Priority, PriorityWeights

if TYPE_CHECKING:
    from vramlab.allocator.allocator import Decision
    from vramlab.allocator.zones import Zone


Turn = tuple[float, int]
"""A place among waiting requests: when it is due (seconds), then a number that tells equals apart."""


class Model:
    """One model of the inventory as the allocator and the policies see it.

    Policies read ``bytes``, ``load_s``, ``priority_weight`` and the account of use (``last_used_s``,
    ``loaded_at_s``, ``uses`` since loading, ``uses_total``); only the allocator writes.
    """

    __slots__ = (
        "always_loaded", "bytes", "claiming", "critical", "gpu_only", "guest", "hit", "home", "last_used_s",
        "load_s", "loaded_at_s", "may_run_on_cpu", "name", "number", "pins", "priority", "priority_weight",
        "rank", "state", "uses", "uses_total", "wanted", "zone",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        number: int,
        spec: ModelSpec,
        home: Zone,
        weights: PriorityWeights,
        cpu_enabled: bool,
    ) -> None:
        self.name = name
        self.number = number  # its place in the inventory, for columns over all models
        self.bytes = spec.footprint_bytes
        self.load_s = spec.load_s
        self.priority = spec.priority
        self.rank = spec.priority.rank
        self.critical = spec.priority is Priority.CRITICAL
        self.priority_weight = math.inf if self.critical else float(getattr(weights, spec.priority.value))
        self.gpu_only = not spec.may_run_on_cpu  # security-critical; else the CPU may just be switched off
        self.may_run_on_cpu = cpu_enabled and spec.may_run_on_cpu
        self.always_loaded = spec.always_loaded
        self.home = home
        self.zone = home  # where it is, or was last
        self.hit: Decision  # the answer to every hit, made when it changes zones
        self.guest = False  # in another zone than its home
        self.state = State.ABSENT
        self.claiming = False  # loading, and waiting for its victims' bytes
        self.pins = 0  # requests that run it, or wait for its load
        self.last_used_s = -math.inf
        self.loaded_at_s = -math.inf
        self.uses = 0
        self.uses_total = 0
        self.wanted: Turn | None = None  # place of the first request that waits for it; None: nobody waits

    def catch_up(self, uses_total: int, last_used_s: float) -> None:
        """Bring the account up to date with hits that were found in bulk: all uses, and the last one."""
        self.uses += uses_total - self.uses_total
        self.uses_total = uses_total
        self.last_used_s = last_used_s

    def __repr__(self) -> str:
        return f"<Model {self.name} {self.state.value} in {self.zone.name}, {self.bytes} bytes>"
