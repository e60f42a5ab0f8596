"""Every figure of a run, one row each: key, label, unit, which way is better, how it is computed.

The JSON documents, the tables for people and the objectives of tuning read :data:`FIGURES`; nothing else
names how a figure is computed or written. A new figure from recorded facts is one row. It then stands in
every document. If one way is better, it also stands at the end of the tables that compare runs, and among the
objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from vramlab.config.units import bytes_to_mib
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome, PreloadRecord

Unit = Literal["count", "share", "part", "seconds", "latency", "bytes"]
Better = Literal["higher", "lower"]
Scope = Literal["models", "zones", "run"]


class Held(NamedTuple):
    """Bytes held in one zone, or in all: ``sizes_bytes`` for ``spans_s`` each, together ``whole_s``."""

    sizes_bytes: npt.NDArray[np.int64]
    spans_s: npt.NDArray[np.float64]
    whole_s: float

    @property
    def mean_bytes(self) -> float:
        """Average over time."""
        if self.whole_s <= 0:
            return float(self.sizes_bytes[-1])
        return float((self.sizes_bytes * self.spans_s).sum() / self.whole_s)


@dataclass(frozen=True, eq=False)
class Part:
    """Recorded facts of a whole run, of one zone or of one model.

    Parameters
    ----------
    outcomes : ndarray of uint8, shape (requests,)
        Values of :class:`~vramlab.engine.outcomes.Outcome`.
    latency_s : ndarray, shape (requests,)
        From arrival to answer, seconds; NaN where there was none.
    loads : list of LoadRecord
        Failed ones too; without those of what is always loaded.
    evictions : list of EvictionRecord
        All of them.
    load_s : mapping of str to float
        Load time by model as the inventory states it, seconds.
    held : Held or None
        Memory over time; None where nothing was recorded.
    preloads : list of PreloadRecord
        Of the whole run.
    """

    outcomes: npt.NDArray[np.uint8]
    latency_s: npt.NDArray[np.float64]
    loads: list[LoadRecord]
    evictions: list[EvictionRecord]
    load_s: Mapping[str, float]
    held: Held | None = None
    preloads: list[PreloadRecord] = field(default_factory=list)

    @cached_property
    def ended(self) -> list[int]:
        """Number of requests by outcome."""
        counts: list[int] = np.bincount(self.outcomes, minlength=len(Outcome)).tolist()
        return counts

    def share(self, outcome: Outcome) -> float:
        """Return the share of an outcome in the requests that reached the allocator."""
        reached = len(self.outcomes) - self.ended[Outcome.CACHE_HIT]
        return self.ended[outcome] / reached if reached else 0.0

    @cached_property
    def latencies_s(self) -> dict[str, float]:
        """Mean, percentiles and maximum of the answered requests, seconds; empty if there is none."""
        answered = self.latency_s[~np.isnan(self.latency_s)]
        return latencies_of(answered[np.newaxis])[0] if answered.size else {}

    @cached_property
    def loaded(self) -> list[LoadRecord]:
        """Loads that succeeded."""
        return [load for load in self.loads if not load.error]

    @cached_property
    def preloaded(self) -> int:
        """Number of loads by predicted use."""
        return sum(load.reason == "preload" for load in self.loaded)

    @property
    def load_cost_s(self) -> float:
        """Sum of load times. A load that took no time (decide mode) costs what the inventory says."""
        return float(sum((load.end_s - load.start_s) or self.load_s[load.model] for load in self.loaded))

    @cached_property
    def predicted(self) -> list[PreloadRecord]:
        """Preloads that succeeded."""
        return [preload for preload in self.preloads if preload.fate != "failed"]

    @cached_property
    def in_vain(self) -> list[PreloadRecord]:
        """Preloads that nobody used by the end."""
        return [preload for preload in self.predicted if preload.fate != "useful"]


def latencies_of(rows: npt.NDArray[np.float64]) -> list[dict[str, float]]:
    """Return mean, maximum and percentiles of each row of latencies; shape (rows, answers), answers > 0."""
    p50, p95, p99 = np.percentile(rows, [50, 95, 99], axis=1).tolist()
    columns = rows.mean(axis=1).tolist(), rows.max(axis=1).tolist(), p50, p95, p99
    names = ("mean", "max", "p50", "p95", "p99")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Parameters
    ----------
    key : str
        In JSON and in data frames, with the unit at its end.
    label : str
        In tables for people, with other figures beside it; `name` where it stands by itself.
    unit : str
        What the number counts, and so how it is written.
    better : str or None
        ``higher`` or ``lower``; None where neither is.
    of : callable or None
        Compute the figure from a :class:`Part`; None for what only a study knows.
    scope : str
        Computed for ``models`` and zones too, for ``zones``, or for the whole ``run`` only.
    name : str
        The label where it differs.
    hidden_if_zero : bool
        Leave the column out where no run has any.
    of_study : bool
        A study computes it for each run (:mod:`vramlab.experiments.optimum`), so that it can be tuned for.
    outcome : Outcome or None
        In place of `of`: count the requests that ended so.
    """

    key: str
    label: str
    unit: Unit
    better: Better | None = None
    of: Callable[[Part], Any] | None = None
    scope: Scope = "models"
    name: str = ""
    hidden_if_zero: bool = False
    of_study: bool = False
    outcome: Outcome | None = None

    @property
    def compute(self) -> Callable[[Part], Any] | None:
        """How the figure follows from recorded facts; None for what only a study knows."""
        outcome = self.outcome
        return self.of if outcome is None else lambda part: part.ended[outcome]

    def text(self, value: Any, mode: object = "simulate", nothing: str = "-") -> str:
        """Write the value for people; latencies of decide mode are no measurements and are not shown."""
        return nothing if self.unit == "latency" and mode == "decide" else text_of(value, self.unit, nothing)

    def best(self, values: list[Any]) -> Any:
        """Return the best of some values."""
        return max(values) if self.better == "higher" else min(values)


