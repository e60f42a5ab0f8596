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
    """Models of which a load sends others away (llama-swap's groups, LocalAI's concurrency groups).

    ``swap``: the other members leave. ``exclusive``: members of other groups leave, but for those of
    ``persistent`` ones.
    """

    members: tuple[str, ...] = Field(strict=False)
    swap: bool = True
    exclusive: bool = False
    persistent: bool = False


class RulesConfig(Section):
    """All rules.

    ``keep_alive_s``: a model that nobody has used for so long leaves; ``keep_alive_by_model`` where it
    differs (null: never). ``keep_alive_every_s`` is the time between two looks; 0 is at the very moment.

    ``one_victim``: of several victims one leaves, and when it is gone the load is decided anew. ``headroom``
    is the room that a load wants, as a multiple of its size and MB on top; with ``headroom_alone: false`` not
    where nothing else is there.

    ``groups`` and ``sets`` say which models may be there together. A load brings about the set with its model
    for which the least of ``evict_costs`` (1 where not given) has to leave; a model of no set stands alone.

    ``churn_age_s``: a load is refused whose first victim was used less than so long ago. ``pinned`` models
    are loaded at the start and never leave. ``waited_for``: a model that requests wait for is ``kept`` from
    all who are not entitled to its room, is ``in_use`` for everybody, or leaves as if nobody waited
    (``ignored``).

    ``max_waiting`` bounds the requests that wait, and ``max_per_model`` those for one model, running ones
    included; who comes then is refused.
    """

    keep_alive_s: NonNegative | None = None
    keep_alive_by_model: dict[str, NonNegative | None] = Field(default_factory=dict)
    keep_alive_every_s: NonNegative = 0
    one_victim: bool = False
    headroom_factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 1
    headroom_mb: NonNegative = 0
    headroom_alone: bool = True
    groups: dict[str, GroupConfig] = Field(default_factory=dict)
    sets: tuple[Annotated[tuple[str, ...], Field(strict=False)], ...] = Field(default=(), strict=False)
    evict_costs: dict[str, NonNegative] = Field(default_factory=dict)
    churn_age_s: NonNegative = 0
    pinned: tuple[str, ...] = Field(default=(), strict=False)
    waited_for: Literal["kept", "in_use", "ignored"] = "kept"
    max_waiting: Count | None = None
    max_per_model: Count | None = None

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
