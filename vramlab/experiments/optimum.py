"""Which offline optimum a configuration is to be held against, and how far a run is from it.

Where every miss must load (no CPU answers, admission ``always``), it is the one with forced admission, and
what is compared is the load cost. Where a miss may load nothing, a policy could undercut that bound, so the
optimum may pass a model by too; and where the CPU answers instead, its extra seconds count beside the loads,
for the runs as for the optimum: else to load nothing at all would be best. The same holds for requests that
were not served, whose prices count (:mod:`vramlab.experiments.costs`): where a run has any, the optimum may
pass by too, at that price.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vramlab.allocator.accounts import loaded_at_start
from vramlab.analysis.bounds import Bound, offline_bound
from vramlab.analysis.intervals import AdmissionRule, Floats
from vramlab.analysis.metrics import metrics
from vramlab.config.schema import Inventory, VramConfig
from vramlab.experiments.case import Case
from vramlab.experiments.costs import cpu_answers, cpu_extra_of, extras_s, objectives_of, prices_s, unserved
from vramlab.experiments.replay import Replay
from vramlab.experiments.requesters import requester_figures

# What is always loaded has its place set apart; in what remains it takes next to nothing and costs nothing.
_COSTLESS = {"load_time_ms": 0.0, "vram_size_mb": 1e-6, "workspace_mb": 0.0}

# A gap of less than this share of the cost is rounding, of sums and of the solver: shares of it mean nothing.
_AT_THE_OPTIMUM = 1e-6


@dataclass(frozen=True, eq=False)
class Optimum:
    """The bound, and what counts as cost beside it.

    Parameters
    ----------
    bound : Bound
        Least cost of any schedule.
    cpu_extra_s : ndarray, shape (requests,), or None
        Extra seconds of an answer from the CPU per request, where the CPU may answer.
    unserved : bool
        Whether prices of requests that were not served count.
    """

    bound: Bound
    cpu_extra_s: Floats | None
    unserved: bool = False

    def gap_closed(self, cost_s: float, worst_s: float) -> float | None:
        """Return (LRU's cost - this one's) / (LRU's - the optimum's); None where LRU is at the optimum."""
        gap_s = worst_s - self.bound.load_cost_s
        return (worst_s - cost_s) / gap_s if gap_s > _AT_THE_OPTIMUM * worst_s else None

    def gap(self, row: Mapping[str, Any], worst_s: float) -> dict[str, Any]:
        """Return ``gap_closed`` of a run, and as ``gap_reason`` why there is none.

        Parameters
        ----------
        row : mapping
            Figures of the run, as of :func:`costed`.
        worst_s : float
            Cost of LRU in one pool.

        Raises
        ------
        RuntimeError
            If the run cost less than the bound and nothing explains it: then the bound, or the run, is wrong.
        """
        cost_s, least_s = row["cost_s"], self.bound.load_cost_s
        if not math.isfinite(cost_s):
            return _none(f"{row['unserved']:,} requests were not served, which is infeasible")
        if row["unserved"] and not self.unserved:
            return _none(f"{row['unserved']:,} requests were not served, and the optimum serves all")
        if not math.isfinite(worst_s):
            return _none("one pool with lru did not serve all, which is infeasible")
        if cost_s < least_s * (1 - _AT_THE_OPTIMUM):
            why = why_below(row)
            if not why:
                raise RuntimeError(
                    f"a run of {row['policy']} cost {cost_s:,.3f} s, less than the {least_s:,.3f} s that are "
                    "a lower bound on it: please report this, with the trace"
                )
            return _none(f"costs less than the optimum in the order of coming: {why}")
        closed = self.gap_closed(cost_s, worst_s)
        return _none("one pool with lru is at the optimum already") if closed is None else _closed(closed)

    @property
    def counts(self) -> str:
        """What the cost is made of, in words."""
        parts = ["load_cost_s"]
        parts += ["extra seconds of the CPU"] if self.cpu_extra_s is not None else []
        parts += ["prices of what was not served"] if self.unserved else []
        return ", ".join([*parts[:-2], " and ".join(parts[-2:])])


def _none(reason: str) -> dict[str, Any]:
    return {"gap_closed": None, "gap_reason": reason}


def _closed(gap: float) -> dict[str, Any]:
    return {"gap_closed": gap, "gap_reason": ""}


def why_below(row: Mapping[str, Any]) -> str:
    """Say what lets a run cost less than the optimum; empty where nothing does."""
    causes = {
        "requests were served in another order": row["mode"] == "simulate",
        f"the result cache answered {row['cache_hits']:,}": row["cache_hits"],
        f"{row['cancelled']:,} were cancelled": row["cancelled"],
        "a fault plan changed the loads": row["faults"],
    }
    return ", ".join(cause for cause, holds in causes.items() if holds)


def counted(case: Case, result: Replay, first: int) -> dict[str, Any]:
    """Return the figures of a run's requests from number `first` on."""
    if not first:
        return result.figures
    return result.figures | metrics(result.records.from_request(first), case.config, case.inventory)


