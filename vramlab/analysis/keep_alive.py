"""Which time-out? What it costs to keep an idle model, and what it saves, from the gaps between its requests.

With a time-out of T seconds a model stays for min(gap, T) after each run, and a gap longer than T ends in a
cold start. So its cold starts and its memory-seconds are sums over its gaps, exact for every T where nothing
else sends models away. Ollama's ``keep_alive``, llama-swap's ``ttl`` and vramd's idle unload are such.

The best time-outs for a given mean memory are those that, for one price of a byte-second, are each the
cheapest for their model (Lagrange); the price is found by halving. Only time-outs at which something changes
matter: none, and the gaps themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory
from vramlab.traces.trace import Trace

GIB = 2.0**30
GRID_S = (
    0.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1200.0,
    1800.0,
    3600.0,
    7200.0,
    21_600.0,
    86_400.0,
    math.inf,
)
_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Gaps:
    """The idle gaps of one model.

    Parameters
    ----------
    name : str
    size_bytes : int
    load_s : float
        Of one load, seconds.
    gaps_s : ndarray of float64
        Sorted; from the end of a run to the next request, 0 where that came before the end.
    busy_s : float
        Time in use, seconds: memory that no time-out saves.
    tail_s : float
        From the end of its last run to the end of the trace, seconds.
    """

    name: str
    size_bytes: int
    load_s: float
    gaps_s: np.ndarray
    busy_s: float
    tail_s: float

    @property
    def requests(self) -> int:
        """How many requests there are."""
        return len(self.gaps_s) + 1

    def cold_starts(self, timeout_s: float) -> int:
        """Loads with a time-out, the first one included."""
        return 1 + int(len(self.gaps_s) - np.searchsorted(self.gaps_s, timeout_s, side="right"))

    def held_s(self, timeout_s: float) -> float:
        """Seconds in memory with a time-out, loads included."""
        idle_s = float(np.minimum(self.gaps_s, timeout_s).sum()) + min(self.tail_s, timeout_s)
        return self.busy_s + idle_s + self.cold_starts(timeout_s) * self.load_s

    def cheapest(self, per_byte_s: float) -> float:
        """The time-out of the least cost, where a byte that is held for a second costs so many seconds."""
        gaps_s = self.gaps_s
        candidates = np.concatenate([[0.0], gaps_s])
        sums = np.concatenate([[0.0], np.cumsum(gaps_s)])
        longer = len(gaps_s) - np.searchsorted(gaps_s, candidates, side="right")
        up_to = np.searchsorted(gaps_s, candidates, side="right")
        idle_s = sums[up_to] + candidates * longer + np.minimum(self.tail_s, candidates)
        costs = longer * self.load_s + per_byte_s * self.size_bytes * (idle_s + longer * self.load_s)
        return float(candidates[int(np.argmin(costs))])


def gaps_of(trace: Trace, inventory: Inventory) -> list[Gaps]:
    """Idle gaps per model, by the run times of the inventory; models in the order of the trace.

    Raises
    ------
    InputError
        If the trace has one model only: there is nothing to decide.
    """
    if len(trace.model_names) < 2:
        raise InputError(
            trace.source, "model", f"{trace.model_names[0]!r} only", "several models: one stays loaded"
        )
    found = []
    end_s = float(trace.times_s[-1])
    for code, name in enumerate(trace.model_names):
        spec = inventory[name]
        mine = trace.model_codes == code
        times_s, runs_s = trace.times_s[mine], trace.items[mine] * spec.inference_s
        ends_s = np.maximum.accumulate(times_s + runs_s)
        gaps_s = np.sort(np.maximum(times_s[1:] - ends_s[:-1], 0.0))
        busy_s = float(ends_s[-1] - times_s[0] - gaps_s.sum())
        tail_s = max(0.0, end_s - float(ends_s[-1]))
        found.append(Gaps(name, spec.footprint_bytes, spec.load_s, gaps_s, busy_s, tail_s))
    return found


def keep_alive_curve(models: list[Gaps], timeouts_s: tuple[float, ...] = GRID_S) -> pd.DataFrame:
    """Load seconds and memory-seconds per model and time-out.

    Returns
    -------
    DataFrame
        Columns ``model``, ``keep_alive_s``, ``cold_starts``, ``load_s``, ``held_byte_s``.
    """
    rows = [
        (one.name, t, one.cold_starts(t), one.cold_starts(t) * one.load_s, one.size_bytes * one.held_s(t))
        for one in models
        for t in timeouts_s
    ]
    return pd.DataFrame(rows, columns=["model", "keep_alive_s", "cold_starts", "load_s", "held_byte_s"])


def best_timeouts(models: list[Gaps], mean_bytes: float, span_s: float) -> dict[str, float]:
    """A time-out per model with the fewest load seconds that holds at most `mean_bytes` in the mean.

    Parameters
    ----------
    models : list of Gaps
    mean_bytes : float
        Memory that may be held, averaged over time.
    span_s : float
        How long the trace is, seconds.

    Returns
    -------
    dict
        Model to seconds. Where even time-outs of 0 hold more, all are 0.
    """

    def held(timeouts: dict[str, float]) -> float:
        return sum(one.size_bytes * one.held_s(timeouts[one.name]) for one in models) / span_s

    low, high = 0.0, 1.0 / max(min(one.size_bytes for one in models), 1)
    longest = {one.name: float(one.gaps_s[-1]) if len(one.gaps_s) else 0.0 for one in models}
    if held(longest) <= mean_bytes:
        return longest
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        if held({one.name: one.cheapest(price) for one in models}) > mean_bytes:
            low = price
        else:
            high = price
    return {one.name: one.cheapest(high) for one in models}
