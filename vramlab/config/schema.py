"""The shape of the configuration (specification, "Configuration and Tuning").

Keys, units and default values are the specification's. What the specification leaves open has the default
that is written here, and nowhere else. Files are read by :mod:`vramlab.config.loading`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vramlab.config.fields import (
    LARGEST,
    Count,
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Priority,
    PriorityField,
    Section,
)
from vramlab.config.html import html_table
from vramlab.config.models import InputSample, Inventory, ModelSpec, SessionSettings
from vramlab.config.rules import RulesConfig
from vramlab.config.serving import ServingConfig, with_order
from vramlab.config.units import mib_to_bytes

# What the rest of the package takes from here: it need not know in which file a section is written.
__all__ = [
    "LARGEST", "AdmissionByPriority", "CachingConfig", "Count", "FallbackConfig", "Fraction", "InputSample",
    "Inventory", "ModelSpec", "NonNegative", "OptimizationConfig", "OverheadConfig", "Positive", "Priority",
    "PriorityField", "PriorityWeights", "ScoreWeights", "ScoringConfig", "Section", "ServingConfig",
    "SessionSettings", "VramConfig", "ZoneConfig", "with_order", "zone_of",
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
    framework_mb: NonNegative = 200
    buffer_mb: NonNegative = 200

    @property
    def taken_bytes(self) -> int:
        """What context and framework take, in bytes; the buffer stays free."""
        return mib_to_bytes(self.cuda_context_mb + self.framework_mb)

    @property
    def total_mb(self) -> float:
        """Sum of the parts, MiB."""
        return self.cuda_context_mb + self.framework_mb + self.buffer_mb


class ZoneConfig(Section):
    """One memory zone.

    ``eviction_policy`` says who may be evicted at all: ``never`` nobody; ``reluctant_lru`` nobody of higher
    priority than the requester; ``aggressive_lru`` anybody who is not critical, in use or inside
    ``min_retention_time`` (seconds since loading). ``borrowers`` lists the priorities whose models may be
    placed here as guests when their own zone has no room. ``reserved_models`` have this zone as their home
    where the inventory names none, and are loaded at start.
    """

    size_mb: Positive
    reserved_models: tuple[str, ...] = Field(default=(), strict=False)
    max_models: Count | None = None
    eviction_policy: EvictionRule = "aggressive_lru"
    min_retention_time: NonNegative = 0
    borrowers: tuple[PriorityField, ...] = Field(default=(), strict=False)

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
    frequency: float | None = Field(default=None, allow_inf_nan=False)
    recency: float | None = Field(default=None, allow_inf_nan=False)
    size: float | None = Field(default=None, allow_inf_nan=False)
    cost: float | None = Field(default=None, allow_inf_nan=False)


class PriorityWeights(Section):
    """Weight of a priority in the score; critical is infinite (specification, ``priority_weights``)."""

    high: Positive = 1000
    medium: Positive = 100
    low: Positive = 10


class ScoringConfig(Section):
    """Which models leave first.

    ``victims`` says how the victims of one load are chosen: ``in_order`` takes them strictly in the order of
    the policy; ``pruned`` drops those that the later ones make unnecessary; ``exact`` takes the set of the
    least total score (:mod:`vramlab.allocator.exact`). It goes with all but the greedy-dual family, whose
    values do not add up; ``auto`` is ``in_order`` for the queue disciplines and the greedy-dual family, whose
    definition the order is, and ``pruned`` for scores.

    ``policy`` is a name, or ``package.module:name`` for one's own, made with ``policy_options``. Of ours,
    ``seed``, ``seed_fixed`` and ``decayed`` take the exponents of the score (``priority``, ``frequency``,
    ``recency``, ``size``, ``cost``), and ``decayed`` the ``half_life_s`` of a use. ``lru_k`` takes ``k``, how
    many uses back it looks, and ``random`` a ``seed``. ``weights``, ``half_life_s``, ``k`` and ``seed``
    beside them are the old places of these options. They are read where the policy takes them.
    """

    policy: str = "seed_fixed"
    policy_options: dict[str, Any] = Field(default_factory=dict)
    weights: ScoreWeights = ScoreWeights()
    priority_weights: PriorityWeights = PriorityWeights()
    victims: Literal["auto", "in_order", "pruned", "exact"] = "auto"
    half_life_s: Positive | None = None
    k: Count | None = None
    seed: Annotated[int, Field(ge=0)] | None = None

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
    medium: Admission | None = None
    low: Admission | None = "free_only"


class OptimizationConfig(Section):
    """Monitoring, defragmentation and preloading (specification, ``optimization``).

    ``monitor`` switches the loop of :mod:`vramlab.engine.monitor`, which looks at the device every
    ``monitoring_interval`` seconds. Above ``optimization_threshold`` models of low or medium priority that
    nobody asked for during ``unused_after_s`` leave; with less than ``pressure_available_mb`` available, any
    that may. ``defragmentation`` says whether models are moved once the fragmentation of a zone reaches
    ``defragmentation_threshold``: ``auto`` only where holes matter (``placement: contiguous``).

    Preloading (:mod:`vramlab.engine.preloading`) is on where ``predictor`` is given: a name of
    :mod:`vramlab.prediction.registry` or ``package.module:name``, made with ``predictor_options``. Every
    ``preload_interval`` seconds, absent models are loaded into free room if their probability of use is above
    ``preload_prediction_threshold``. With ``preload_may_evict`` they also replace models that are less likely
    to be used. The horizon is ``preload_horizon_s``, or ``preload_horizon_load_factor`` times the load time.
    A preloaded model that nobody has used after ``unpreload_after_s`` is unloaded. ``week_offset_s`` is the
    time from Monday 00:00 to the start of the run or trace, for predictors that know the hours.
    """

    monitor: bool = True
    monitoring_interval: Interval = 5
    optimization_threshold: Fraction = 0.85
    unused_after_s: NonNegative = 300
    pressure_available_mb: NonNegative = 200
    defragmentation: Literal["auto", "always", "never"] = "auto"
    defragmentation_threshold: Fraction = 0.3
    preload_prediction_threshold: Fraction = 0.7
    predictor: str | None = None
    predictor_options: dict[str, Any] = Field(default_factory=dict)
    preload_interval: Interval = 60
    preload_horizon_s: Positive = 3600
    preload_horizon_load_factor: Positive | None = None
    preload_may_evict: bool = False
    unpreload_after_s: Positive | None = None
    week_offset_s: NonNegative = 0


class FallbackConfig(Section):
    """The CPU as second best (specification, ``fallback``).

    ``when``: ``full``, the CPU answers where memory is full and nobody may leave; ``earliest_finish``, also
    where it would be done sooner (:mod:`vramlab.engine.finish`). ``fallback_queue_size`` bounds how many wait
    for a CPU worker.
    """

    when: Literal["full", "earliest_finish"] = "full"
    cpu_fallback_enabled: bool = True
    cpu_performance_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.3
    fallback_queue_size: Annotated[int, Field(ge=0)] = 100


class CachingConfig(Section):
    """The result cache (specification, ``caching``): so many answers, of so many MB together.

    ``cache_ttl`` in seconds.
    """

    result_cache_size: Count = 1000
    result_cache_mb: Positive = 256
    cache_ttl: Positive = 3600
    enable_result_caching: bool = True


class VramConfig(Section):
    """Everything under ``vram_management``.

    ``placement``: a model may be spread over the holes of its zone (``paged``), or must fit in one
    (``contiguous``); see :mod:`vramlab.allocator.extents`.

    ``workspace``: what runs need on top of the weights is each model's ``own`` while it is loaded, or
    ``shared``: one arena has room for the largest of the inventory, once per stream, and loaded models hold
    their weights alone.

    ``server`` is the name of a model server of today, with options (``ollama:keep_alive=600``): all but the
    card is then as that server has it (:mod:`vramlab.servers`).
    """

    total_memory_mb: Positive = 6144
    overhead: OverheadConfig = OverheadConfig()
    zones: dict[str, ZoneConfig] = Field(
        default_factory=lambda: {
            name: ZoneConfig.model_validate(values) for name, values in ZONE_DEFAULTS.items()
        },
        min_length=1,
    )
    scoring: ScoringConfig = ScoringConfig()
    admission: Admission = "always"
    admission_by_priority: AdmissionByPriority = AdmissionByPriority()
    placement: Literal["paged", "contiguous"] = "paged"
    optimization: OptimizationConfig = OptimizationConfig()
    fallback: FallbackConfig = FallbackConfig()
    caching: CachingConfig = CachingConfig()
    serving: ServingConfig = ServingConfig()
    workspace: Literal["own", "shared"] = "own"
    rules: RulesConfig = RulesConfig()
    server: str | None = None

    @model_validator(mode="after")
    def _check_when(self) -> VramConfig:
        if self.fallback.when == "earliest_finish" and self.serving.order == "arrival":
            raise ValueError("an order that decides late, as fallback.when is earliest_finish")
        if self.rules.clears and self.serving.order == "arrival":
            raise ValueError("an order that decides late, as rules send models away before a load is decided")
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
        return {name: spec.model_copy(update={"workspace_mb": 0}) for name, spec in inventory.items()}

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
