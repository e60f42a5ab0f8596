"""What preloading gains, and what it loads in vain: a run held against the same trace without it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

GB = 1e9


def preload_gain(figures: Mapping[str, Any], without: Mapping[str, Any]) -> dict[str, float]:
    """Return the gain and cost of preloading, from the figures of two replays of one trace.

    Parameters
    ----------
    figures, without : mapping
        Figures of the runs with and without preloading (:func:`vramlab.analysis.metrics.metrics`).

    Returns
    -------
    dict
        ``preloads``, ``useful``, ``in_vain`` (numbers), ``gb_preloaded``, ``gb_in_vain`` (1 GB is 10^9
        bytes), ``cold_starts_avoided`` (less than 0 where preloading does harm) and
        ``avoided_per_gb_in_vain``, which is infinite or NaN where nothing was loaded in vain.
    """
    avoided = without["cold_starts"] - figures["cold_starts"]
    gb_in_vain = figures["bytes_preloaded_in_vain"] / GB
    free_of_cost = math.copysign(math.inf, avoided) if avoided else math.nan
    return {
        "preloads": figures["preloads_useful"] + figures["preloads_in_vain"],
        "useful": figures["preloads_useful"],
        "in_vain": figures["preloads_in_vain"],
        "gb_preloaded": figures["bytes_preloaded"] / GB,
        "gb_in_vain": gb_in_vain,
        "cold_starts_avoided": avoided,
        "avoided_per_gb_in_vain": avoided / gb_in_vain if gb_in_vain else free_of_cost,
    }
