"""How sure the figures of a comparison are: intervals, and paired differences from the first policy.

A row gets ``NAME_low`` and ``NAME_high`` (95 %) for ``hit_rate``, ``load_cost_s`` and ``latency_mean_s``, and
``versus_first``: per figure ``difference``, ``low``, ``high`` and ``verdict`` (``higher``, ``lower`` or
``tie``; empty for the first policy itself). Requests are resampled in blocks of time, those of two policies
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vramlab.analysis.statistics import (
    Floats,
    bootstrap_interval,
    paired_difference,
    request_series,
    warmup,
)
from vramlab.experiments.case import Case
from vramlab.runs.records import Records

INTERVAL = "95 %, blocks of time resampled"
"""What the intervals are of, for plots."""

_VERDICTS = {"a lower": "lower", "b lower": "higher", "tie": "tie"}


def warmup_of(runs: Sequence[Records]) -> int:
    """Return requests at the start to leave out for all runs: the longest warm-up of their hits (MSER-5)."""
    return max(warmup(request_series(records, "hit")).requests for records in runs)


def with_intervals(runs: Sequence[Records], case: Case, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return what the rows of the runs get.

    Parameters
    ----------
    runs : sequence of Records
        Of the same requests.
    case : Case
        In decide mode a load costs what its inventory says.
    rng : numpy.random.Generator
        Draws the resamples.
    """
    stated = case.inventory if case.mode == "decide" else None
    rows: list[dict[str, Any]] = [{"versus_first": {}} for _ in runs]
    for name, measure, statistic in _FIGURES:
        series = [request_series(records, measure, stated) for records in runs]
        for place, (row, values) in enumerate(zip(rows, series, strict=True)):
            if np.isnan(values).all():
                continue
            found = bootstrap_interval(values, rng, statistic)
            row |= {f"{name}_low": found.low, f"{name}_high": found.high}
            if place and not np.isnan(values - series[0]).all():
                row["versus_first"][name] = _versus(values, series[0], statistic, rng)
    return rows


_FIGURES: tuple[tuple[str, Any, Any], ...] = (
    ("hit_rate", "hit", "mean"),
    ("load_cost_s", "load_cost_s", "sum"),
    ("latency_mean_s", "latency_s", "mean"),
)


def _versus(values: Floats, first: Floats, statistic: Any, rng: np.random.Generator) -> dict[str, Any]:
    found = paired_difference(values, first, rng, statistic)
    difference = found.difference
    return {
        "difference": difference.estimate,
        "low": difference.low,
        "high": difference.high,
        "verdict": _VERDICTS[found.verdict],
    }
