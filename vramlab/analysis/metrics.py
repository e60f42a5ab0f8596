"""The figures of one run, zone by zone and model by model: the keys of ``vramlab replay --json``.

Counts are of requests; ``hit_rate`` and ``cold_start_rate`` are over the requests that reached the allocator
(all but those answered from the result cache). Latencies are of answered requests, from arrival to answer,
in seconds; ``latency_max_s`` is the longest. Memory is what models held, averaged over the time from the
first arrival to the last answer.
What is always loaded was there before the first request: its loads count nowhere.

``binding`` says how often which limit left a model no free room. ``lost`` says why requests were refused or
failed and why loads failed, by cause; ``losses`` the same per model, with the whole reason of the first;
``faults`` what a fault plan did, where there was one. How each figure is computed stands in
:mod:`vramlab.analysis.figures`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from vramlab.analysis.by_model import figures_by_model, grouped
from vramlab.analysis.figures import Held, Part, computed
from vramlab.config.schema import Inventory, VramConfig, homes_of, of_models
from vramlab.engine.outcomes import Outcome
from vramlab.runs.records import Records


def metrics(records: Records, config: VramConfig, inventory: Inventory) -> dict[str, Any]:
    """Compute all figures of a run.

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
    load_s = of_models(inventory, lambda spec: spec.load_s)
    latency_s = records.latency_s
    loads = [load for load in records.loads if load.reason != "start"]
    held = _held(records)
    whole = Part(
        records.outcomes,
        latency_s,
        loads,
        list(records.evictions),  # which go on, in a run that does
        load_s,
        held[-1] if held else None,
        records.preloads,
    )
    homes = homes_of(inventory, config)
    its_home = np.array([homes[name] for name in records.model_names], dtype=object)
    its_loads, its_evictions = grouped(loads, "zone"), grouped(records.evictions, "zone")
    held_in = dict(zip(records.zone_names, held, strict=False))
    result = computed(whole, "models", "zones")
    result["zones"] = {}
    for zone in records.zone_names:
        of = np.flatnonzero((its_home == zone)[records.model_codes])
        own = its_loads[zone], its_evictions[zone]
        part = Part(records.outcomes[of], latency_s[of], *own, load_s, held_in.get(zone))
        result["zones"][zone] = computed(part, "models", "zones")
    result["models"] = figures_by_model(whole, records.model_names, records.model_codes, load_s)
    result |= computed(whole, "run")
    result |= {"lost": _lost(records), "losses": _losses(records)}
    return result | {"faults": dict(records.faults), "binding": dict(records.binding)}


def binding_text(binding: Mapping[str, int]) -> str:
    """Return the limits that were reached, as a line for people; empty where none was."""
    ranked = sorted(binding.items(), key=lambda item: -item[1])
    return "; ".join(f"{name}, {count:,} times" for name, count in ranked)


def _lost(records: Records) -> dict[str, dict[str, int]]:
    """Count losses by kind and cause, most frequent first; a cause is what stands before a colon."""
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
    """Count requests without an answer by model and outcome, most frequent first, each with a reason."""
    found: dict[tuple[str, Outcome], dict[str, Any]] = {}
    for loss in records.lost:
        model = records.model_names[records.model_codes[loss.number]]
        row = {"model": model, "outcome": loss.outcome.name.lower(), "requests": 0, "why": loss.why}
        found.setdefault((model, loss.outcome), row)["requests"] += 1
    return sorted(found.values(), key=lambda row: -int(row["requests"]))


def _held(records: Records) -> list[Held]:
    """Return the bytes held over time, per zone and then of all together; empty if nothing was recorded."""
    if not records.usage or not len(records):
        return []
    times, held = records.usage_columns()
    start_s = records.arrival_s[0]
    finish_s = records.finish_s[~np.isnan(records.finish_s)]  # none, where a run was followed no further
    end_s = max(float(finish_s.max(initial=-np.inf)), float(times[-1]))
    spans_s = np.diff(np.clip(times, start_s, None), append=end_s)
    whole_s = float(end_s - start_s)
    return [Held(sizes, spans_s, whole_s) for sizes in (*held.T, held.sum(axis=1))]
