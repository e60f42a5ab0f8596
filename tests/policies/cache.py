"""A plain cache for worked examples: one zone, models of given sizes, one letter per request."""

from __future__ import annotations

from typing import Any

from tests.allocator.building import a_config, specs_of
from vramlab.allocator import Allocator, Kind
from vramlab.allocator.invariants import check


class Cache:
    """`size_mb` MB for models named by one letter each: 1 MB and 1 ms unless `models` says otherwise."""

    def __init__(self, policy: str, size_mb: int, models: dict[str, Any] | None = None, **scoring: Any):
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        specs = {
            name: {
                "vram_size_mb": 1,
                "load_time_ms": 1,
                "cpu_fallback": "none",
                **(models or {}).get(name, {}),
            }
            for name in letters
        }
        config = a_config({"flexible": {"size_mb": size_mb}}, scoring={"policy": policy, **scoring})
        self.allocator = Allocator(config, specs_of(specs))
        self.policy = self.allocator.zones["flexible"].policy
        self.now_s = 0.0

    def ask(self, names: str, every_s: float = 1.0) -> str:
        """Ask for `names` one after the other; returns the names that left for them."""
        left = ""
        for name in names:
            decision = self.allocator.request(name, self.now_s, pin=False)
            if decision.kind is Kind.LOAD:
                left += "".join(decision.victims)
                self.allocator.settle(decision, self.now_s)
                check(self.allocator)
            else:
                assert decision.kind is Kind.HIT, decision
            self.now_s += every_s
        return left

    def order(self) -> str:
        """Who would leave, the first first."""
        return "".join(model.name for model in self.policy.ranked(self.now_s))
