"""Rules that model servers of today have beside bytes and scores; each is off by default, and goes alone.

What they do stands in :mod:`vramlab.allocator.rules` (who may be there together, and with how much room),
:mod:`vramlab.engine.keep_alive` (who leaves unasked) and :mod:`vramlab.engine.limits` (who is turned away).
:mod:`vramlab.servers` says which server has which, with sources.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from vramlab.config.fields import Count, NonNegative, Section


class GroupConfig(Section):
    """Models of which a load sends others away (llama-swap's groups, LocalAI's concurrency groups)."""

    members: tuple[str, ...] = Field(strict=False)
    """Names of the models."""
    swap: bool = True
    """A load of one sends the other members away."""
    exclusive: bool = False
    """A load of one sends members of other groups away, but for those of persistent ones."""
    persistent: bool = False
    """Members stay when an exclusive group loads."""


class RulesConfig(Section):
    """All rules; each is off by default."""

    keep_alive_s: NonNegative | None = None
    """A model that nobody has used for so long leaves; null: never."""
    keep_alive_by_model: dict[str, NonNegative | None] = Field(default_factory=dict)
    """The same for single models, where it differs."""
    keep_alive_every_s: NonNegative = 0
    """Time between two looks for such models; 0: at the very moment."""
    one_victim: bool = False
    """Of several victims one leaves, and when it is gone the load is decided anew."""
    headroom_factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 1
    """The room that a load wants, as a multiple of its size."""
    headroom_mb: NonNegative = 0
    """Room that a load wants on top."""
    headroom_alone: bool = True
    """Whether it wants that also where nothing else is there."""
    groups: dict[str, GroupConfig] = Field(default_factory=dict)
    sets: tuple[Annotated[tuple[str, ...], Field(strict=False)], ...] = Field(default=(), strict=False)
    """Models that may be there together. A load brings about the set with its model for which the least cost
    has to leave; a model of no set stands alone.
    """
    evict_costs: dict[str, NonNegative] = Field(default_factory=dict)
    """What a model that has to leave for a set counts; 1 where not given."""
    churn_age_s: NonNegative = 0
    """A load is refused whose first victim was used less than so long ago."""
    pinned: tuple[str, ...] = Field(default=(), strict=False)
    """Models that are loaded at the start and never leave."""
    waited_for: Literal["kept", "in_use", "ignored"] = "kept"
    """A model that requests wait for is `kept` from all who are not entitled to its room, is `in_use` for
    everybody, or leaves as if nobody waited (`ignored`).
    """
    max_waiting: Count | None = None
    """So many requests may wait; who comes then is refused. Null: any number."""
    max_per_model: Count | None = None
    """The same for one model, running requests included."""

    @property
    def clears(self) -> bool:
        """Whether models may have to leave before a load is decided."""
        return bool(self.one_victim or self.groups or self.sets)

    def timeout_s(self, model: str) -> float:
        """Return how long a model may be idle, seconds; infinite where it may for ever."""
        own_s = self.keep_alive_by_model.get(model, self.keep_alive_s)
        return math.inf if own_s is None or model in self.pinned else own_s

    def models(self) -> dict[str, str]:
        """Return the models that are named, and the key that names each first."""
        named = [("keep_alive_by_model", name) for name in self.keep_alive_by_model]
        named += [(f"groups.{group}", name) for group, rule in self.groups.items() for name in rule.members]
        named += [("sets", name) for together in self.sets for name in together]
        named += [("evict_costs", name) for name in self.evict_costs]
        named += [("pinned", name) for name in self.pinned]
        return {name: key for key, name in reversed(named)}
