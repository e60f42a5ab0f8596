"""Zones and the device budget: ledgers in whole bytes.

Rules that must hold at every moment, per zone and for the device:

1. ``held`` is the sum of the footprints of the models that are loading, resident, in use or evicting there
   (those whose load still waits for its victims' bytes hold nothing yet). ``held <= cap``.
2. ``committed`` is what will be held once everything under way has ended: ``held``, less what is evicting,
   plus the claims of loads that wait. ``committed <= cap``, so that every claim can be met in the end.

The device's cap may shrink below what is there (another process takes memory). Then both rules hold with
``limit``, what was there at that moment, in the place of ``cap``: nothing new comes in until enough has left.

A zone's size is its own cap; the device-wide cap is the budget over all zones. An allocation needs room
under both (DESIGN, "Budget").
"""

from __future__ import annotations

from vramlab.allocator.policies import Policy
from vramlab.config.schema import Priority, ZoneConfig


class Ledger:
    """Bytes held and bytes promised under one cap."""

    __slots__ = ("bound", "cap", "committed", "held", "limit", "name")

    def __init__(self, name: str, cap_bytes: int) -> None:
        self.name = name
        self.cap = cap_bytes
        self.limit = cap_bytes  # more than the cap only after that has shrunk
        self.held = 0
        self.committed = 0
        self.bound = 0  # requests for which a model found too few bytes here

    @property
    def room(self) -> int:
        """Bytes that a new load may have once everything under way has ended."""
        return self.cap - self.committed


class Zone(Ledger):
    """One zone: a ledger, the zone's rules, and the policy that ranks its models for eviction."""

    __slots__ = (
        "borrowers",
        "bound_slots",
        "count",
        "guests",
        "max_models",
        "never",
        "policy",
        "reluctant",
        "retention_s"
    )  # fmt: skip

    def __init__(self, name: str, config: ZoneConfig, policy: Policy) -> None:
        super().__init__(name, config.size_bytes)
        self.policy = policy
        self.never = config.eviction_policy == "never"
        self.reluctant = config.eviction_policy == "reluctant_lru"
        self.retention_s = config.min_retention_time
        self.max_models = config.max_models
        self.bound_slots = 0  # requests for which a model found `max_models` there
        self.borrowers: frozenset[Priority] = frozenset(config.borrowers)
        self.count = 0  # models loading, resident or in use here
        self.guests = 0  # those of them whose home is elsewhere

    @property
    def slots(self) -> int | None:
        """How many more models may be loaded under ``max_models``; None for no limit."""
        return None if self.max_models is None else self.max_models - self.count
