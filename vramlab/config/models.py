"""The model inventory: one spec per model, with the sizes and times that everything is decided by.

Keys, units and default values are the specification's, as in :mod:`vramlab.config.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from vramlab.config.fields import Count, Finite, NonNegative, Positive, PriorityField, Section, Threads
from vramlab.config.units import mib_to_bytes, ms_to_s


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
    """Whether weights are packed anew for a session; without it loads are shorter, some runs longer."""
    graph_optimization_level: Literal["disable", "basic", "extended", "all"] | None = None
    """How far ONNX Runtime rewrites the graph; null: its default."""
    intra_op_num_threads: Threads | None = None
    """Threads of one operator on the CPU; null: ONNX Runtime's default."""
    enable_mem_pattern: bool | None = None
    """Whether memory is planned ahead for inputs of one shape; null: the default."""
    enable_cpu_mem_arena: bool | None = None
    """Whether the CPU's memory comes from an arena; null: the default."""
    config: dict[str, str] = Field(default_factory=dict)
    """Further entries as ONNX Runtime's documentation names them."""


_NONE_SET = SessionSettings()  # one for all models: pydantic would copy a default for each of 50,000


class ModelSpec(Section):
    """One model of the inventory.

    Service times are the specification's: ``load_time_ms``, and per item ``inference_ms`` times
    ``performance_multiplier`` (a factor on time: the heavier models of the inventory have the larger one).
    On the CPU an item takes ``cpu_inference_ms`` where measured, else the GPU's time divided by
    ``fallback.cpu_performance_ratio``. ``workspace_mb`` is what a run needs on top of the weights; it is
    reserved together with them, so that the peak always fits. ``warm_up_ms`` is what a first run adds to a
    load, where loads end with one (``serving.warm_up``).

    ``batch_size`` is the most items of one run. A larger request is split only with ``splits``. A profile
    writes that where split and whole answers were equal bit for bit. ``pad_to`` lists numbers of items: a
    smaller request is filled up to the next of them, where ``splits`` says that this is safe. It runs for
    longer, and a GPU has fewer shapes to plan for. ``inputs`` names true inputs for profiles, recordings and
    first runs: an ``.npz`` file, or a shape and a range per input. ``custom_ops`` are libraries of operators.
    Paths are relative to the inventory's file.

    ``stand_in_mb``: these are the figures of a stand-in of that size (:mod:`vramlab.live.stand_ins`), and a
    ``path`` beside it leads to a stand-in.
    """

    priority: PriorityField
    """critical, high, medium or low: its zone, its weight in scores, who may evict it."""
    vram_size_mb: Positive
    """What the loaded model holds."""
    load_time_ms: NonNegative
    """How long a load onto the GPU takes."""
    zone: str | None = None
    """Its home; null: the zone that reserves it, else by priority."""
    workspace_mb: NonNegative = 0
    """What a run needs on top; reserved together with the model, so that the peak fits."""
    cpu_fallback: str = "cpu_standard"
    """`none`: it never runs on the CPU, and a request that cannot be served fails."""
    always_loaded: bool = False
    """Load it at the start, and keep it."""
    performance_multiplier: Positive = 1.0
    """Factor on its inference time."""
    batch_size: Count = 1
    """So many items at most in one run."""
    splits: bool = False
    """It was shown that a request may be split or joined: each item is answered by itself."""
    pad_to: tuple[Count, ...] = Field(default=(), strict=False)
    """Numbers of items that a smaller request is filled up to, where it splits."""
    warm_up_ms: NonNegative = 0
    """What a first run adds to a load, where loads end with one."""
    inference_ms: NonNegative = 20
    """Time of one item on the GPU."""
    cpu_inference_ms: NonNegative | None = None
    """Time of one item on the CPU; null: that of the GPU over `cpu_performance_ratio`."""
    cpu_load_time_ms: NonNegative | None = None
    """Load time of the CPU's session; null: that of the GPU."""
    path: str | None = None
    """Its ONNX file, seen from the inventory's folder; null: a stand-in is built."""
    sha256: str | None = None
    """What the file must have."""
    stand_in_mb: Positive | None = None
    """These are the figures of a stand-in of that size, and `path` leads to one."""
    inputs: InputsField | None = None
    """True inputs for profiles and first runs: an `.npz` file, or a shape and a range per input."""
    session_options: SessionSettings = Field(default_factory=lambda: _NONE_SET)
    custom_ops: tuple[str, ...] = Field(default=(), strict=False)
    """Libraries of operators that it needs."""

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
        """Return the time of one item on the CPU, seconds: as measured, else GPU time over the ratio."""
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
"""Model name to spec, in the order of the file. Models that are alike may have one spec."""

_Found = TypeVar("_Found")


def of_each(specs: Collection[ModelSpec], of: Callable[[ModelSpec], _Found]) -> list[_Found]:
    """Return what follows from each spec, worked out once for those that are one.

    An imported trace has tens of thousands of models of which the same is assumed.
    """
    found = {key: of(spec) for key, spec in {id(spec): spec for spec in specs}.items()}
    return [found[id(spec)] for spec in specs]


def of_models(inventory: Inventory, of: Callable[[ModelSpec], _Found]) -> dict[str, _Found]:
    """Return what follows from each model's spec, by name; as :func:`of_each`."""
    return dict(zip(inventory, of_each(inventory.values(), of), strict=True))
