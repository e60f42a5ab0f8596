"""The figures of one run: the keys that ``vramlab replay --json`` promises, from its records.

Counts are of requests; ``hit_rate`` and ``cold_start_rate`` are over the requests that reached the allocator
(all but those answered from the result cache). Latencies are of answered requests, from arrival to answer,
in seconds; ``latency_max_s`` is the longest. Memory is what models held, averaged over the time from the
first arrival to the last answer.
What is always loaded was there before the first request: its loads count nowhere.

``binding`` says how often which limit left a model no free room. ``lost`` says why requests were refused or
failed and why loads failed, by cause; ``losses`` the same per model, with the whole reason of the first;
``faults`` what a fault plan did, where there was one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vramlab.config.schema import Inventory, VramConfig, zone_of
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome
from vramlab.runs.records import Records

_Row = TypeVar("_Row", LoadRecord, EvictionRecord)

_COUNTS = {
    "hits": Outcome.HIT,
    "cold_starts": Outcome.COLD_START,
    "waits": Outcome.WAIT,
    "fallbacks": Outcome.FALLBACK,
    "refused": Outcome.REFUSED,
    "failed": Outcome.FAILED,
    "cancelled": Outcome.CANCELLED,
    "cache_hits": Outcome.CACHE_HIT,
}


def metrics(records: Records, config: VramConfig, inventory: Inventory) -> dict[str, Any]:
    """All figures of a run.

    Parameters
    ----------
    records : Records
        Of the run.
    config, inventory
        Of the run. Requests count for the zone that is the home of their model, loads and evictions for the
        zone where they happened.

    Returns
    -------
    dict
        Flat, but for ``zones`` and ``models``, the same per zone and per model, ``lost`` and ``faults``.
    """
    costs_s = {name: spec.load_s for name, spec in inventory.items()}
    loads = [load for load in records.loads if load.reason != "start"]
    result = _figures(records, np.ones(len(records), dtype=bool))
    result |= _movements(loads, records.evictions, costs_s)
    result |= _memory(records, None)
    homes = np.array([zone_of(inventory[name], config, name) for name in records.model_names], dtype=object)
    result["zones"] = {}
    for index, zone in enumerate(records.zone_names):
        figures = _figures(records, np.isin(records.model_codes, np.flatnonzero(homes == zone)))
        figures |= _movements(
            [load for load in loads if load.zone == zone],
            [eviction for eviction in records.evictions if eviction.zone == zone],
            costs_s,
        )
        result["zones"][zone] = figures | _memory(records, index)
    loads_of = _by_model(loads)
    evictions_of = _by_model(records.evictions)
    result["models"] = {
        name: _figures(records, rows)
        | _movements(loads_of.get(name, []), evictions_of.get(name, []), costs_s)
        for name, rows in _rows_by_model(records).items()
    }
    result |= _preloads(records)
    result["lost"] = _lost(records)
    result["losses"] = _losses(records)
    result["faults"] = dict(records.faults)
    result["binding"] = dict(records.binding)
    return result


def binding_text(binding: Mapping[str, int]) -> str:
    """Limits that were reached, as a line for people; empty where none was."""
    ranked = sorted(binding.items(), key=lambda item: -item[1])
    return "; ".join(f"{name}, {count:,} times" for name, count in ranked)


def _preloads(records: Records) -> dict[str, int]:
    """What became of the preloads by predicted use; those not used by the end were in vain too."""
    done = [preload for preload in records.preloads if preload.fate != "failed"]
    in_vain = [preload for preload in done if preload.fate != "useful"]
    return {
        "preloads_useful": len(done) - len(in_vain),
        "preloads_in_vain": len(in_vain),
        "bytes_preloaded": sum(preload.size_bytes for preload in done),
        "bytes_preloaded_in_vain": sum(preload.size_bytes for preload in in_vain),
    }


def _lost(records: Records) -> dict[str, dict[str, int]]:
    """Number of losses by kind and cause, most frequent first; a cause is what stands before a colon."""
    causes = {
        "refused": [loss.why for loss in records.lost if loss.outcome is Outcome.REFUSED],
        "failed": [loss.why for loss in records.lost if loss.outcome is Outcome.FAILED],
        "failed_loads": [load.error for load in records.loads if load.error],
    }
    return {
        kind: dict(Counter(why.partition(":")[0] for why in whys).most_common())
        for kind, whys in causes.items()
    }


def _losses(records: Records) -> list[dict[str, Any]]:
    """Requests without an answer by model and outcome, most frequent first, with the first one's reason."""
    found: dict[tuple[str, Outcome], dict[str, Any]] = {}
    for loss in records.lost:
        model = records.model_names[records.model_codes[loss.number]]
        row = {"model": model, "outcome": loss.outcome.name.lower(), "requests": 0, "why": loss.why}
        found.setdefault((model, loss.outcome), row)["requests"] += 1
    return sorted(found.values(), key=lambda row: -int(row["requests"]))


