"""When does prediction pay? One replay per threshold, each held against the same trace without preloading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vramlab.analysis.preloading import preload_gain
from vramlab.config.errors import InputError
from vramlab.experiments.case import ConfigLike, ModelsLike, TraceLike, names_of, resolve_case
from vramlab.experiments.replay import run
from vramlab.simulation.choosing import Times

THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


# Users call it by keyword, as `replay`, and with two lists beside that.
def preload_curve(
    trace: TraceLike,
    config: ConfigLike = None,
    models: ModelsLike = None,
    predictors: Sequence[str] = ("combined",),
    thresholds: Sequence[float] = THRESHOLDS,
    overrides: Sequence[str] = (),
    seed: int = 0,
    service_times: Times | None = None,
) -> pd.DataFrame:
    """Return what preloading gains and costs, by predictor and threshold.

    Parameters
    ----------
    trace, config, models, overrides, seed, service_times
        As for :func:`~vramlab.experiments.replay.replay`.
    predictors : sequence of str
        Names that :func:`~vramlab.prediction.make_predictor` takes.
    thresholds : sequence of float
        Values of ``optimization.preload_prediction_threshold``.

    Returns
    -------
    DataFrame
        The first row is the run without preloading (``predictor`` "none"); then one per predictor and
        threshold, with the columns of :func:`~vramlab.analysis.preloading.preload_gain`, ``hit_rate``,
        ``cold_starts``, ``load_cost_s`` and the latencies.

    Raises
    ------
    InputError
        For bad input, and for no predictor or no threshold.
    """
    predictors = names_of(predictors)
    for name, values in (("predictors", predictors), ("thresholds", thresholds)):
        if not len(values):  # or the table would be that of the run without preloading, and nobody would ask
            raise InputError("preload_curve", name, "none", "at least one")
    case = resolve_case(trace, config, models, overrides, seed=seed, service_times=service_times)

    def figures_of(*changes: str) -> dict[str, Any]:
        return run(case.changed(changes)).figures

    without = figures_of("optimization.predictor=null")
    rows = [_row("none", None, without, without)]
    for predictor in predictors:
        for threshold in thresholds:
            figures = figures_of(
                f"optimization.predictor={predictor}",
                f"optimization.preload_prediction_threshold={threshold}",
            )
            rows.append(_row(predictor, threshold, figures, without))
    return pd.DataFrame(rows)


def _row(
    predictor: str, threshold: float | None, figures: dict[str, Any], without: dict[str, Any]
) -> dict[str, Any]:
    keys = ("hit_rate", "cold_starts", "load_cost_s", "latency_mean_s", "latency_p95_s", "latency_p99_s")
    row = {"predictor": predictor, "threshold": threshold}
    return row | {key: figures[key] for key in keys} | preload_gain(figures, without)
