"""The shape of the configuration (specification, "Configuration and Tuning").

Keys, units and default values are the specification's. What the specification leaves open has the default
that is written here, and nowhere else. Files are read by :mod:`vramlab.config.loading`.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vramlab.config.fields import (
    LARGEST,
    Count,
    Fraction,
    NonNegative,
    Positive,
    Priority,
    PriorityField,
    Section,
)
from vramlab.config.html import html_table
from vramlab.config.models import InputSample, Inventory, ModelSpec, SessionSettings, of_each, of_models
from vramlab.config.optimization import OptimizationConfig
from vramlab.config.rules import RulesConfig
from vramlab.config.serving import ServingConfig, with_order
from vramlab.config.study import StudyConfig
from vramlab.config.units import mib_to_bytes

# What the rest of the package takes from here: it need not know in which file a section is written.
__all__ = [
    "LARGEST", "AdmissionByPriority", "CachingConfig", "Count", "FallbackConfig", "Fraction", "InputSample",
    "Inventory", "ModelSpec", "NonNegative", "OptimizationConfig", "OverheadConfig", "Positive", "Priority",
    "PriorityField", "PriorityWeights", "ScoreWeights", "ScoringConfig", "Section", "ServingConfig",
    "SessionSettings", "StudyConfig", "VramConfig", "ZoneConfig", "homes_of", "of_each",
    "of_models", "with_order", "zone_of",
]  # fmt: skip

# Where a model goes whose inventory names no zone: the first of these that the configuration has.
# The first entry is the specification's; the others serve configurations with fewer zones.
ZONES_BY_PRIORITY: dict[Priority, tuple[str, ...]] = {
    Priority.CRITICAL: ("critical", "high_priority", "flexible"),
    Priority.HIGH: ("high_priority", "flexible"),
    Priority.MEDIUM: ("flexible", "high_priority"),
    Priority.LOW: ("flexible", "high_priority"),
}

Admission = Literal["always", "free_only", "compete"]
EvictionRule = Literal["never", "reluctant_lru", "aggressive_lru"]


class OverheadConfig(Section):
    """What the card loses before the first model is loaded (specification, "System Overhead")."""

    cuda_context_mb: NonNegative = 400
    """What the CUDA context takes."""
    framework_mb: NonNegative = 200
    """What ONNX Runtime and the program around it take."""
    buffer_mb: NonNegative = 200
    """What stays free in any case."""

    @property
    def taken_bytes(self) -> int:
        """What context and framework take, in bytes; the buffer stays free."""
        return mib_to_bytes(self.cuda_context_mb + self.framework_mb)

    @property
    def total_mb(self) -> float:
        """Sum of the parts, MiB."""
        return self.cuda_context_mb + self.framework_mb + self.buffer_mb


class ZoneConfig(Section):
    """One memory zone."""

    size_mb: Positive
    """The most that the models of the zone may hold: a cap, no reservation."""
    reserved_models: tuple[str, ...] = Field(default=(), strict=False)
    """Models that have this zone as their home where the inventory names none; they are loaded at the start.
    """
    max_models: Count | None = None
    """So many models at most; null: any number."""
    eviction_policy: EvictionRule = "aggressive_lru"
    """Who may be evicted: `never` nobody; `reluctant_lru` nobody of higher priority than the requester;
    `aggressive_lru` anybody who is not critical, in use or inside its retention.
    """
    min_retention_time: NonNegative = 0
    """Seconds since loading during which a model may not be evicted."""
    borrowers: tuple[PriorityField, ...] = Field(default=(), strict=False)
    """Priorities whose models may be guests here when their own zone has no room; guests leave first."""

    @property
    def size_bytes(self) -> int:
        """Cap of the zone in bytes."""
        return mib_to_bytes(self.size_mb)


# What a zone of the specification's name has where the file leaves a key out.
ZONE_DEFAULTS: dict[str, dict[str, object]] = {
    "critical": {"size_mb": 2048, "eviction_policy": "never"},
    "high_priority": {
        "size_mb": 2560,
        "max_models": 5,
        "eviction_policy": "reluctant_lru",
        "min_retention_time": 300,
        "borrowers": ("medium",),
    },
    "flexible": {
        "size_mb": 1536,
        "max_models": 10,
        "eviction_policy": "aggressive_lru",
        "min_retention_time": 60,
        "borrowers": ("high",),
    },
}


class ScoreWeights(Section):
    """Exponents of the eviction score; a weight left out has the value of the preset that is in use.

    See :mod:`vramlab.allocator.scoring` for the formula.
    """

    priority: float | None = Field(default=None, allow_inf_nan=False)
    """Exponent of the priority's weight; null: that of the policy."""
    frequency: float | None = Field(default=None, allow_inf_nan=False)
    """Exponent of the count of uses; null: that of the policy."""
    recency: float | None = Field(default=None, allow_inf_nan=False)
    """Exponent of the age of the last use, by which the score is divided; null: that of the policy."""
    size: float | None = Field(default=None, allow_inf_nan=False)
    """Exponent of 1000 MB / size; null: that of the policy."""
    cost: float | None = Field(default=None, allow_inf_nan=False)
    """Exponent of 100 ms / load time: above 0 what is dear to load again leaves first; null: that of the
    policy.
    """


