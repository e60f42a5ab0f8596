"""The trials of tuning: drawn by Optuna, replayed in whatever process, kept where calls share them.

Trials are drawn by the tree-structured Parzen estimator (J. Bergstra et al., "Algorithms for hyper-parameter
optimization", NIPS 2011). With one objective, a trial replays prefixes of the trace first. It ends early if
it does worse than the median of earlier trials.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vramlab.allocator.policies.own import PolicyError
from vramlab.analysis.figures import objectives
from vramlab.config.errors import InputError
from vramlab.config.fingerprints import fingerprint
from vramlab.experiments.case import Case
from vramlab.experiments.executors import execute
from vramlab.experiments.grids import settled
from vramlab.experiments.optimum import judged
from vramlab.experiments.provenance import code_sha256
from vramlab.experiments.replay import run
from vramlab.experiments.requirements import Requirement, requirements_of
from vramlab.experiments.search_space import DEFAULT_OVER, POLICIES, SearchSpace
from vramlab.experiments.shared_traces import SharedCase, share_case

if TYPE_CHECKING:
    import optuna

# Parts of the trace that are replayed before all of it, to end hopeless trials early.
_PREFIXES = (0.15, 0.4)
# Trials that are drawn at random before the estimator has anything to say.
_AT_RANDOM = 12
_INFEASIBLE = 1e18  # in place of infinity, of which an estimator makes nothing
_SETTINGS, _EXCESS = "settings", "excess"


@dataclass(frozen=True)
class Search:
    """What tuning looks for, among what, and how long.

    Parameters
    ----------
    trials : int
        How many to make, beyond those that `storage` has.
    objectives : tuple of str
        Figures, of :func:`~vramlab.analysis.figures.objectives`. With several the best is the one on their
        front that is best in the first. What was not served counts in each
        (:func:`~vramlab.experiments.costs.objectives_of`).
    require : tuple of str
        What a setting has to keep to, as in ``latency_p99_s<=2`` (:mod:`vramlab.experiments.requirements`).
    validate_from : str or float
        Fraction of the requests, or time in seconds, from where settings are judged.
    over, policies, search : tuple of str
        What may change, see :func:`~vramlab.experiments.search_space.default_space`.
    jobs : int
        Processes. With one, the same seed finds the same settings.
    storage : str, optional
        Where trials are kept and shared: a ``.db`` (SQLite) or ``.journal`` file, or a database's URL. Calls
        with the same trace, configuration and search go on with each other's trials, also at the same time.
    """

    trials: int = 100
    objectives: tuple[str, ...] = ("cost_s",)
    validate_from: str | float = 0.5
    over: tuple[str, ...] = DEFAULT_OVER
    policies: tuple[str, ...] = POLICIES
    search: tuple[str, ...] = ()
    jobs: int = 1
    storage: str | None = None
    require: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Task:
    """What all trials share; each worker gets it once."""

    case: SharedCase
    space: SearchSpace
    objectives: tuple[str, ...]
    require: tuple[Requirement, ...]
    storage: str | None
    name: str

    @cached_property
    def study(self) -> optuna.Study:
        """The study, opened once per process."""
        import optuna

        # its warnings show trials that failed or were interrupted with a traceback; the table has states
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(
            storage=open_storage(self.storage),
            study_name=self.name,
            load_if_exists=True,
            directions=[objectives()[name] for name in self.objectives],
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_AT_RANDOM),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the study out, which belongs to its process."""
        return {key: value for key, value in vars(self).items() if key != "study"}


@dataclass(frozen=True, eq=False)
class Trials:
    """All trials of a study: those that succeeded, and those that no other beats in all objectives.

    ``finished`` has those that keep to all that is required, or, where none does, all.
    """

    objectives: tuple[str, ...]
    study: optuna.Study
    every: list[optuna.trial.FrozenTrial]
    finished: list[optuna.trial.FrozenTrial]
    unbeaten: list[optuna.trial.FrozenTrial]

    def in_order(self) -> list[optuna.trial.FrozenTrial]:
        """Return those that succeeded, the best in the first objective first, ties by the others and age."""
        signs = [sign(name) for name in self.objectives]

        def key(trial: optuna.trial.FrozenTrial) -> tuple[float, ...]:
            return (*(s * value for s, value in zip(signs, trial.values, strict=True)), trial.number)

        return sorted(self.finished, key=key)

    def front(self) -> list[dict[str, Any]]:
        """Return the unbeaten ones of several objectives: ``settings`` and ``values``."""
        if len(self.objectives) < 2:
            return []
        return [
            {
                "settings": dict(settings_of(trial)),
                "values": dict(zip(self.objectives, trial.values, strict=True)),
            }
            for trial in self.unbeaten
        ]

    def frame(self) -> pd.DataFrame:
        """Return one row per trial: ``number``, ``state``, the objectives and the settings."""
        rows = []
        for trial in self.every:
            row = {"number": trial.number, "state": trial.state.name.lower()}
            if trial.state.name == "COMPLETE":
                row |= dict(zip(self.objectives, trial.values, strict=True))
                row["feasible"] = feasible(trial)
            rows.append(row | dict(settings_of(trial)))
        return pd.DataFrame(rows)


def sign(objective: str) -> float:
    """Return what to multiply a figure with so that less is better."""
    return 1.0 if objectives()[objective] == "minimize" else -1.0


