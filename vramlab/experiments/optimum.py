"""Which offline optimum a configuration is to be held against, and how far a run is from it.

Where every miss must load (no CPU answers, admission ``always``), admission is forced in the bound too. What
is compared is the load cost. Where a miss may load nothing, a policy could undercut that bound. So the
optimum need not load either; and where the CPU answers instead, its extra seconds count beside the loads, for
the runs as for the optimum: else to load nothing at all would be best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vramlab.allocator import Allocator
from vramlab.analysis.bounds import Bound, cpu_extra_cost_s, offline_bound
from vramlab.analysis.intervals import AdmissionRule, Floats
from vramlab.analysis.metrics import metrics
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.case import Case
from vramlab.experiments.replay import Replay

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
    """

    bound: Bound
    cpu_extra_s: Floats | None

    def gap_closed(self, cost_s: float, worst_s: float) -> float | None:
        """Return (LRU's cost - this one's) / (LRU's - the optimum's); None where LRU is at the optimum."""
        gap_s = worst_s - self.bound.load_cost_s
        return (worst_s - cost_s) / gap_s if gap_s > _AT_THE_OPTIMUM * worst_s else None

    @property
    def counts(self) -> str:
        """What the cost is made of, in words."""
        return "load_cost_s" if self.cpu_extra_s is None else "load_cost_s and extra seconds of the CPU"


def counted(case: Case, result: Replay, first: int) -> dict[str, Any]:
    """Return the figures of a run's requests from number `first` on."""
    if not first:
        return result.figures
    return result.figures | metrics(result.records.from_request(first), case.config, case.inventory)


def costed(case: Case, result: Replay, first: int = 0) -> dict[str, Any]:
    """Return the figures of a run's requests from number `first` on, with ``cost_s``.

    ``cost_s`` is the load cost, and where the CPU may answer the extra seconds of what it answered.

    Parameters
    ----------
    case : Case
        Whose trace the run replayed, and whose configuration says whether the CPU may answer.
    """
    figures, records = counted(case, result, first), result.records.from_request(first)
    cost_s, extra_s = figures["load_cost_s"], cpu_extra_of(case)
    if extra_s is not None:
        answered_s = extra_s[-len(records) :][records.outcomes == Outcome.FALLBACK]
        cost_s += float(answered_s[np.isfinite(answered_s)].sum())
    return figures | {"cost_s": cost_s}


def cpu_extra_of(case: Case) -> Floats | None:
    """Return the extra seconds of the CPU per request, or None where it never answers."""
    if not admission_of(case.config, case.inventory)[1]:
        return None
    return cpu_extra_cost_s(case.trace, case.inventory, case.config.fallback.cpu_performance_ratio)


def admission_of(config: VramConfig, inventory: Inventory) -> tuple[AdmissionRule, bool]:
    """Return the rule of the bound for a configuration, and whether the CPU may answer."""
    cpu = config.fallback.cpu_fallback_enabled and any(spec.may_run_on_cpu for spec in inventory.values())
    priorities = {spec.priority for spec in inventory.values()}
    rules = {config.admission_for(priority) for priority in priorities}
    forced = not cpu and "compete" not in rules  # without a CPU `free_only` admits as `always` does
    return ("forced" if forced else "bypass"), cpu


def optimum_of(case: Case, counted_from: int = 0) -> Optimum:
    """Bound the cost of a case from below under its configuration's memory.

    Zones are not seen: all memory is one pool, which can only lower the bound. What is always loaded keeps
    its place and costs nothing.

    Parameters
    ----------
    counted_from : int
        Count the cost of the requests from this one on, with anything in memory by then.
    """
    config, inventory = case.config, case.inventory
    fixed = Allocator(config, inventory).always_loaded()
    room, inventory = config.room_bytes(inventory), config.held(inventory)
    caps = sum(zone.size_bytes for zone in config.zones.values())
    capacity = min(room, caps) - sum(inventory[name].footprint_bytes for name in fixed)
    costless = {name: inventory[name].model_copy(update=_COSTLESS) for name in fixed}
    admission, _ = admission_of(config, inventory)
    extra = cpu_extra_of(case)
    bound = offline_bound(
        case.trace, inventory | costless, capacity, admission, extra, counted_from=counted_from
    )
    return Optimum(bound, extra)
