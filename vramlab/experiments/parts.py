"""The later part of a run: a whole trace is replayed, and only what comes after a moment is counted.

So the part begins with the memory as full and the policy as wise as they would be then. A load or an eviction
counts where it began; time-averaged memory begins at the first request of the part.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

import numpy as np

from vramlab.config.errors import InputError
from vramlab.runs.records import Records
from vramlab.traces.trace import Trace


def later_part(records: Records, first: int) -> Records:
    """Return the records of the requests from number `first` on.

    Raises
    ------
    InputError
        If nothing is left.
    """
    if not 0 <= first < len(records):
        raise InputError("part", "first", first, f"a request from 0 to {len(records) - 1}")
    if first == 0:
        return records
    start_s = float(records.arrival_s[first])
    usage = list(records.usage)
    held = bisect_right(usage, start_s, key=lambda row: row.time_s)
    before = [usage[held - 1]._replace(time_s=start_s)] if held else []
    loads, evictions = list(records.loads), list(records.evictions)
    return Records(
        model_names=records.model_names,
        model_codes=records.model_codes[first:],
        arrival_s=records.arrival_s[first:],
        outcomes=records.outcomes[first:],
        finish_s=records.finish_s[first:],
        zone_names=records.zone_names,
        loads=loads[bisect_left(loads, start_s, key=lambda row: row.start_s) :],
        evictions=evictions[bisect_left(evictions, start_s, key=lambda row: row.time_s) :],
        usage=[*before, *usage[held:]],
        lost=[row._replace(number=row.number - first) for row in records.lost if row.number >= first],
        faults=records.faults,
        binding=records.binding,
        preloads=[row for row in records.preloads if row.time_s >= start_s],
    )


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
