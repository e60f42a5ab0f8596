"""The shape of the configuration and of the model inventory (specification, "Configuration and Tuning").

Keys, units and default values are the specification's. What the specification leaves open has the default
that is written here, and nowhere else. Files are read by :mod:`vramlab.config.loading`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from vramlab.config.html import html_table
from vramlab.config.units import mib_to_bytes, ms_to_s

LARGEST = 1e15
"""What sizes and times are below: more is a slip of the pen, and would be no finite number of bytes."""

NonNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
Interval = Annotated[float, Field(ge=0.001, le=LARGEST, allow_inf_nan=False)]
"""Seconds between two looks of a loop, which would have time for nothing else if they were none."""
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Threads = Annotated[int, Field(ge=1, le=1024)]


class Priority(StrEnum):
    """A model's or a request's priority, most important first (specification, "Model Priority Matrix")."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for critical up to 3 for low: a smaller rank is more important."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}

# Where a model goes whose inventory names no zone: the first of these that the configuration has.
# The first entry is the specification's; the others serve configurations with fewer zones.
ZONES_BY_PRIORITY: dict[Priority, tuple[str, ...]] = {
    Priority.CRITICAL: ("critical", "high_priority", "flexible"),
    Priority.HIGH: ("high_priority", "flexible"),
    Priority.MEDIUM: ("flexible", "high_priority"),
    Priority.LOW: ("flexible", "high_priority"),
}

# Enumerations and sequences come out of YAML as text and lists: strictness is for numbers and switches.
PriorityField = Annotated[Priority, Field(strict=False)]

Admission = Literal["always", "free_only", "compete"]
EvictionRule = Literal["never", "reluctant_lru", "aggressive_lru"]


class Section(BaseModel):
    """Base of all sections: unknown keys and wrong types are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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

    ``victims`` says how the victims of one load are chosen: ``in_order`` takes them strictly in the order
    of the policy; ``pruned`` drops those that the later ones make unnecessary; ``exact`` takes the set of the
    least total score (:mod:`vramlab.allocator.exact`) and goes with all but the greedy-dual family, whose
    values do not add up; ``auto`` is ``in_order`` for the queue disciplines and the greedy-dual family, whose
    definition the order is, and ``pruned`` for scores.

    ``policy`` is a name, or ``package.module:name`` for one's own. Some read more: ``half_life_s`` (of a use,
    in ``decayed``), ``k`` (how many uses back ``lru_k`` looks), ``seed`` (of ``random``).
    """

    policy: str = "seed_fixed"
    weights: ScoreWeights = ScoreWeights()
    priority_weights: PriorityWeights = PriorityWeights()
    victims: Literal["auto", "in_order", "pruned", "exact"] = "auto"
    half_life_s: Positive = 21_600
    k: Count = 2
    seed: Annotated[int, Field(ge=0)] = 0


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
    ``preload_interval`` seconds, absent models whose probability of use within ``preload_horizon_s`` (or
    ``preload_horizon_load_factor`` times their load time) is above ``preload_prediction_threshold`` are
    loaded into free room; with ``preload_may_evict``, also in the place of models that are less likely to be
    used. A preloaded model that nobody has used after ``unpreload_after_s`` is unloaded. ``week_offset_s`` is
    the time from Monday 00:00 to the start of the run or trace, for predictors that know the hours.
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