class PriorityWeights(Section):
    """Weight of a priority in the score; critical is infinite (specification, ``priority_weights``)."""

    high: Positive = 1000
    """Weight of high priority in the score."""
    medium: Positive = 100
    """Weight of medium priority in the score."""
    low: Positive = 10
    """Weight of low priority in the score."""


class ScoringConfig(Section):
    """Which models leave first.

    ``weights``, ``half_life_s``, ``k`` and ``seed`` are the old places of options of policies. They are read
    where the policy takes them.
    """

    policy: str = "seed_fixed"
    """Eviction policy: a name, or `package.module:name` for one's own (`vramlab policies`)."""
    policy_options: dict[str, Any] = Field(default_factory=dict)
    """What the policy is made with. Of ours, `seed`, `seed_fixed` and `decayed` take the exponents of the
    score (`priority`, `frequency`, `recency`, `size`, `cost`), `decayed` also `half_life_s`, `lru_k` takes
    `k`, and `random` a `seed`.
    """
    weights: ScoreWeights = ScoreWeights()
    priority_weights: PriorityWeights = PriorityWeights()
    victims: Literal["auto", "in_order", "pruned", "exact"] = "auto"
    """How the victims of one load are chosen: `in_order` strictly by the policy; `pruned` without those that
    the later ones make unnecessary; `exact` the set of the least total score
    (:mod:`vramlab.allocator.exact`), not for the greedy-dual family, whose values do not add up; `auto`
    in_order for queues and that family, pruned for scores.
    """
    half_life_s: Positive | None = None
    """After so long a use counts half (`decayed`); null: 6 hours. Now an option of the policy."""
    k: Count | None = None
    """How many uses back `lru_k` looks; null: 2. Now an option of the policy."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of the policy `random`; null: 0. Now an option of the policy."""

    @staticmethod
    def as_before(dumped: dict[str, Any]) -> dict[str, Any]:
        """Return a dumped section as it was before there were options by policy: fingerprints stay."""
        defaults = {"half_life_s": 21_600.0, "k": 2, "seed": 0}
        before = {key: defaults.get(key) if value is None else value for key, value in dumped.items()}
        if not before["policy_options"]:
            del before["policy_options"]
        return before

    def old_options(self) -> dict[str, dict[str, Any]]:
        """Options that stand where they stood before: by key, the name of each option and its value."""
        single = {"half_life_s": self.half_life_s, "k": self.k, "seed": self.seed}
        old = {key: {} if value is None else {key: value} for key, value in single.items()}
        return {"weights": self.weights.model_dump(exclude_none=True), **old}


