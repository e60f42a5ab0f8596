"""How tuning chooses among its best trials, and judges what it has chosen.

The adopted setting is held against what tuning began with and against baselines that stand outside, on
requests that neither the search nor the choice has seen: so its interval needs no correction for the number
of trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from vramlab.analysis.figures import FIGURES, objectives
from vramlab.config.schema import VramConfig
from vramlab.experiments.baselines import LRU, baselines_of
from vramlab.experiments.case import Case
from vramlab.experiments.grids import settled
from vramlab.experiments.intervals import Counted, cost_share
from vramlab.experiments.optimum import costed, judged, optimum_of
from vramlab.experiments.remarks import share_text
from vramlab.experiments.replay import Replay, run
from vramlab.experiments.requirements import Requirement
from vramlab.experiments.trials import Trials, settings_of, sign

if TYPE_CHECKING:
    import optuna

_FINALISTS = 5


def chosen_of(
    train: Case, trials: Trials, kept_from: int, require: Sequence[Requirement]
) -> tuple[optuna.trial.FrozenTrial, pd.DataFrame]:
    """Compare the best trials, and what there was, on the part that they have not seen.

    Parameters
    ----------
    train : Case
        Of the training part.
    kept_from : int
        Its first request that no trial saw.
    require : sequence of Requirement
        A setting that misses one there is taken only if all do.

    Returns
    -------
    FrozenTrial, DataFrame
        The trial, and ``choice`` of :class:`~vramlab.experiments.tuning.Tuning`.
    """
    objective = trials.objectives[0]
    less = sign(objective)
    first = [trial for trial in trials.every if trial.number == 0 and trial.state.name == "COMPLETE"]
    others = [trial for trial in trials.in_order() if trial.number]
    if first and first[0] in trials.finished:
        others = [trial for trial in others if less * trial.values[0] < less * first[0].values[0]]
    others = list({tuple(trial.values): trial for trial in reversed(others)}.values())[::-1]  # the like once
    finalists = [*first, *others[:_FINALISTS]]
    found = []
    for trial in finalists:
        config = settled(train.config, train.inventory, settings_of(trial), "trial")
        case = replace(train, config=config)
        figures = judged(case, run(case), kept_from)
        value = figures[objective]
        missed = sum(one.excess(figures) > 0 for one in require)
        found.append((missed, math.inf if value is None else less * value))
    place = found.index(min(found))  # the first of those that are equal: what there was, if it is among them
    rows = [
        {
            "number": trial.number,
            "searched": trial.values[0],
            "chosen_on": less * value,
            **({"missed": missed} if require else {}),
            "adopted": index == place,
        }
        for index, (trial, (missed, value)) in enumerate(zip(finalists, found, strict=True))
    ]
    return finalists[place], pd.DataFrame(rows)


def part_of(
    case: Case, chosen: VramConfig, first: int, require: Sequence[Requirement] = ()
) -> dict[str, Any]:
    """Return the figures of the part from request `first` on, of a replay of the whole.

    Returns
    -------
    dict
        Figures as of :func:`~vramlab.experiments.optimum.costed`, with ``gap_closed`` and ``gap_reason``,
        ``lru_cost_s`` (one pool), ``optimum_cost_s``, ``optimum_admission``, ``from_s``, ``before``
        (objectives of the configuration that tuning began with), ``versus_before`` and, in ``baselines``, the
        same against each: ``share`` with ``low`` and ``high``, by which the chosen setting costs more; and
        ``missed``: requirements that it does not keep to.
    """
    mine = replace(case, config=chosen)
    chosen_run, before_run = run(mine), run(case)
    found, before = costed(mine, chosen_run, first), costed(case, before_run, first)
    outside = [one for one in baselines_of(mine) if one.case is not None]
    made = {one.name: (one.case, run(one.case)) for one in outside if one.case is not None}
    lru = costed(*made[LRU], first) if LRU in made else before
    optimum = optimum_of(case, first, any(row["unserved"] for row in (found, before, lru)))
    reference = _counted(mine, chosen_run, first)
    judged_before = judged(case, before_run, first)
    return found | optimum.gap(found, lru["cost_s"]) | {
        "lru_cost_s": lru["cost_s"],
        "optimum_cost_s": optimum.bound.load_cost_s,
        "optimum_admission": optimum.bound.admission,
        "counts": optimum.counts,
        "from_s": float(case.trace.times_s[first]),
        "before": {name: judged_before[name] for name in objectives()},
        "versus_before": cost_share(reference, _counted(case, before_run, first), case.seed),
        "baselines": [
            {"baseline": name, "cost_s": costed(*one, first)["cost_s"]}
            | cost_share(reference, _counted(*one, first), case.seed)
            for name, one in made.items()
        ],
        "missed": [str(one) for one in require if one.excess(found) > 0],
    }  # fmt: skip


def _counted(case: Case, result: Replay, first: int) -> Counted:
    return Counted(case, result.records.from_request(first))


def judged_text(part: Mapping[str, Any]) -> list[str]:
    """Say what the part that judges says: against what there was, and against what stands outside."""
    lines = [f"NOT KEPT: {limit}, on the part that judges" for limit in part["missed"]]
    before = part["versus_before"]
    tie = not math.isnan(before["share"]) and before["low"] <= 0 <= before["high"]
    luck = ": a tie, it may have won by chance" if tie and before["share"] else ""
    lines.append(f"Judged against what there was, it costs {share_text(before)}{luck}.")
    for one in part["baselines"]:
        if one["low"] > 0:
            lines.append(
                f"{one['baseline']} is better: the tuned setting costs {share_text(one)} against it."
            )
    if part["gap_reason"]:
        lines.append(f"No gap closed: {part['gap_reason']}.")
    return lines


def part_lines(title: str, part: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Return the lines on one part for the top of a configuration file."""
    what = "load cost" if part["counts"] == "load_cost_s" else f"cost ({part['counts']})"
    gap = FIGURES["gap_closed"]
    share = "" if part["gap_closed"] is None else f", {gap.label} {gap.text(part['gap_closed'])}"
    lines = [
        f"{title}: {what} {part['cost_s']:,.1f} s (before {part['before']['cost_s']:,.1f}, "
        f"one pool with lru {part['lru_cost_s']:,.1f}, optimum {part['optimum_cost_s']:,.1f}){share}"
    ]
    lines += [f"  against before {share_text(part['versus_before'])}"]
    lines += [f"  against {one['baseline']} {share_text(one)}" for one in part["baselines"]]
    return lines + [
        f"  {name}: {part[name]:.6g} (before {part['before'][name]:.6g})"
        for name in dict.fromkeys(("hit_rate", "refused", "failed", *wanted))
        if name != "cost_s" and part[name] is not None and part["before"][name] is not None
    ]
