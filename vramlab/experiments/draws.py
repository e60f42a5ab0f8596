"""Several draws of one simulation: their median, their spread, and what that says of a live run.

Which model is evicted may hang on a millisecond, and one other eviction leads to others: a simulation is one
draw, and so is a live run. What a single draw is off says little without how far draws are apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

from vramlab.analysis.metrics import metrics
from vramlab.experiments.case import Case
from vramlab.experiments.replay import run as replay
from vramlab.runs.records import Records

SEEDS = 8
LIMITS = {"hit_rate": 0.007, "latency_p50_s": 0.07, "latency_p95_s": 0.12, "latency_p99_s": 0.20}
"""How far a simulation may be off: a part of one for the hit rate, else relative to the live run."""

RULE = (
    "within the spread: the live figure is at most two standard deviations from the draws' mean; within the "
    "limits: the draws' median is at most 0.7 points, 7 % (p50), 12 % (p95) and 20 % (p99) off"
)
_DRAWN = ("sampled", "contended", "recorded")


@dataclass(frozen=True, eq=False)
class Draws:
    """What several draws of one case gave.

    Parameters
    ----------
    figures : list of dict
        Of each draw, with the keys of ``vramlab replay --json``.
    records : list of Records
        Of each draw, without the warm-up.
    """

    figures: list[dict[str, Any]]
    records: list[Records]

    def median(self) -> dict[str, Any]:
        """Return the median of every figure that is a number; what is none is the first draw's."""
        found = dict(self.figures[0])
        for key, value in found.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or key in ("seed", "wall_s"):
                continue
            known = [one[key] for one in self.figures if one[key] is not None]
            found[key] = type(value)(median(known))
        return found

    def spread(self) -> dict[str, dict[str, float]]:
        """Return lowest, highest, mean and standard deviation of what is judged."""
        found = {}
        for key in LIMITS:
            known = [one[key] for one in self.figures if one[key] is not None]
            if known:
                deviation = stdev(known) if len(known) > 1 else 0.0
                found[key] = {"low": min(known), "high": max(known), "mean": fmean(known), "sd": deviation}
        return found

    def verdicts(self, live: dict[str, Any]) -> dict[str, str]:
        """Return what :data:`RULE` says of each figure that is judged."""
        middle, found = self.median(), {}
        for key, spread in self.spread().items():
            if live[key] is None:
                continue
            off = abs(middle[key] - live[key])
            limit = LIMITS[key] * (1.0 if key == "hit_rate" else live[key])
            within = abs(live[key] - spread["mean"]) <= 2 * spread["sd"]
            found[key] = "within the spread" if within else "within the limits" if off <= limit else "outside"
        return found

    def per_request(self, live: Records) -> dict[str, float | None]:
        """Return how far single requests are off, over all draws.

        Returns
        -------
        dict
            ``same_outcome``: share of requests that ended alike; ``latency_error_median_s``: the median of
            the differences in latency, without their signs; None where no request has both.
        """
        alike = [float(np.mean(one.outcomes == live.outcomes)) for one in self.records]
        off_s = np.concatenate([np.abs(one.latency_s - live.latency_s) for one in self.records])
        known = off_s[~np.isnan(off_s)]
        return {
            "same_outcome": fmean(alike),
            "latency_error_median_s": float(np.median(known)) if known.size else None,
        }


def draws(case: Case, from_s: float, seeds: int = SEEDS) -> Draws:
    """Simulate a case with several seeds; only once where nothing is drawn.

    Parameters
    ----------
    case : Case
        Its seed is the first.
    from_s : float
        What came before, in seconds from the first request on, is left out of figures and records.
    seeds : int
        How many.
    """
    count = seeds if case.service_times in _DRAWN else 1
    figures, records = [], []
    for seed in range(case.seed, case.seed + count):
        free = replay(replace(case, seed=seed))
        judged = since(free.records, from_s)
        figures.append(free.figures | (metrics(judged, case.config, case.inventory) if from_s else {}))
        records.append(judged)
    return Draws(figures, records)


def since(records: Records, from_s: float) -> Records:
    """Return the part of a run from so many seconds after its first request on."""
    return records.since(records.arrival_s[0] + from_s) if from_s else records


def overall(verdicts: Iterable[str]) -> str:
    """Return the worst of several verdicts."""
    given = set(verdicts)
    order = ("outside", "within the limits", "within the spread")
    return next(word for word in order if word in given)