class AdmissionByPriority(Section):
    """Admission that differs from ``admission`` for requests of one priority; null means no difference."""

    high: Admission | None = None
    """`admission` for requests of high priority; null: no difference."""
    medium: Admission | None = None
    """`admission` for requests of medium priority; null: no difference."""
    low: Admission | None = "free_only"
    """`admission` for requests of low priority; null: no difference."""


class FallbackConfig(Section):
    """The CPU as second best (specification, ``fallback``)."""

    when: Literal["full", "earliest_finish"] = "full"
    """When the CPU answers: `full`, where memory is full and nobody may leave; `earliest_finish`, also where
    it would be done sooner (:mod:`vramlab.engine.finish`).
    """
    cpu_fallback_enabled: bool = True
    """Whether the CPU answers at all. Without it a request waits for room, or is refused."""
    cpu_performance_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.3
    """Speed of the CPU as a part of the GPU's, for models whose CPU time was not measured."""
    fallback_queue_size: Annotated[int, Field(ge=0)] = 100
    """So many may wait for a CPU worker; who comes then is refused."""


class CachingConfig(Section):
    """The result cache: answers to requests whose `input_key` is known (specification, ``caching``)."""

    result_cache_size: Count = 1000
    """So many answers at most."""
    result_cache_mb: Positive = 256
    """So much memory of the host for answers."""
    cache_ttl: Positive = 3600
    """Seconds for which an answer counts."""
    enable_result_caching: bool = True
    """Whether answers are kept."""