def text_of(value: Any, unit: Unit, nothing: str = "-") -> str:
    """Write a number for people, with its unit; `nothing` where there is none."""
    if value is None:
        return nothing
    if unit == "latency" and value < 10:
        return f"{1000 * value:,.1f} ms"
    return _TEXTS[unit](value)


_TEXTS: dict[Unit, Callable[[Any], str]] = {
    "count": "{:,}".format,
    "share": lambda value: f"{100 * value:.2f} %",
    "part": lambda value: f"{100 * value:.1f} %",
    "seconds": "{:,.1f} s".format,
    "latency": "{:,.1f} s".format,
    "bytes": lambda value: f"{bytes_to_mib(value):,.0f} MB",
}


def _latency(what: str) -> Callable[[Part], float | None]:
    return lambda part: part.latencies_s.get(what)


def _bytes(rows: Iterable[LoadRecord | EvictionRecord | PreloadRecord]) -> int:
    return sum(map(_SIZE, rows))


_SIZE = attrgetter("size_bytes")


FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        Figure("requests", "requests", "count", of=lambda part: len(part.outcomes)),
        Figure("hits", "hits", "count", outcome=Outcome.HIT),
        Figure("cold_starts", "cold starts", "count", "lower", outcome=Outcome.COLD_START),
        Figure("waits", "joined a load", "count", outcome=Outcome.WAIT),
        Figure(
            "fallbacks", "fallbacks", "count", "lower", outcome=Outcome.FALLBACK,
            name="CPU fallbacks", hidden_if_zero=True,
        ),
        Figure("refused", "refused", "count", "lower", outcome=Outcome.REFUSED),
        Figure("failed", "failed", "count", "lower", outcome=Outcome.FAILED),
        Figure("cancelled", "cancelled", "count", outcome=Outcome.CANCELLED, hidden_if_zero=True),
        Figure(
            "cache_hits", "from the result cache", "count", outcome=Outcome.CACHE_HIT, hidden_if_zero=True
        ),
        Figure("hit_rate", "hit rate", "share", "higher", lambda part: part.share(Outcome.HIT)),
        Figure(
            "cold_start_rate", "cold starts", "share", "lower", lambda part: part.share(Outcome.COLD_START)
        ),
        Figure("latency_mean_s", "mean", "latency", "lower", _latency("mean"), name="latency mean"),
        Figure("latency_p50_s", "p50", "latency", "lower", _latency("p50"), name="latency p50"),
        Figure("latency_p95_s", "p95", "latency", "lower", _latency("p95"), name="latency p95"),
        Figure("latency_p99_s", "p99", "latency", "lower", _latency("p99"), name="latency p99"),
        Figure("latency_max_s", "longest", "latency", "lower", _latency("max")),
        Figure("loads", "loads", "count", of=lambda part: len(part.loaded) - part.preloaded),
        Figure("preloads", "preloads", "count", of=lambda part: part.preloaded),
        Figure("failed_loads", "failed loads", "count", of=lambda part: len(part.loads) - len(part.loaded)),
        Figure("evictions", "evictions", "count", "lower", lambda part: len(part.evictions)),
        Figure("bytes_loaded", "loaded", "bytes", of=lambda part: _bytes(part.loaded)),
        Figure("bytes_evicted", "evicted", "bytes", of=lambda part: _bytes(part.evictions)),
        Figure("load_cost_s", "load cost", "seconds", "lower", lambda part: part.load_cost_s),
        Figure(
            "vram_used_mean_bytes", "held mean", "bytes", scope="zones",
            of=lambda part: part.held.mean_bytes if part.held else 0.0,
        ),
        Figure(
            "vram_used_peak_bytes", "held peak", "bytes", scope="zones",
            of=lambda part: int(part.held.sizes_bytes.max()) if part.held else 0,
        ),
        Figure(
            "preloads_useful", "useful preloads", "count", scope="run",
            of=lambda part: len(part.predicted) - len(part.in_vain),
        ),
        Figure("preloads_in_vain", "in vain", "count", scope="run", of=lambda part: len(part.in_vain)),
        Figure("bytes_preloaded", "preloaded", "bytes", scope="run", of=lambda part: _bytes(part.predicted)),
        Figure(
            "bytes_preloaded_in_vain", "in vain", "bytes", scope="run",
            of=lambda part: _bytes(part.in_vain),
        ),
        # What only a study knows, which adds it to the others.
        Figure("unserved", "unserved", "count", "lower", of_study=True),
        Figure("unserved_cost_s", "price of the unserved", "seconds", "lower", hidden_if_zero=True),
        Figure("cost_s", "whole cost", "seconds", "lower", of_study=True),
        Figure("card_bytes", "card", "bytes", "lower", of_study=True),
        Figure(
            "requester_worst_s", "worst requester: mean", "latency", "lower", hidden_if_zero=True,
            of_study=True,
        ),
        Figure(
            "requester_fairness", "fairness", "part", "higher", hidden_if_zero=True, of_study=True,
            name="fairness among requesters",
        ),
        Figure("gap_closed", "gap closed", "part", "higher"),
        Figure("price_mean_s", "price: mean", "latency", "lower"),
        Figure("price_p99_s", "price: p99", "latency", "lower"),
    )
}  # fmt: skip
"""All figures by key, in the order of the JSON documents."""

