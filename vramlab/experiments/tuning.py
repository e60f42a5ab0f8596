"""Tuning: settings found on the first part of a trace, and judged on the rest.

What is best of a hundred trials (:mod:`vramlab.experiments.trials`) may be so by luck. So the trials do not
see the last quarter of the training part. The best few of them are compared on it. The one that does best
there is taken; if none does better there than the configuration that tuning began with, nothing is changed.
The part that judges is never replayed while settings are drawn or chosen: at the end the whole trace is, and
what comes after the boundary is counted (:mod:`vramlab.experiments.parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vramlab.analysis.figures import objectives as known_objectives
from vramlab.config.differences import flat_settings
from vramlab.config.errors import InputError, check_choice, check_package
from vramlab.config.loading import write_config
from vramlab.config.schema import VramConfig
from vramlab.experiments.case import Case, ConfigLike, Mode, ModelsLike, TraceLike, names_of, resolve_case
from vramlab.experiments.doubts import doubts
from vramlab.experiments.grids import settled
from vramlab.experiments.judging import chosen_of, judged_text, part_lines, part_of
from vramlab.experiments.parts import boundary
from vramlab.experiments.requirements import requirements_of
from vramlab.experiments.search_space import DEFAULT_OVER, POLICIES, default_space
from vramlab.experiments.trials import Search, make_trials, settings_of
from vramlab.traces.trace import Trace

if TYPE_CHECKING:
    import optuna

# Share of the training part that chooses among the best trials.
_CHOOSING = 0.25
# Fewer trials than that have no importances.
_FEW_TRIALS = 20


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
        Figures of both parts (keys of ``vramlab replay --json``), with what
        :func:`~vramlab.experiments.judging.part_of` adds: ``gap_closed``, ``before``, ``baselines``, by how
        much the adopted setting costs more than these with intervals, and what of the requirements is missed.
    front : list of dict
        With several objectives the trials that no other beats in all: ``settings`` and ``values``.
    trials : DataFrame
        One row per trial: ``number``, ``state``, the objectives, whether ``feasible``, and the settings.
    objectives : tuple of str
        What was tuned for.
    choice : DataFrame
        The finalists and how they did: ``number`` of the trial (0 is the configuration that tuning began
        with), the first objective on the part that the trials saw (``searched``) and on the part kept from
        them (``chosen_on``), which was ``adopted``, and with requirements how many it ``missed`` there.
    doubts : list of str
        What to look at before the adopted setting is believed (:mod:`vramlab.experiments.doubts`).
    study : optuna.Study or None
        All trials as Optuna has them, for its plots and importances.
    """

    best: dict[str, Any]
    config: VramConfig
    train: dict[str, Any]
    validation: dict[str, Any]
    front: list[dict[str, Any]]
    trials: pd.DataFrame
    objectives: tuple[str, ...]
    choice: pd.DataFrame
    doubts: list[str] = field(default_factory=list)
    study: optuna.Study | None = None

    def __repr__(self) -> str:
        return (
            f"Tuning({len(self.trials):,} trials for {', '.join(self.objectives)}, {len(self.best)} settings)"
        )

    def _repr_html_(self) -> str:
        return str(self.choice.to_html(index=False))

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
            "remarks": self.remarks(),
        }

    def importances(self) -> dict[str, float]:
        """Return how much each setting mattered for the first objective; the largest first, they sum to 1.

        By the variance of the best tenth of the trials along each setting (PED-ANOVA: S. Watanabe, A. Bansal,
        F. Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance", IJCAI 2023). Empty where
        there are too few trials.
        """
        import optuna

        if self.study is None or (self.trials["state"] == "complete").sum() < _FEW_TRIALS:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        target = (lambda trial: trial.values[0]) if len(self.objectives) > 1 else None
        try:
            return dict(
                optuna.importance.get_param_importances(self.study, evaluator=evaluator, target=target)
            )
        except (ValueError, RuntimeError):  # no setting that all trials share
            return {}

    def remarks(self) -> list[str]:
        """Return what to know beside the figures: what baselines say, what is missed, what may be luck."""
        return [*self.doubts, *judged_text(self.validation), self._adopted()]

    def comment(self, trace: Trace) -> str:
        """Say what stands on top of the configuration file: on what it was tuned, and what was gained."""
        train, rest = self.train, self.validation
        lines = [
            f"Tuned by vramlab {train['version']} for {', '.join(self.objectives)}, mode {train['mode']},",
            f"seed {train['seed']}, {len(self.trials)} trials.",
            f"Trace: {Path(trace.source).name} ({len(trace):,} requests, sha256 {trace.sha256[:16]}).",
            f"Tuned on its first {train['requests']:,} requests (before {rest['from_s']:g} s), judged on the",
            f"other {rest['requests']:,}, with the memory and the policy as they were by then.",
            *self.remarks(),
            "",
        ]
        for title, part in (("tuned on", train), ("judged on", rest)):
            lines += part_lines(title, part, self.objectives)
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
    require: Iterable[str] = (),
) -> Tuning:
    """Search settings for a trace.

    Parameters
    ----------
    trace, config, models, mode, seed, overrides
        As for :func:`~vramlab.experiments.replay.replay`; `config` is the first trial, and what is not
        searched stays as it says.
    trials, objectives, validate_from, over, policies, search, jobs, storage, require
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
    look = Search(
        trials, wanted, validate_from, groups, chosen, further, jobs, storage, tuple(names_of(require))
    )
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
    requirements_of(search.require, case.config)
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
    best, choice = chosen_of(train, trials, kept_from, requirements_of(search.require, case.config))
    chosen = settled(case.config, case.inventory, settings_of(best), "trial")
    before = flat_settings(case.config)
    best_settings = {key: new for key, new in flat_settings(chosen).items() if new != before.get(key)}
    require = requirements_of(search.require, case.config)
    searched, validated = (part_of(one, chosen, at, require) for one, at in ((train, 0), (case, first)))
    return Tuning(
        best_settings, chosen, searched, validated, trials.front(), trials.frame(),
        search.objectives, choice, doubts(replace(case, config=chosen)), trials.study,
    )  # fmt: skip