class VramConfig(Section):
    """Everything under ``vram_management``."""

    total_memory_mb: Positive = 6144
    """Memory of the card. Less the overhead it is the budget: the most that all zones hold together."""
    overhead: OverheadConfig = OverheadConfig()
    zones: dict[str, ZoneConfig] = Field(
        default_factory=lambda: {
            name: ZoneConfig.model_validate(values) for name, values in ZONE_DEFAULTS.items()
        },
        min_length=1,
    )
    scoring: ScoringConfig = ScoringConfig()
    admission: Admission = "always"
    """Whether a miss loads its model: `always`; `free_only`, into free room; `compete`, if its score is not
    the lowest among those that would have to go.
    """
    admission_by_priority: AdmissionByPriority = AdmissionByPriority()
    placement: Literal["paged", "contiguous"] = "paged"
    """Whether a model may be spread over the holes of its zone (`paged`) or must fit in one (`contiguous`);
    see :mod:`vramlab.allocator.extents`.
    """
    optimization: OptimizationConfig = OptimizationConfig()
    fallback: FallbackConfig = FallbackConfig()
    caching: CachingConfig = CachingConfig()
    serving: ServingConfig = ServingConfig()
    workspace: Literal["own", "shared"] = "own"
    """What runs need on top of the weights: each model's `own` while it is loaded, or `shared`, where one
    arena has room for the largest of the inventory, once per stream, and models hold their weights alone.
    """
    rules: RulesConfig = RulesConfig()
    server: str | None = None
    """A model server of today, with options (`ollama:keep_alive=600`): all but the card is as that server has
    it (:mod:`vramlab.servers`).
    """
    study: StudyConfig = StudyConfig()
    """How runs are judged; it changes none."""

    @model_validator(mode="after")
    def _check_when(self) -> VramConfig:
        if self.fallback.when == "earliest_finish" and self.serving.order == "arrival":
            raise ValueError("an order that decides late, as fallback.when is earliest_finish")
        if self.serving.batching and self.serving.order == "arrival":
            raise ValueError("an order that decides late, as serving.batching is true")
        if self.rules.clears and self.serving.order == "arrival":
            raise ValueError("an order that decides late, as rules send models away before a load is decided")
        if self.rules.waited_for == "ignored" and ":" not in self.serving.order:
            raise ValueError(
                "an order that runs at once what it loads for (vramlab.servers.orders:hot_jumps), as "
                "rules.waited_for is ignored: else requests send each other's models away for ever"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_zone_defaults(cls, data: object) -> object:
        if not isinstance(data, dict) or not isinstance(data.get("zones"), dict):
            return data
        zones = {
            name: {**ZONE_DEFAULTS.get(str(name), {}), **zone} if isinstance(zone, dict) else zone
            for name, zone in data["zones"].items()
        }
        return {**data, "zones": zones}

    @property
    def total_bytes(self) -> int:
        """Memory of the whole card in bytes."""
        return mib_to_bytes(self.total_memory_mb)

    @property
    def overhead_bytes(self) -> int:
        """What is lost to context, framework and buffers, in bytes."""
        return mib_to_bytes(self.overhead.total_mb)

    @property
    def budget_bytes(self) -> int:
        """What all models together may hold: the device-wide cap over all zones, in bytes."""
        return self.total_bytes - self.overhead_bytes

    @property
    def capacity_bytes(self) -> int:
        """What models can hold at all: the budget, or the zones where they are less, in bytes."""
        return min(self.budget_bytes, sum(zone.size_bytes for zone in self.zones.values()))

    def held(self, inventory: Inventory) -> Inventory:
        """Return the inventory by what loaded models hold: of a shared workspace nothing of their own."""
        if self.workspace == "own":
            return inventory
        return of_models(inventory, lambda spec: spec.model_copy(update={"workspace_mb": 0}))

    def shared_bytes(self, inventory: Inventory) -> int | None:
        """Return the bytes of the workspace that all models share; None where each has its own."""
        if self.workspace == "own":
            return None
        largest = max((mib_to_bytes(spec.workspace_mb) for spec in inventory.values()), default=0)
        return self.serving.gpu_streams * largest

    def room_bytes(self, inventory: Inventory) -> int:
        """Return what the models of an inventory may hold together: the budget, less what they share."""
        return self.budget_bytes - (self.shared_bytes(inventory) or 0)

    def _repr_html_(self) -> str:
        rows = [
            (
                name,
                f"{zone.size_mb:,g} MB",
                f"{zone.max_models}" if zone.max_models else "any number",
                zone.eviction_policy,
                f"{zone.min_retention_time:g} s",
                ", ".join(zone.borrowers) or "–",
                ", ".join(zone.reserved_models) or "–",
            )
            for name, zone in self.zones.items()
        ]
        header = ["zone", "size", "models", "eviction", "kept at least", "may borrow", "reserved for"]
        budget_mb = self.total_memory_mb - self.overhead.total_mb
        caption = f"{self.total_memory_mb:,g} MB card, {budget_mb:,g} MB for models"
        note = f"policy {self.scoring.policy}, admission {self.admission}, placement {self.placement}"
        return html_table(header, rows, caption, note)

    def admission_for(self, priority: Priority) -> Admission:
        """Return the admission rule of a request of `priority`."""
        return getattr(self.admission_by_priority, priority.value, None) or self.admission


def zone_of(spec: ModelSpec, config: VramConfig, name: str | None = None) -> str:
    """Return a model's home zone: its own ``zone``, else the one that reserves it, else by priority.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    config : VramConfig
        The zones.
    name : str, optional
        The model's name, by which ``reserved_models`` knows it.
    """
    if spec.zone is not None:
        return spec.zone
    for zone_name, zone in config.zones.items():
        if name in zone.reserved_models:
            return zone_name
    for name in ZONES_BY_PRIORITY[spec.priority]:
        if name in config.zones:
            return name
    return next(iter(config.zones))


def homes_of(inventory: Inventory, config: VramConfig) -> dict[str, str]:
    """Return the home zone of each model, as :func:`zone_of`."""
    homes = of_models(inventory, lambda spec: zone_of(spec, config))
    reserved = chain.from_iterable(zone.reserved_models for zone in config.zones.values())
    return homes | {name: zone_of(inventory[name], config, name) for name in reserved if name in inventory}
