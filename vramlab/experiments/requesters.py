"""How a run treats those who ask: mean latency of the worst off, and fairness of all.

A request that was not served counts as the slowest of the run, its price on top
(:func:`vramlab.experiments.costs.as_if_served`): whom a setting refuses is not well served.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vramlab.analysis.intervals import Floats
from vramlab.experiments.case import Case
from vramlab.experiments.costs import as_if_served
from vramlab.runs.records import Records

LEAST_REQUESTS = 20
"""Requesters with fewer requests have no mean worth the name."""


def requester_means_s(case: Case, records: Records) -> Floats:
    """Return the mean latency of each requester with enough requests, the worst off first, seconds.

    Empty where the trace names no requesters or nothing takes time.
    """
    requesters = case.trace.texts.get("requester")
    if requesters is None or case.mode != "simulate":
        return np.zeros(0)
    codes, latency_s = requesters.codes[-len(records) :], as_if_served(case, records).latency_s
    counted = (codes >= 0) & np.isfinite(latency_s)
    requests = np.bincount(codes[counted])
    enough = requests >= LEAST_REQUESTS
    means_s: Floats = np.bincount(codes[counted], latency_s[counted])[enough] / requests[enough]
    return -np.sort(-means_s)


def requester_figures(case: Case, records: Records) -> dict[str, Any]:
    """Return the mean latency of the worst off, and Jain's index of all mean latencies.

    The index is (sum x)^2 / (n * sum x^2): 1 where all fare alike, 1/n where one bears everything (R. Jain,
    D. Chiu, W. Hawe, "A quantitative measure of fairness", DEC-TR-301, 1984). None with fewer than two.
    """
    means = requester_means_s(case, records)
    if len(means) < 2 or not means.any():
        return {"requester_worst_s": None, "requester_fairness": None}
    fairness = float(means.sum() ** 2 / (len(means) * (means**2).sum()))
    return {"requester_worst_s": float(means[0]), "requester_fairness": fairness}