def _by_model(rows: list[_Row]) -> dict[str, list[_Row]]:
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.model, []).append(row)
    return groups


def _rows_by_model(records: Records) -> dict[str, npt.NDArray[np.intp]]:
    order = np.argsort(records.model_codes, kind="stable")
    ends = np.cumsum(np.bincount(records.model_codes, minlength=len(records.model_names)))
    return dict(zip(records.model_names, np.split(order, ends[:-1]), strict=True))


def _figures(records: Records, rows: npt.NDArray[Any]) -> dict[str, Any]:
    outcomes = records.outcomes[rows]
    counts = np.bincount(outcomes, minlength=len(Outcome))
    figures: dict[str, Any] = {"requests": len(outcomes)}
    figures |= {key: int(counts[outcome]) for key, outcome in _COUNTS.items()}
    reached = len(outcomes) - figures["cache_hits"]
    figures["hit_rate"] = figures["hits"] / reached if reached else 0.0
    figures["cold_start_rate"] = figures["cold_starts"] / reached if reached else 0.0
    latency_s = records.latency_s[rows]
    latency_s = latency_s[~np.isnan(latency_s)]
    if latency_s.size:
        p50, p95, p99 = np.percentile(latency_s, [50, 95, 99])
        mean = latency_s.mean()
        figures |= {
            "latency_mean_s": float(mean),
            "latency_p50_s": float(p50),
            "latency_p95_s": float(p95),
            "latency_p99_s": float(p99),
            "latency_max_s": float(latency_s.max()),
        }
    else:
        figures |= {f"latency_{what}_s": None for what in ("mean", "p50", "p95", "p99", "max")}
    return figures


def _movements(
    loads: list[LoadRecord], evictions: list[EvictionRecord], costs_s: dict[str, float]
) -> dict[str, Any]:
    """Loads and evictions. A load that took no time (decide mode) costs what the inventory says."""
    done = [load for load in loads if not load.error]
    preloads = sum(load.reason == "preload" for load in done)
    return {
        "loads": len(done) - preloads,
        "preloads": preloads,
        "failed_loads": len(loads) - len(done),
        "evictions": len(evictions),
        "bytes_loaded": sum(load.size_bytes for load in done),
        "bytes_evicted": sum(eviction.size_bytes for eviction in evictions),
        "load_cost_s": float(sum((load.end_s - load.start_s) or costs_s[load.model] for load in done)),
    }


def _memory(records: Records, zone: int | None) -> dict[str, Any]:
    """Mean over time and peak of the bytes held, in one zone or in all."""
    if not records.usage or not len(records):
        return {"vram_used_mean_bytes": 0.0, "vram_used_peak_bytes": 0}
    times = np.array([row.time_s for row in records.usage])
    held = np.array([row.held_bytes for row in records.usage], dtype=np.int64)
    bytes_held = held.sum(axis=1) if zone is None else held[:, zone]
    start_s = records.arrival_s[0]
    finish_s = records.finish_s[~np.isnan(records.finish_s)]  # none, where a run was followed no further
    end_s = max(float(finish_s.max(initial=-np.inf)), float(times[-1]))
    times = np.clip(times, start_s, None)
    spans = np.diff(times, append=end_s)
    whole = end_s - start_s
    mean = float((bytes_held * spans).sum() / whole) if whole > 0 else float(bytes_held[-1])
    return {"vram_used_mean_bytes": mean, "vram_used_peak_bytes": int(bytes_held.max())}