def feasible(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial keeps to all that is required."""
    return all(excess <= 0 for excess in trial.user_attrs.get(_EXCESS, ()))


def settings_of(trial: optuna.trial.FrozenTrial) -> Sequence[tuple[str, Any]]:
    """Return the settings that a trial has drawn; none where it ended before that."""
    settings: Sequence[tuple[str, Any]] = trial.user_attrs.get(_SETTINGS, [])
    return settings


def make_trials(
    case: Case, space: SearchSpace, search: Search, done: Callable[[], object] | None = None
) -> Trials:
    """Replay a case under one drawn setting after the other; the first trial changes nothing.

    Raises
    ------
    InputError
        If none succeeds, or a user's policy fails.
    """
    import optuna

    with tempfile.TemporaryDirectory(prefix="vramlab-") as folder:
        storage = search.storage
        if storage is None and search.jobs > 1:
            storage = str(Path(folder) / "trials.journal")
        require = requirements_of(search.require, case.config)
        name = _study_name(case, space, (*search.objectives, *map(repr, require)))
        task = Task(share_case(case, Path(folder)), space, search.objectives, require, storage, name)
        study, there = task.study, len(task.study.trials)
        if not there:
            study.enqueue_trial({})  # number 0, which draws nothing
            for known in space.known(case.config)[: search.trials - 1]:
                study.enqueue_trial(known)
        for ended in execute(run_trial, task, range(there, there + search.trials), search.jobs):
            if ended.error:
                raise InputError("tune", f"trial {ended.task}", ended.error, "a run that succeeds")
            if done is not None:
                done()
        finished = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        if not finished:
            found = f"no trial of {search.trials} that succeeded"
            raise InputError("tune", "", found, "settings that can work")
        kept = [trial for trial in finished if feasible(trial)]
        unbeaten = [trial for trial in study.best_trials if feasible(trial) or not kept]
        return Trials(search.objectives, study, study.trials, kept or finished, unbeaten)


def _study_name(case: Case, space: SearchSpace, wanted: Iterable[str]) -> str:
    what = [
        case.trace.sha256,
        fingerprint(case.config),
        fingerprint(case.inventory),
        repr(space),
        tuple(wanted),
        case.mode,
        case.times_key,
        code_sha256(),
    ]
    return "vramlab-" + hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def run_trial(task: Task, number: int) -> None:
    """Make one trial, in whatever process."""
    import optuna

    study = task.study
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Optuna 5 has `Trial.set_constraint` beside `constraints_func`; 4.2 has only the latter
        warnings.filterwarnings("ignore", "`constraints_func`", FutureWarning)
        # a sampler of its own per trial, so that what is drawn does not hang on which process draws
        seed = task.case.rest["seed"] * 1_000_003 + number
        study.sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=_AT_RANDOM, multivariate=True, group=True,
            constant_liar=True,
            constraints_func=_constraints if task.require else None,
        )  # fmt: skip
    study.optimize(lambda trial: _unless_it_fails(task, trial), n_trials=1, catch=(InputError,))


def _unless_it_fails(task: Task, trial: optuna.Trial) -> Any:
    """End the study where a user's policy fails; settings that cannot be are one failed trial."""
    try:
        return _objective(task, trial)
    except PolicyError as error:
        raise RuntimeError(str(error)) from error


def _objective(task: Task, trial: optuna.Trial) -> Any:
    import optuna

    # the first trial is what there is: what is found is never worse on the part that it was found on
    settings = [] if trial.number == 0 else task.space.draw(trial)
    trial.set_user_attr(_SETTINGS, settings)
    case = task.case.open()
    case = replace(case, config=settled(case.config, case.inventory, settings, "trial"))
    if len(task.objectives) == 1 and trial.number > 0:
        for step, share in enumerate(_PREFIXES):
            part = case.trace.head(max(1, int(share * len(case.trace))))
            trial.report(_judged(task, replace(case, trace=part))[0][0], step)
            if trial.should_prune():
                raise optuna.TrialPruned
    values, excess = _judged(task, case)
    trial.set_user_attr(_EXCESS, excess)
    return values[0] if len(values) == 1 else values


def _judged(task: Task, case: Case) -> tuple[list[float], list[float]]:
    """Objectives of a run, and by how much it misses each requirement."""
    figures = judged(case, run(case))
    for name in task.objectives:
        if figures[name] is None:
            raise InputError("tune", name, "no value, as nothing was answered", "a number")
    excess = [min(one.excess(figures), _INFEASIBLE) for one in task.require]
    return [min(float(figures[name]), _INFEASIBLE) for name in task.objectives], excess


def _constraints(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
    excess: Sequence[float] = trial.user_attrs.get(_EXCESS, (_INFEASIBLE,))
    return excess


def open_storage(place: str | None) -> Any:
    """Open Optuna's storage behind a file or URL.

    Raises
    ------
    InputError
        For a file of another suffix.
    """
    import optuna

    if place is None or "://" in place:
        return place
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".db", ".sqlite"):
        return f"sqlite:///{path}"
    if path.suffix == ".journal":
        from optuna.storages.journal import JournalFileBackend

        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    raise InputError("--storage", "", place, "a .db or .journal file, or a URL")
