"""A plain cache for worked examples: one zone, models of given sizes, one letter per request."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.allocator.building import a_config, specs_of
from vramlab.allocator import Allocator, Kind
from vramlab.allocator.invariants import check
from vramlab.allocator.policies import make_policy
from vramlab.allocator.policies.in_bulk import TWINS
from vramlab.allocator.policies.in_bulk.runs import HearsRuns, Run, Stretch, tell_last_uses


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
        self.allocator = Allocator(config, specs_of(specs), policy=self.make)
        self.policy = self.allocator.zones["flexible"].policy
        self.now_s = 0.0

    make = staticmethod(make_policy)

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


class BulkCache(Cache):
    """The same with the policy's twin, which hears of runs of hits."""

    make = staticmethod(partial(make_policy, twins=TWINS))

    def hit(self, names: str, every_s: float = 1.0) -> Run:
        """Hits of `names`, told to the policy as one run; the accounts of the models follow."""
        models = list(self.allocator.models.values())
        hits = [self.allocator.models[name] for name in names]
        numbers = np.array([model.number for model in hits])
        times_s = self.now_s + every_s * np.arange(len(names))
        counts = [names[:i].count(name) + 1 for i, name in enumerate(names)]
        uses_total = np.array([m.uses_total + count for m, count in zip(hits, counts, strict=True)])
        next_use = np.array([names.find(name, i + 1) % 2**31 for i, name in enumerate(names)])
        order = np.argsort(numbers, kind="stable")
        run = Run(Stretch(models, numbers, times_s, uses_total, next_use, order), 0, len(names))
        if isinstance(self.policy, HearsRuns):
            self.policy.used_together(run)
        else:
            tell_last_uses(self.policy, run)
        for i, model in enumerate(hits):
            model.catch_up(int(uses_total[i]), float(times_s[i]))
        self.now_s += every_s * len(names)
        return run
