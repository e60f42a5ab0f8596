"""The ``optimization`` section: monitoring, defragmentation, preloading (specification, ``optimization``)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vramlab.config.fields import Fraction, Interval, NonNegative, Positive, Section


class OptimizationConfig(Section):
    """Monitoring (:mod:`vramlab.engine.monitor`), defragmentation, and preloading
    (:mod:`vramlab.engine.preloading`), which is on where ``predictor`` is given.
    """

    monitor: bool = True
    """Look at the device again and again, and unload when it is too full."""
    monitoring_interval: Interval = 5
    """Seconds between two looks of the monitor."""
    optimization_threshold: Fraction = 0.85
    """Above this share of the device in use, unused models leave."""
    unused_after_s: NonNegative = 300
    """A model of low or medium priority that nobody asked for during so long counts as unused."""
    pressure_available_mb: NonNegative = 200
    """With less than this available, any model that may leaves, by score, until it is."""
    defragmentation: Literal["auto", "always", "never"] = "auto"
    """Whether models are moved to join holes: `auto` only where holes matter (`placement: contiguous`)."""
    defragmentation_threshold: Fraction = 0.3
    """Move from this fragmentation of a zone on: 1 - largest hole / free bytes."""
    preload_prediction_threshold: Fraction = 0.7
    """Preload models whose probability of use within the horizon is above this."""
    predictor: str | None = None
    """What predicts: a name of :mod:`vramlab.prediction.registry`, or `package.module:name`; null: no
    preloading.
    """
    predictor_options: dict[str, Any] = Field(default_factory=dict)
    """Options that the predictor is made with."""
    preload_interval: Interval = 60
    """Seconds between two looks of the preloader."""
    preload_horizon_s: Positive = 3600
    """How far a prediction looks ahead."""
    preload_horizon_load_factor: Positive | None = None
    """The horizon as a multiple of the model's load time, in place of `preload_horizon_s`; null: not."""
    preload_may_evict: bool = False
    """Preload also in the place of models that are less likely to be used."""
    unpreload_after_s: Positive | None = None
    """Unload a preloaded model that nobody used after so long; null: never."""
    week_offset_s: NonNegative = 0
    """Time from Monday 00:00 to the start of the run or trace, for predictors that know the hours."""