def costed(case: Case, result: Replay, first: int = 0) -> dict[str, Any]:
    """Return the figures of a run's requests from number `first` on, with ``cost_s``.

    ``cost_s`` is the load cost, where the CPU may answer the extra seconds of what it answered, and the
    price of each request that was refused or failed; ``unserved`` counts those, ``unserved_cost_s`` is their
    price.

    Parameters
    ----------
    case : Case
        Whose trace the run replayed, and whose configuration says whether the CPU may answer.
    """
    figures, records = counted(case, result, first), result.records.from_request(first)
    cpu_s, price_s = (float(extra.sum()) for extra in extras_s(case, records))
    figures = figures | {
        "unserved": int(unserved(records).sum()),
        "unserved_cost_s": price_s,
        "cost_s": figures["load_cost_s"] + cpu_s + price_s,
    }
    return figures | requester_figures(case, records)


def judged(case: Case, result: Replay, first: int = 0) -> dict[str, Any]:
    """Return the figures of :func:`costed` as objectives read them: what was not served counts in each."""
    figures = costed(case, result, first)
    return objectives_of(case, result.records.from_request(first), figures)


def admission_of(config: VramConfig, inventory: Inventory) -> tuple[AdmissionRule, bool]:
    """Rule of the bound for a configuration, and whether the CPU may answer."""
    cpu = cpu_answers(config, inventory)
    priorities = {spec.priority for spec in inventory.values()}
    rules = {config.admission_for(priority) for priority in priorities}
    forced = not cpu and "compete" not in rules  # without a CPU `free_only` admits as `always` does
    return ("forced" if forced else "bypass"), cpu


def optimum_of(case: Case, counted_from: int = 0, unserved: bool = False) -> Optimum:
    """Bound the cost of a case from below under its configuration's memory.

    Zones are not seen: all that the card has for models is one pool, which can only lower the bound. What is
    always loaded keeps its place and costs nothing.

    Parameters
    ----------
    counted_from : int
        Count the cost of the requests from this one on, with anything in memory by then.
    unserved : bool
        Whether a run that is held against it left requests unserved: then it may do so at their price.
    """
    config, inventory = case.config, case.inventory
    fixed = loaded_at_start(config, inventory)
    room, inventory = config.room_bytes(inventory), config.held(inventory)
    capacity = room - sum(inventory[name].footprint_bytes for name in fixed)
    costless = {name: inventory[name].model_copy(update=_COSTLESS) for name in fixed}
    admission, _ = admission_of(config, inventory)
    extra = cpu_extra_of(case)
    skip, priced = extra, unserved and config.study.unserved_price != "infeasible"
    if priced:
        admission, skip = "bypass", np.minimum(prices_s(case), np.inf if extra is None else extra)
    bound = offline_bound(
        case.trace, inventory | costless, capacity, admission, skip, counted_from=counted_from
    )
    return Optimum(bound, extra, priced)
