"""Where the later part of a trace begins: the whole is replayed, and only what comes after that is counted.

So the part begins with the memory as full and the policy as wise as they would be then
(:meth:`vramlab.runs.records.Records.from_request`).
"""

from __future__ import annotations

import math

import numpy as np

from vramlab.config.errors import InputError
from vramlab.traces.trace import Trace


def boundary(trace: Trace, since: str | float) -> int:
    """Return the number of the first request of the later part.

    Parameters
    ----------
    trace : Trace
        Requests.
    since : str or float
        A fraction of the requests (above 0 and below 1), or a time in seconds.

    Raises
    ------
    InputError
        If it is no number, or one of the parts would be empty.
    """
    try:
        value = float(since)
    except ValueError:
        value = math.nan
    first = round(value * len(trace)) if 0 < value < 1 else int(np.searchsorted(trace.times_s, value))
    if math.isnan(value) or not 0 < first < len(trace):
        low, high = trace.times_s[0], trace.times_s[-1]
        expected = f"a fraction between 0 and 1, or a time between {low:g} and {high:g} s"
        if 0 < value < 1:
            since, expected = f"{since} of {len(trace)} requests", "two parts, each with requests"
        raise InputError("--validate-from", "", since, expected)
    # requests of one moment are not torn apart
    first = int(np.searchsorted(trace.times_s, trace.times_s[first]))
    if not first:
        found = f"{since}, and all requests before it at one moment with it"
        raise InputError("--validate-from", "", found, "two parts, each with requests")
    return first
