"""How a run treats those who ask: mean latency of each requester, of the worst off, and fairness of all.

A request that was not served counts as the slowest of the run, its price on top
(:func:`vramlab.experiments.costs.as_if_served`): whom a setting refuses is not well served.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from vramlab.experiments.case import Case
from vramlab.experiments.costs import as_if_served, unserved
from vramlab.runs.records import Records

LEAST_REQUESTS = 20
"""Requesters with fewer requests have no mean worth the name."""


def requester_table(case: Case, records: Records) -> pd.DataFrame:
    """Return one row per requester with enough requests, the worst off first.

    Returns
    -------
    DataFrame
        ``requester``, ``requests``, ``unserved``, ``latency_mean_s`` (the unserved included). Empty where the
        trace names no requesters or nothing takes time.
    """
    columns = ["requester", "requests", "unserved", "latency_mean_s"]
    names = case.trace.requesters
    if names is None or case.mode != "simulate":
        return pd.DataFrame(columns=columns)
    codes, known = pd.factorize(names[-len(records) :])
    latency_s = as_if_served(case, records).latency_s
    counted = (codes >= 0) & np.isfinite(latency_s)
    codes = codes[counted]
    requests = np.bincount(codes, minlength=len(known))
    sums = np.bincount(codes, weights=latency_s[counted], minlength=len(known))
    lost = np.bincount(codes, weights=unserved(records)[counted], minlength=len(known))
    with np.errstate(invalid="ignore"):
        table = pd.DataFrame(
            dict(zip(columns, (known, requests, lost.astype(int), sums / requests), strict=True))
        )
    return table[table["requests"] >= LEAST_REQUESTS].sort_values(
        "latency_mean_s", ascending=False, ignore_index=True
    )


def requester_figures(case: Case, records: Records) -> dict[str, Any]:
    """Return the mean latency of the worst off, and Jain's index of all mean latencies.

    The index is (sum x)^2 / (n * sum x^2): 1 where all fare alike, 1/n where one bears everything (R. Jain,
    D. Chiu, W. Hawe, "A quantitative measure of fairness", DEC-TR-301, 1984). None with fewer than two.
    """
    means = requester_table(case, records)["latency_mean_s"].to_numpy(dtype=float)
    if len(means) < 2 or not means.any():
        return {"requester_worst_s": None, "requester_fairness": None}
    fairness = float(means.sum() ** 2 / (len(means) * (means**2).sum()))
    return {"requester_worst_s": float(means[0]), "requester_fairness": fairness}