class ServingConfig(Section):
    """The engine's queues: how much runs at once, and who goes next.

    ``order`` picks the next run and the next load from all requests that wait (:mod:`vramlab.engine.orders`):
    ``backlog``, ``affinity`` (requests for models that are there pass the same one at most ``max_skips``
    times), ``fifo`` (strictly in the order of coming), or ``package.module:name`` for one's own; ``arrival``
    is the specification's flow, which decides when a request comes (:mod:`vramlab.engine.arrival`). Nobody is
    passed over for longer than ``max_wait_s`` while it could be served. ``queue`` is the old name: ``fifo``
    there is ``arrival``. ``batching``: requests that wait for one model run as one, up to its ``batch_size``,
    where its inventory says ``splits: true`` (:mod:`vramlab.engine.batching`).

    ``on_miss`` is ``wait`` (load, then run) or ``cpu_while_loading`` (answer from the CPU while the load
    runs). ``release_timeout_ms`` bounds, under ``arrival`` and for loads by command, the waiting while models
    in use stand in the way. ``warm_up``: a load ends with a first run, which is slower than the later ones. A
    load that takes longer than ``load_timeout_ms`` has failed. ``inline_run_ms`` is for the live asynchronous
    runtime: the run of a lone request that is known to take no longer is done on the event loop's own thread,
    since a worker thread would cost it more than that; 0 leaves every run to the workers. ``tf32``: products
    of single precision may be made with fewer digits on CUDA; answers are about 1e-3 off the CPU's then, and
    those of the CPU are not kept in the result cache.
    """

    gpu_streams: Threads = 1
    load_channels: Threads = 1
    cpu_workers: Threads = 1
    on_miss: Literal["wait", "cpu_while_loading"] = "wait"
    unload_time_ms: NonNegative = 1
    release_timeout_ms: Positive = 30_000
    load_timeout_ms: Positive = 120_000
    order: str = "backlog"
    max_wait_s: Positive = 300
    max_skips: Count = 3
    batching: bool = False
    warm_up: bool = True
    inline_run_ms: NonNegative = 1
    heap: Literal["returned", "kept", "default"] = "returned"
    tf32: bool = False

    @model_validator(mode="before")
    @classmethod
    def _rename_queue(cls, data: object) -> object:
        return with_order(data) if isinstance(data, dict) else data


def with_order(serving: dict[str, Any]) -> dict[str, Any]:
    """Rename ``queue``, as ``order`` was called; its ``fifo`` decided on arrival.

    Raises
    ------
    ValueError
        If both are given.
    """
    if "queue" not in serving:
        return serving
    if "order" in serving:
        raise ValueError("one of order and queue, which is its old name")
    old = serving["queue"]
    renamed = {key: value for key, value in serving.items() if key != "queue"}
    return renamed | {"order": "arrival" if old == "fifo" else old}


