"""What a run costs, request by request: loads, extra seconds of the CPU, and what was not served.

Without a price on requests that were refused or failed, a setting that refuses them looks good in every
figure: fewer loads, fewer evictions, shorter latencies. So each of them has a price
(``study.unserved_price``), and whatever judges a run (:mod:`vramlab.experiments.optimum`, tuning, sweeps)
takes it from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from vramlab.analysis.bounds import cpu_extra_per_item_s
from vramlab.analysis.intervals import Floats, specs_of
from vramlab.analysis.metrics import metrics
from vramlab.analysis.statistics import request_series
from vramlab.config.fingerprints import fingerprint
from vramlab.config.schema import Inventory, VramConfig, of_each
from vramlab.engine.outcomes import EvictionRecord, LoadRecord, Outcome
from vramlab.experiments.case import Case
from vramlab.runs.records import Records
from vramlab.traces.trace import Trace

_UNSERVED = (Outcome.REFUSED, Outcome.FAILED)


def unserved(records: Records) -> npt.NDArray[np.bool_]:
    """Flag the requests that were refused or failed; shape (requests,)."""
    return np.isin(records.outcomes, _UNSERVED)


def prices_s(case: Case) -> Floats:
    """Return what each request of a case costs if it is not served, seconds; shape (requests,).

    Infinite where ``study.unserved_price`` is ``infeasible``.
    """
    price = case.config.study.unserved_price
    if price == "infeasible":
        return np.full(len(case.trace), np.inf)
    if not isinstance(price, str):
        return np.full(len(case.trace), float(price))
    load_s, run_s = _per_model(case, "times", _times_s)
    codes = case.trace.model_codes
    return np.asarray(load_s[codes] + run_s[codes] * case.trace.items, dtype=np.float64)


def _times_s(case: Case) -> Floats:
    specs = specs_of(case.trace, case.inventory)
    return np.array(of_each(specs, lambda spec: (spec.load_s, spec.inference_s))).T


def cpu_answers(config: VramConfig, inventory: Inventory) -> bool:
    """Whether the CPU may answer under a configuration."""
    return config.fallback.cpu_fallback_enabled and any(spec.may_run_on_cpu for spec in inventory.values())


def cpu_extra_of(case: Case) -> Floats | None:
    """Return the extra seconds of the CPU per request, or None where it never answers."""
    if not cpu_answers(case.config, case.inventory):
        return None
    ratio = case.config.fallback.cpu_performance_ratio
    per_item = _per_model(
        case, "extra", lambda case: cpu_extra_per_item_s(case.trace, case.inventory, ratio), ratio
    )
    return np.asarray(per_item[case.trace.model_codes] * case.trace.items)


def _per_model(case: Case, what: str, make: Callable[[Case], Floats], ratio: float = 0.0) -> Floats:
    """Return figures of the models, made once for all runs of a trace: there may be 50,000 models."""
    known = _PER_MODEL.setdefault(case.trace, {})
    of = fingerprint(case.inventory), ratio  # a caller may change an inventory in its place
    if what not in known or known[what][0] != of:
        known[what] = of, make(case)
    return known[what][1]


_PER_MODEL: WeakKeyDictionary[Trace, dict[str, tuple[tuple[str, float], Floats]]] = WeakKeyDictionary()


def extras_s(case: Case, records: Records) -> tuple[Floats, Floats]:
    """Return what requests cost beside loads: extra seconds of the CPU, and prices of the unserved.

    Parameters
    ----------
    records : Records
        Of a run of the case, or of the later part of it.

    Returns
    -------
    ndarray, ndarray, shape (requests,)
        Seconds, zero where nothing of the kind happened.
    """
    count = len(records)
    cpu_s, price_s, extra_s = np.zeros(count), np.zeros(count), cpu_extra_of(case)
    if extra_s is not None:
        answered = (records.outcomes == Outcome.FALLBACK) & np.isfinite(extra_s[-count:])
        cpu_s[answered] = extra_s[-count:][answered]
    lost = unserved(records)
    if lost.any():
        price_s[lost] = prices_s(case)[-count:][lost]
    return cpu_s, price_s


def cost_series(case: Case, records: Records) -> Floats:
    """Return the whole cost request by request, seconds; a load counts where it began.

    Its sum is ``cost_s`` of :func:`~vramlab.experiments.optimum.costed`. Shape (requests,).
    """
    stated = case.inventory if case.mode == "decide" else None
    cpu_s, price_s = extras_s(case, records)
    return request_series(records, "load_cost_s", stated) + cpu_s + price_s


def as_if_served(case: Case, records: Records) -> Records:
    """Return the records as objectives read them: who was not served counts as the slowest cold start.

    Such a request took the longest time that any request took and its price on top, needed a load of the
    duration of its price, and an eviction for it. So no objective gets better by refusing.
    """
    lost = np.flatnonzero(unserved(records))
    if not lost.size:
        return records
    price_s = prices_s(case)[-len(records) :]
    outcomes, finish_s = records.outcomes.copy(), records.finish_s.copy()
    longest_s = float(np.nanmax(records.latency_s, initial=0.0))
    outcomes[lost] = Outcome.COLD_START
    finish_s[lost] = records.arrival_s[lost] + longest_s + price_s[lost]
    loads, evictions = list(records.loads), list(records.evictions)
    for number in lost.tolist():
        model = records.model_names[records.model_codes[number]]
        size, at_s = case.inventory[model].footprint_bytes, float(records.arrival_s[number])
        if price_s[number] > 0:
            loads.append(LoadRecord(at_s, at_s + float(price_s[number]), model, "", size))
        evictions.append(EvictionRecord(at_s, model, "", size))
    return Records(  # not `replace`: those of decide mode make their rows only when asked
        records.model_names, records.model_codes, records.arrival_s, outcomes, finish_s, records.zone_names,
        loads, evictions, list(records.usage), [], records.faults, list(records.preloads), records.binding,
    )  # fmt: skip


def objectives_of(case: Case, records: Records, figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a run as objectives read them (:func:`as_if_served`).

    What says how many were not served stays as it is.

    Parameters
    ----------
    figures : dict
        Of the records, as of :func:`~vramlab.experiments.optimum.costed`.
    """
    if not figures["unserved"]:
        return figures
    served = metrics(as_if_served(case, records), case.config, case.inventory)
    stays = ("refused", "failed", "lost", "losses")
    return figures | {key: value for key, value in served.items() if key not in stays}
