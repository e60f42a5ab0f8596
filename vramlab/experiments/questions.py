"""What does this pin cost? Would a bigger card help, or a faster disk? A few replays each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from vramlab.analysis.intervals import Floats
from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import Inventory, VramConfig
from vramlab.experiments.case import Case
from vramlab.experiments.costs import as_if_served, unserved
from vramlab.experiments.replay import Replay, run

GIB = 2**30
EXTRA_GB = (1.0, 2.0, 4.0, 8.0, 16.0)
SPEEDS = (1.25, 1.5, 2.0, 4.0)


@dataclass(frozen=True, eq=False)
class PinCost:
    """A replay with pinned models beside one without.

    Parameters
    ----------
    models, priorities : DataFrame
        A row per model, or per priority: ``requests``, ``load_s`` (with the pin, less without) and
        ``delay_s`` (latency of all its requests, with the pin less without), seconds. Who was not served
        counts as the slowest cold start.
    without, pinned : dict
        Figures of both.
    """

    models: pd.DataFrame
    priorities: pd.DataFrame
    without: dict[str, Any]
    pinned: dict[str, Any]


def pin_cost(case: Case, pins: Sequence[str]) -> PinCost:
    """Replay a case with models pinned (loaded at the start, never evicted) and without.

    Parameters
    ----------
    case : Case
        What is replayed.
    pins : sequence of str
        Models.

    Raises
    ------
    InputError
        For a model that the inventory lacks, none, and pins that leave no room for another model.
    """
    if not pins:
        raise InputError("--model", "", "none", "at least one model")
    for name in pins:
        if name not in case.inventory:
            raise InputError(
                "--model", "", repr(name), f"a model of the inventory{nearest(name, case.inventory)}"
            )
    taken = sum(case.inventory[name].footprint_bytes for name in pins)
    largest = max(
        (case.inventory[n].footprint_bytes for n in case.trace.model_names if n not in pins), default=0
    )
    if taken + largest > case.config.budget_bytes:
        found = f"{taken / GIB:.1f} GB of pinned models"
        room = (case.config.budget_bytes - largest) / GIB
        raise InputError("--model", "", found, f"at most {room:.1f} GB, so that any other model still fits")
    rules = case.config.rules.model_copy(update={"pinned": tuple(pins)})
    # a server's settings are already in the configuration: its name would put its rules in the place of these
    config = case.config.model_copy(update={"rules": rules, "server": None})
    without, pinned = run(case), run(case.under(config))
    before, after = _by_model(case, without), _by_model(case, pinned)
    rows = after.add_suffix("_after").join(before.add_suffix("_before"), how="outer").fillna(0.0)
    models = pd.DataFrame(
        {
            "model": rows.index,
            "priority": [case.inventory[name].priority.value for name in rows.index],
            "pinned": [name in pins for name in rows.index],
            "requests": rows["requests_after"].astype(int).to_numpy(),
            "load_s": (rows["load_s_after"] - rows["load_s_before"]).to_numpy(),
            "delay_s": (rows["waited_s_after"] - rows["waited_s_before"]).to_numpy(),
        }
    )
    groups = models.assign(priority=np.where(models["pinned"], "pinned", models["priority"]))
    columns = ["requests", "load_s", "delay_s"]
    return PinCost(
        models, groups.groupby("priority")[columns].sum().reset_index(), without.figures, pinned.figures
    )


def _waited_s(case: Case, result: Replay) -> Floats:
    """Latency of each request, seconds; who was not served waited as objectives count it.

    With nothing for those, a pin or a card would seem to spare what it refuses.
    """
    latency_s = as_if_served(case, result.records).latency_s
    return np.where(np.isnan(latency_s), 0.0, latency_s)


def _by_model(case: Case, result: Replay) -> pd.DataFrame:
    """Requests, latency and load time of each model, seconds."""
    records = result.records
    names = np.array(records.model_names, dtype=object)[records.model_codes]
    table = pd.DataFrame({"model": names, "requests": 1, "waited_s": _waited_s(case, result)})
    found = table.groupby("model").sum()
    loads: dict[str, float] = {}
    for load in records.loads:
        loads[load.model] = loads.get(load.model, 0.0) + load.end_s - load.start_s
    return found.join(pd.Series(loads, name="load_s", dtype=float), how="left").fillna(0.0)


def hardware(
    case: Case,
    extra_gb: Sequence[float] = EXTRA_GB,
    speeds: Sequence[float] = SPEEDS,
    done: Callable[[], object] | None = None,
) -> pd.DataFrame:
    """Replay a case on larger cards, and with faster loads.

    Zones grow with the card, in proportion; a faster load takes less of ``load_time_ms``, and as long for its
    first run.

    Parameters
    ----------
    case : Case
        What is replayed.
    extra_gb : sequence of float
        GB on top of the card's.
    speeds : sequence of float
        Times as fast as now.
    done : callable, optional
        Called after each replay.

    Returns
    -------
    DataFrame
        One row per replay: ``change`` (``now``, ``memory``, ``loading``), ``memory_gb``, ``speed``,
        ``gb_per_s`` (of loading, by the inventory), ``load_cost_s``, ``latency_mean_s``, ``latency_p99_s``,
        ``unserved`` (requests that were refused or failed), ``saved_s`` (latency of all requests, less than
        now; who was not served counts as the slowest cold start) and ``saved_per_s``: per GB, or per GB/s.
    """
    for name, values, least in (("--extra-gb", extra_gb, 0.0), ("--speeds", speeds, 1.0)):
        for value in values:
            if not least < value < 1e6:
                raise InputError(name, "", value, f"numbers above {least:g}")
    loaded = [case.inventory[name] for name in case.trace.model_names]
    total_s = sum(spec.load_s for spec in loaded)
    rate = sum(spec.footprint_bytes for spec in loaded) / GIB / total_s if total_s else 0.0
    memory_gb = case.config.budget_bytes / GIB
    cases = [("now", 0.0, 1.0, case)]
    cases += [("memory", extra, 1.0, case.under(_larger(case.config, extra))) for extra in extra_gb]
    cases += [
        ("loading", 0.0, speed, replace(case, inventory=_faster(case.inventory, speed))) for speed in speeds
    ]
    rows: list[dict[str, Any]] = []
    now_s = 0.0
    for change, extra, speed, one in cases:
        result = run(one)
        waited_s = float(_waited_s(case, result).sum())
        now_s = waited_s if change == "now" else now_s
        by = extra if change == "memory" else rate * (speed - 1.0)
        figures = {key: result.figures[key] for key in ("load_cost_s", "latency_mean_s", "latency_p99_s")}
        rows.append(
            {
                "change": change,
                "memory_gb": memory_gb + extra,
                "speed": speed,
                "gb_per_s": rate * speed,
                "unserved": int(unserved(result.records).sum()),
                **figures,
            }
            | {"saved_s": now_s - waited_s, "saved_per_s": (now_s - waited_s) / by if by else np.nan}
        )
        if done is not None:
            done()
    return pd.DataFrame(rows)


def _larger(config: VramConfig, extra_gb: float) -> VramConfig:
    total_mb = config.total_memory_mb + 1024 * extra_gb
    factor = total_mb / config.total_memory_mb
    zones = {
        name: zone.model_copy(update={"size_mb": zone.size_mb * factor})
        for name, zone in config.zones.items()
    }
    return config.model_copy(update={"total_memory_mb": total_mb, "zones": zones})


def _faster(inventory: Inventory, speed: float) -> Inventory:
    return {
        name: spec.model_copy(update={"load_time_ms": spec.load_time_ms / speed})
        for name, spec in inventory.items()
    }