class VramConfig(Section):
    """Everything under ``vram_management``.

    ``placement``: whether a model may be spread over the holes of its zone (``paged``) or must fit in one of
    them (``contiguous``); see :mod:`vramlab.allocator.extents`.

    ``workspace``: what runs need on top of the weights is each model's ``own`` while it is loaded, or
    ``shared``: one arena has room for the largest of the inventory, once per stream, and loaded models hold
    their weights alone.
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

    @model_validator(mode="after")
    def _check_when(self) -> VramConfig:
        if self.fallback.when == "earliest_finish" and self.serving.order == "arrival":
            raise ValueError("an order that decides late, as fallback.when is earliest_finish")
        if self.serving.batching and self.serving.order == "arrival":
            raise ValueError("an order that decides late, as serving.batching is true")
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

    def held(self, inventory: Inventory) -> Inventory:
        """The inventory by what loaded models hold: of a shared workspace nothing of their own."""
        if self.workspace == "own":
            return inventory
        return {name: spec.model_copy(update={"workspace_mb": 0}) for name, spec in inventory.items()}

    def shared_bytes(self, inventory: Inventory) -> int | None:
        """Bytes of the workspace that all models share; None where each has its own."""
        if self.workspace == "own":
            return None
        largest = max((mib_to_bytes(spec.workspace_mb) for spec in inventory.values()), default=0)
        return self.serving.gpu_streams * largest

    def room_bytes(self, inventory: Inventory) -> int:
        """What the models of an inventory may hold together: the budget, less what they share."""
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
        """Admission rule of a request of `priority`."""
        return getattr(self.admission_by_priority, priority.value, None) or self.admission


class InputSample(Section):
    """How one input of a model is made, where an inventory names no file of true inputs.

    ``shape`` lists lengths; ``items`` stands for the batch. ``range`` is the least and the greatest value;
    without it numbers are standard normal, or 0 and 1.
    """

    shape: tuple[Annotated[int, Field(ge=0)] | Literal["items"], ...] = Field(strict=False)
    range: tuple[Finite, Finite] | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def _in_order(self) -> InputSample:
        if self.range is not None and not self.range[0] <= self.range[1]:
            raise ValueError("range: the least value first")
        return self


# Tagged, so that an error names the key and not every kind of value that might have stood there.
InputsField = Annotated[
    Annotated[str, Tag("[file]")] | Annotated[dict[str, InputSample], Tag("[samples]")],
    Discriminator(lambda value: "[samples]" if isinstance(value, dict) else "[file]"),
]


class SessionSettings(Section):
    """Options of a model's onnxruntime session; what is left out has onnxruntime's default.

    ``prepacking: false`` keeps weights as they are read: loads are shorter, and some models run longer.
    ``config`` holds further entries as onnxruntime's documentation names them.
    """

    prepacking: bool = True
    graph_optimization_level: Literal["disable", "basic", "extended", "all"] | None = None
    intra_op_num_threads: Threads | None = None
    enable_mem_pattern: bool | None = None
    enable_cpu_mem_arena: bool | None = None
    config: dict[str, str] = Field(default_factory=dict)


class ModelSpec(Section):
    """One model of the inventory.

    Service times are the specification's: ``load_time_ms``, and per item ``inference_ms`` times
    ``performance_multiplier`` (a factor on time: the heavier models of the inventory have the larger one).
    On the CPU an item takes ``cpu_inference_ms`` where measured, else the GPU's time divided by
    ``fallback.cpu_performance_ratio``. ``workspace_mb`` is what a run needs on top of the weights; it is
    reserved together with them, so that the peak always fits. ``warm_up_ms`` is what a first run adds to a
    load, where loads end with one (``serving.warm_up``).

    ``batch_size`` is the most items of one run. A larger request is split only with ``splits``, which
    ``vramlab profile`` writes where it has seen that split and whole answers are equal bit for bit.
    ``pad_to`` lists numbers of items: a smaller request is filled up to the next of them, where ``splits``
    says that this is safe. It runs for longer, and a GPU has fewer shapes to plan for. ``inputs`` names true
    inputs for profiles, recordings and first runs: an ``.npz`` file, or a shape and a range per input.
    ``custom_ops`` are libraries of operators. Paths are relative to the inventory's file.

    ``stand_in_mb``: these are the figures of a stand-in of that size (:mod:`vramlab.live.stand_ins`), and a
    ``path`` beside it leads to a stand-in.
    """

    priority: PriorityField
    vram_size_mb: Positive
    load_time_ms: NonNegative
    zone: str | None = None
    workspace_mb: NonNegative = 0
    cpu_fallback: str = "cpu_standard"
    always_loaded: bool = False
    performance_multiplier: Positive = 1.0
    batch_size: Count = 1
    splits: bool = False
    pad_to: tuple[Count, ...] = Field(default=(), strict=False)
    warm_up_ms: NonNegative = 0
    inference_ms: NonNegative = 20
    cpu_inference_ms: NonNegative | None = None
    cpu_load_time_ms: NonNegative | None = None
    path: str | None = None
    sha256: str | None = None
    stand_in_mb: Positive | None = None
    inputs: InputsField | None = None
    session_options: SessionSettings = SessionSettings()
    custom_ops: tuple[str, ...] = Field(default=(), strict=False)

    @property
    def footprint_bytes(self) -> int:
        """Bytes reserved while the model is loaded: weights and workspace, each rounded up."""
        return mib_to_bytes(self.vram_size_mb) + mib_to_bytes(self.workspace_mb)

    @property
    def load_s(self) -> float:
        """Load time onto the GPU in seconds, the first run included where it was measured."""
        return ms_to_s(self.load_time_ms + self.warm_up_ms)

    @property
    def cpu_load_s(self) -> float:
        """Load time of the CPU session in seconds: as measured, else that of the GPU."""
        return self.load_s if self.cpu_load_time_ms is None else ms_to_s(self.cpu_load_time_ms)

    @property
    def inference_s(self) -> float:
        """Time of one item on the GPU in seconds."""
        return ms_to_s(self.inference_ms) * self.performance_multiplier

    def cpu_inference_s(self, performance_ratio: float) -> float:
        """Time of one item on the CPU in seconds: as measured, else GPU time / `performance_ratio`."""
        if self.cpu_inference_ms is not None:
            return ms_to_s(self.cpu_inference_ms)
        return self.inference_s / performance_ratio

    @property
    def joins(self) -> bool:
        """Whether requests may run as one: it was shown that their answers do not depend on each other."""
        return self.splits and self.batch_size > 1

    @property
    def may_run_on_cpu(self) -> bool:
        """False where ``cpu_fallback`` is ``none`` (security-critical)."""
        return self.cpu_fallback != "none"


Inventory = dict[str, ModelSpec]
"""Model name to spec, in the order of the file."""


def zone_of(spec: ModelSpec, config: VramConfig, name: str | None = None) -> str:
    """Target zone of a model: its own ``zone`` if given, else the one that reserves it, else by priority.

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