Table = Literal[
    "compare", "notebook", "sweep", "study", "explorer", "fidelity", "replay", "recording", "zones"
]

_TABLES: dict[Table, tuple[str, ...]] = {
    "compare": (
        "hit_rate", "hits", "cold_starts", "waits", "fallbacks", "cache_hits", "refused", "failed",
        "cancelled", "evictions", "load_cost_s", "unserved_cost_s", "cost_s", "gap_closed", "latency_p50_s",
        "latency_p95_s", "latency_p99_s", "latency_max_s", "latency_mean_s", "price_mean_s", "price_p99_s",
        "requester_worst_s", "requester_fairness",
    ),
    "notebook": (
        "hit_rate", "cold_start_rate", "load_cost_s", "gap_closed", "latency_p50_s", "latency_p95_s",
        "latency_p99_s", "waits", "refused", "failed",
    ),
    "sweep": (
        "hit_rate", "cold_starts", "waits", "fallbacks", "refused", "failed", "cost_s", "latency_p95_s",
    ),
    "study": ("unserved", "card_bytes"),
    "explorer": (
        "hit_rate", "cold_start_rate", "load_cost_s", "evictions", "refused", "latency_p50_s",
        "latency_p95_s", "latency_p99_s",
    ),
    "fidelity": (
        "requests", "hit_rate", "cold_starts", "waits", "fallbacks", "refused", "failed", "loads",
        "evictions", "latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s",
    ),
    "replay": ("hits", "cold_starts", "waits", "fallbacks", "refused", "failed", "cache_hits"),
    "recording": (
        "requests", "hits", "cold_starts", "waits", "fallbacks", "refused", "failed", "cache_hits", "loads",
        "evictions", "hit_rate", "latency_p50_s", "latency_p95_s", "latency_p99_s",
    ),
    "zones": (
        "requests", "hit_rate", "loads", "evictions", "vram_used_mean_bytes", "vram_used_peak_bytes",
    ),
}  # fmt: skip
_COMPARING = ("compare", "notebook", "explorer")


def table(name: Table) -> list[Figure]:
    """Return the figures of a table for people, in its order.

    A figure with a better side that no table names stands at the end of those that compare runs.
    """
    named = {key for keys in _TABLES.values() for key in keys}
    rest = [key for key, figure in FIGURES.items() if figure.better and key not in named]
    return [FIGURES[key] for key in (*_TABLES[name], *(rest if name in _COMPARING else ()))]


def by_outcome() -> dict[str, Figure]:
    """Return the counts of requests by the names of their outcomes (``cold_start``), for those who watch."""
    return {one.outcome.name.lower(): one for one in FIGURES.values() if one.outcome is not None}


def computed(part: Part, *scopes: Scope) -> dict[str, Any]:
    """Compute the figures of these scopes."""
    return {
        figure.key: compute(part)
        for figure in FIGURES.values()
        if (compute := figure.compute) is not None and figure.scope in scopes
    }


def objectives() -> dict[str, Literal["minimize", "maximize"]]:
    """Return what tuning can aim at, and whether less or more is better; the first is what it aims at."""
    known = [key for key, figure in FIGURES.items() if figure.better and (figure.compute or figure.of_study)]
    keys = dict.fromkeys(["cost_s", *known])
    return {key: "maximize" if FIGURES[key].better == "higher" else "minimize" for key in keys}
