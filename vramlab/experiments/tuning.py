"""Tuning: settings found on the first part of a trace, and judged on the rest.

What is best of a hundred trials (:mod:`vramlab.experiments.trials`) may be so by luck. So the trials do not
see the last quarter of the training part. The best few of them are compared on it. The one that does best
there is taken; if none does better there than the configuration that tuning began with, nothing is changed.
The part that judges is never replayed while settings are drawn or chosen: at the end the whole trace is, and
what comes after the boundary is counted (:mod:`vramlab.experiments.parts`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vramlab.analysis.figures import objectives as known_objectives
from vramlab.config.differences import flat_settings
from vramlab.config.errors import InputError, check_choice, check_package
from vramlab.config.loading import write_config
from vramlab.config.schema import ScoreWeights, VramConfig
from vramlab.experiments.case import Case, ConfigLike, Mode, ModelsLike, TraceLike, names_of, resolve_case
from vramlab.experiments.grids import override_texts, settled
from vramlab.experiments.optimum import costed, optimum_of
from vramlab.experiments.parts import boundary
from vramlab.experiments.replay import run
from vramlab.experiments.search_space import DEFAULT_OVER, POLICIES, default_space
from vramlab.experiments.trials import Search, Trials, make_trials, settings_of, sign
from vramlab.traces.trace import Trace

if TYPE_CHECKING:
    import optuna

# Share of the training part that chooses among the best trials, and how many of them.
_CHOOSING = 0.25
_FINALISTS = 5


@dataclass(frozen=True, eq=False)
class Tuning:
    """What tuning found.

    Parameters
    ----------
    best : dict
        Settings by dotted key, where they differ from the configuration that tuning began with.
    config : VramConfig
        The complete configuration.
    train, validation : dict
        Figures of both parts (keys of ``vramlab replay --json``), with ``gap_closed``, ``lru_cost_s``,
        ``optimum_cost_s`` and, of the configuration that tuning began with, ``before``: its objectives.
    front : list of dict
        With several objectives the trials that no other beats in all: ``settings`` and ``values``.
    trials : DataFrame
        One row per trial: ``number``, ``state``, the objectives and the settings.
    objectives : tuple of str
        What was tuned for.
    choice : DataFrame
        The finalists and how they did: ``number`` of the trial (0 is the configuration that tuning began
        with), the first objective on the part that the trials saw (``searched``) and on the part kept from
        them (``chosen_on``), and which was ``adopted``.
    """

    best: dict[str, Any]
    config: VramConfig
    train: dict[str, Any]
    validation: dict[str, Any]
    front: list[dict[str, Any]]
    trials: pd.DataFrame
    objectives: tuple[str, ...]
    choice: pd.DataFrame

    def document(self) -> dict[str, Any]:
        """Return the keys of ``vramlab tune --json``."""
        states = self.trials["state"].value_counts().to_dict()
        return {
            "best": self.best,
            "train": self.train,
            "validation": self.validation,
            "objectives": list(self.objectives),
            "choice": self.choice.to_dict("records"),
            "front": self.front,
            "trials": {str(state): int(number) for state, number in states.items()},
        }

    def comment(self, trace: Trace) -> str:
        """Return what stands on top of the configuration file: on what it was tuned, and what was gained."""
        train, rest = self.train, self.validation
        lines = [
            f"Tuned by vramlab {train['version']} for {', '.join(self.objectives)}, mode {train['mode']},",
            f"seed {train['seed']}, {len(self.trials)} trials.",
            f"Trace: {Path(trace.source).name} ({len(trace):,} requests, sha256 {trace.sha256[:16]}).",
            f"Tuned on its first {train['requests']:,} requests (before {rest['from_s']:g} s), judged on the",
            f"other {rest['requests']:,}, with the memory and the policy as they were by then.",
            self._adopted(),
            "",
        ]
        what = "load cost" if train["optimum_admission"] == "forced" else "cost of loads and CPU answers"
        for title, part in (("tuned on", train), ("judged on", rest)):
            gap = part["gap_closed"]
            share_ = "" if gap is None else f", gap to the offline optimum closed {gap:.3f}"
            lines.append(
                f"{title}: {what} {part['cost_s']:,.1f} s (before {part['before']['cost_s']:,.1f}, "
                f"lru {part['lru_cost_s']:,.1f}, optimum {part['optimum_cost_s']:,.1f}){share_}"
            )
            lines += [
                f"  {name}: {part[name]:.6g} (before {part['before'][name]:.6g})"
                for name in dict.fromkeys(("hit_rate", *self.objectives))
                if name != "cost_s" and part[name] is not None and part["before"][name] is not None
            ]
        lines += ["", "Settings that changed:", *(f"  {key}: {value}" for key, value in self.best.items())]
        return "\n".join(lines)

    def _adopted(self) -> str:
        trial = int(self.choice["number"][self.choice["adopted"]].iloc[0])
        if trial == 0:
            return (
                "No trial did better on the last quarter of that part, which no trial saw: nothing changed."
            )
        return f"Trial {trial} did best on the last quarter of that part, which no trial saw."


# Users call it by keyword, so its parameters stand one by one; `tuned` takes a case and a search.
def tune(
    trace: TraceLike,
    config: ConfigLike = None,
    models: ModelsLike = None,
    trials: int = 100,
    objectives: Sequence[str] = ("cost_s",),
    validate_from: str | float = 0.5,
    over: Iterable[str] = DEFAULT_OVER,
    policies: Iterable[str] = POLICIES,
    search: Iterable[str] = (),
    mode: Mode = "simulate",
    seed: int = 0,
    jobs: int = 1,
    storage: str | None = None,
    overrides: Sequence[str] = (),
    out: Path | str | None = None,
    done: Callable[[], object] | None = None,
) -> Tuning:
    """Search settings for a trace.

    Parameters
    ----------
    trace, config, models, mode, seed, overrides
        As for :func:`~vramlab.experiments.replay.replay`; `config` is the first trial, and what is not
        searched stays as it says.
    trials, objectives, validate_from, over, policies, search, jobs, storage
        See :class:`~vramlab.experiments.trials.Search`.
    out : Path or str, optional
        Configuration file to write.
    done : callable, optional
        Called after each trial.

    Raises
    ------
    InputError
        For bad input, a missing Optuna, and if no trial succeeded.
    """
    names = (tuple(names_of(given)) for given in (objectives, over, policies, search))
    wanted, groups, chosen, further = names
    case = resolve_case(trace, config, models, overrides, mode=mode, seed=seed)
    look = Search(trials, wanted, validate_from, groups, chosen, further, jobs, storage)
    result = tuned(case, look, done)
    if out is not None:
        write_config(result.config, out, result.comment(case.trace))
    return result


def tuned(case: Case, search: Search, done: Callable[[], object] | None = None) -> Tuning:
    """Search settings for a case, whose configuration is the first trial.

    Raises
    ------
    InputError
        As :func:`tune`.
    """
    check_package("tune", "optuna", "vramlab[tune]")
    for name in search.objectives:
        check_choice("--objective", "", name, list(known_objectives()))
    if search.trials < 1 or not search.objectives:
        raise InputError("--trials", "", search.trials, "at least 1, for at least one objective")
    first = boundary(case.trace, search.validate_from)
    train = replace(case, trace=case.trace.head(first))
    try:
        kept_from = boundary(train.trace, 1 - _CHOOSING)
    except InputError:  # of a fraction that nobody gave
        found = f"{len(train.trace)} requests before the boundary (--validate-from)"
        expected = "more: a quarter of them is kept from the trials"
        raise InputError(case.trace.source, "", found, expected) from None
    space = default_space(case.config, case.inventory, search.over, search.policies, search.search)
    trials = make_trials(replace(case, trace=train.trace.head(kept_from)), space, search, done)
    best, choice = _choose(train, trials, kept_from)
    chosen = settled(case.config, case.inventory, settings_of(best), "trial")
    before = flat_settings(case.config)
    best_settings = {key: new for key, new in flat_settings(chosen).items() if new != before.get(key)}
    searched, validated = _judged(train, chosen, 0), _judged(case, chosen, first)
    return Tuning(
        best_settings, chosen, searched, validated, trials.front(), trials.frame(),
        search.objectives, choice,
    )  # fmt: skip


def _choose(train: Case, trials: Trials, kept_from: int) -> tuple[optuna.trial.FrozenTrial, pd.DataFrame]:
    """Compare the best trials, and what there was, on the part that they have not seen."""
    objective = trials.objectives[0]
    less = sign(objective)
    first = [trial for trial in trials.finished if trial.number == 0]
    others = [trial for trial in trials.in_order() if trial.number]
    if first:
        others = [trial for trial in others if less * trial.values[0] < less * first[0].values[0]]
    others = list({tuple(trial.values): trial for trial in reversed(others)}.values())[::-1]  # the like once
    finalists = [*first, *others[:_FINALISTS]]
    found = []
    for trial in finalists:
        config = settled(train.config, train.inventory, settings_of(trial), "trial")
        case = replace(train, config=config)
        value = costed(case, run(case), kept_from)[objective]
        found.append(math.inf if value is None else less * value)
    place = found.index(min(found))  # the first of those that are equal: what there was, if it is among them
    rows = [
        {
            "number": trial.number,
            "searched": trial.values[0],
            "chosen_on": less * value,
            "adopted": index == place,
        }
        for index, (trial, value) in enumerate(zip(finalists, found, strict=True))
    ]
    return finalists[place], pd.DataFrame(rows)


def _judged(case: Case, chosen: VramConfig, first: int) -> dict[str, Any]:
    """Return the figures of the part from request `first` on, of a replay of the whole."""
    optimum = optimum_of(case, first)
    lru = case.changed(override_texts([("scoring.policy", "lru"), *_NO_WEIGHTS]))
    found, before, worst = (
        costed(case, run(one), first) for one in (replace(case, config=chosen), case, lru)
    )
    return found | {
        "gap_closed": optimum.gap_closed(found["cost_s"], worst["cost_s"]),
        "lru_cost_s": worst["cost_s"],
        "optimum_cost_s": optimum.bound.load_cost_s,
        "optimum_admission": optimum.bound.admission,
        "from_s": float(case.trace.times_s[first]),
        "before": {name: before[name] for name in known_objectives()},
    }


_NO_WEIGHTS = [(f"scoring.weights.{name}", None) for name in ScoreWeights.model_fields]
