"""Tuning: settings found on the first part of a trace, and judged on the rest.

Trials are drawn by Optuna's tree-structured Parzen estimator (J. Bergstra et al., "Algorithms for
hyper-parameter optimization", NIPS 2011). With one objective a trial replays prefixes of the training part
first, and ends early where it does worse than the median of the trials before it.

What is best of a hundred trials may be so by luck. So the last quarter of the training part is kept from the
trials, and the best few of them are compared on it: the one that does best there is taken, and if none does
better there than the configuration that tuning began with, nothing is changed. The part that judges is never
replayed while settings are drawn or chosen: at the end the whole trace is, and what comes after the boundary
is counted (:mod:`vramlab.experiments.parts`).
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from vramlab.allocator.policies.own import PolicyError
from vramlab.analysis.metrics import metrics
from vramlab.config.errors import InputError, check_choice
from vramlab.config.faults import FaultPlan
from vramlab.config.loading import fingerprint, with_overrides, write_config
from vramlab.config.schema import Inventory, VramConfig
from vramlab.experiments.executors import execute
from vramlab.experiments.grids import override_texts, settled
from vramlab.experiments.inputs import check_seed, names_of, resolve_faults, resolve_inputs
from vramlab.experiments.optimum import cost_s, cpu_extra_of, optimum_of
from vramlab.experiments.parts import boundary, later_part
from vramlab.experiments.provenance import code_sha256
from vramlab.experiments.replay import Mode, check_mode, replay
from vramlab.experiments.search_space import DEFAULT_OVER, POLICIES, SearchSpace, default_space
from vramlab.experiments.shared_traces import SharedTrace, share
from vramlab.traces.trace import Trace

if TYPE_CHECKING:
    import optuna

OBJECTIVES: dict[str, Literal["minimize", "maximize"]] = {
    "cost_s": "minimize",
    "load_cost_s": "minimize",
    "latency_mean_s": "minimize",
    "latency_p50_s": "minimize",
    "latency_p95_s": "minimize",
    "latency_p99_s": "minimize",
    "latency_max_s": "minimize",
    "hit_rate": "maximize",
    "cold_starts": "minimize",
    "evictions": "minimize",
    "fallbacks": "minimize",
    "refused": "minimize",
}

# Figures of a replay, and `cost_s`: the load cost and the extra seconds of what the CPU answered. Where the
# CPU may answer, the load cost alone is least if nothing is ever loaded.

# Parts of the training part that are replayed before all of it, to end hopeless trials early.
_PREFIXES = (0.15, 0.4)
# Trials that are drawn at random before the estimator has anything to say.
_AT_RANDOM = 12
_SETTINGS = "settings"
# Share of the training part that chooses among the best trials, and how many of them.
_CHOOSING = 0.25
_FINALISTS = 5


@dataclass(frozen=True, eq=False)
class Task:
    """What all trials share; each worker gets it once."""

    train: SharedTrace
    config: VramConfig
    inventory: Inventory
    mode: Mode
    seed: int
    space: SearchSpace
    objectives: tuple[str, ...]
    storage: str | None
    name: str
    faults: FaultPlan

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
            directions=[OBJECTIVES[name] for name in self.objectives],
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_AT_RANDOM),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the study, which belongs to its process."""
        return {key: value for key, value in vars(self).items() if key != "study"}


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
        """The keys of ``vramlab tune --json``."""
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
        """What stands on top of the configuration file: on what it was tuned, and what was gained."""
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


def tune(
    trace: Trace | Path | str,
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
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
    trace, config, models, mode, overrides
        As for :func:`~vramlab.experiments.replay.replay`; `config` is the first trial, and what is not
        searched stays as it says.
    trials : int
        How many to make, beyond those that `storage` has.
    objectives : sequence of str
        Figures, of :data:`OBJECTIVES`. With several the best is the one on their front that is best in the
        first; see ``front`` for the others.
    validate_from : str or float
        Fraction of the requests, or time in seconds, from where settings are judged.
    over, policies, search
        What may change, see :func:`~vramlab.experiments.search_space.default_space`.
    seed : int
        With one job, the same seed finds the same settings.
    jobs : int
        Processes.
    storage : str, optional
        Where trials are kept and shared: a ``.db`` (SQLite) or ``.journal`` file, or a database's URL. Calls
        with the same trace, configuration and search go on with each other's trials, also at the same time.
    out : Path or str, optional
        Configuration file to write.
    done : callable, optional
        Called after each trial.

    Raises
    ------
    InputError
        For bad input, a missing Optuna, and if no trial succeeded.
    """
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "tune", "", "no package optuna", "it installed (pip install 'vramlab[tune]')"
        ) from error
    check_mode(mode)
    check_seed(seed)
    objectives = tuple(names_of(objectives))
    over, policies, search = names_of(over), names_of(policies), names_of(search)
    for name in objectives:
        check_choice("--objective", "", name, list(OBJECTIVES))
    if trials < 1 or not objectives:
        raise InputError("--trials", "", trials, "at least 1, for at least one objective")
    faults = resolve_faults(config, overrides=overrides)
    whole, base, inventory = resolve_inputs(trace, config, models, overrides)
    first = boundary(whole, validate_from)
    train = whole.head(first)
    try:
        kept_from = boundary(train, 1 - _CHOOSING)
    except InputError:  # of a fraction that nobody gave
        found = f"{len(train)} requests before the boundary (--validate-from)"
        raise InputError(whole.source, "", found, "more: a quarter of them is kept from the trials") from None
    seen = train.head(kept_from)
    space = default_space(base, inventory, over, policies, search)
    what = [
        seen.sha256,
        fingerprint(base),
        fingerprint(inventory),
        repr(space),
        objectives,
        mode,
        code_sha256(),
    ]
    name = "vramlab-" + hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    with tempfile.TemporaryDirectory(prefix="vramlab-") as folder:
        if storage is None and jobs > 1:
            storage = str(Path(folder) / "trials.journal")
        shared = share(seen, Path(folder))
        task = Task(shared, base, inventory, mode, seed, space, objectives, storage, name, faults)
        there = len(task.study.trials)
        if not there:
            task.study.enqueue_trial({})  # number 0, which draws nothing
            for known in space.known(base)[: trials - 1]:
                task.study.enqueue_trial(known)
        for ended in execute(run_trial, task, range(there, there + trials), jobs):
            if ended.error:
                raise InputError("tune", f"trial {ended.task}", ended.error, "a run that succeeds")
            if done is not None:
                done()
        finished = task.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        if not finished:
            raise InputError("tune", "", f"no trial of {trials} that succeeded", "settings that can work")
        best, choice = _choose(task, finished, train, kept_from)
        table = _table(task.study.trials, objectives)
        front = _front(task.study, objectives) if len(objectives) > 1 else []
    chosen = settled(base, inventory, best.user_attrs[_SETTINGS], "trial")
    searched, validated = (
        _judged(part, base, chosen, inventory, mode, seed, at, faults)
        for part, at in ((train, 0), (whole, first))
    )
    result = Tuning(_changed(base, chosen), chosen, searched, validated, front, table, objectives, choice)
    if out is not None:
        write_config(chosen, out, result.comment(whole))
    return result


def run_trial(task: Task, number: int) -> None:
    """One trial, in whatever process."""
    import optuna

    study = task.study
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # a sampler of its own per trial, so that what is drawn does not hang on which process draws
        study.sampler = optuna.samplers.TPESampler(
            seed=task.seed * 1_000_003 + number, n_startup_trials=_AT_RANDOM, multivariate=True, group=True,
            constant_liar=True,
        )  # fmt: skip
    study.optimize(lambda trial: _unless_it_fails(task, trial), n_trials=1, catch=(InputError,))


def _unless_it_fails(task: Task, trial: optuna.Trial) -> Any:
    """A user's policy that fails ends the study: settings that cannot be are one failed trial, it is not."""
    try:
        return _objective(task, trial)
    except PolicyError as error:
        raise RuntimeError(str(error)) from error


def _objective(task: Task, trial: optuna.Trial) -> Any:
    import optuna

    # the first trial is what there is: what is found is never worse on the part that it was found on
    settings = [] if trial.number == 0 else task.space.draw(trial)
    trial.set_user_attr(_SETTINGS, settings)
    config = settled(task.config, task.inventory, settings, "trial")
    train = task.train.open()
    if len(task.objectives) == 1 and trial.number > 0:
        for step, share_ in enumerate(_PREFIXES):
            part = train.head(max(1, int(share_ * len(train))))
            trial.report(_values(task, config, part)[0], step)
            if trial.should_prune():
                raise optuna.TrialPruned
    values = _values(task, config, train)
    return values[0] if len(values) == 1 else values


def _values(task: Task, config: VramConfig, part: Trace) -> list[float]:
    result = replay(part, config, task.inventory, task.mode, task.seed, faults=task.faults)
    figures = result.figures
    if "cost_s" in task.objectives:
        extra = cpu_extra_of(part, config, task.inventory)
        figures["cost_s"] = cost_s(result.records, figures["load_cost_s"], extra)
    for name in task.objectives:
        if figures[name] is None:
            raise InputError("tune", name, "no value, as nothing was answered", "a number")
    return [float(figures[name]) for name in task.objectives]


def open_storage(place: str | None) -> Any:
    """Optuna's storage behind a file or URL.

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


def _choose(
    task: Task, finished: Sequence[optuna.trial.FrozenTrial], train: Trace, kept_from: int
) -> tuple[Any, pd.DataFrame]:
    """Compare the best trials, and what there was, on the part that they have not seen."""
    objective = task.objectives[0]
    sign = 1.0 if OBJECTIVES[objective] == "minimize" else -1.0
    first = [trial for trial in finished if trial.number == 0]
    others = [trial for trial in _in_order(finished, task.objectives) if trial.number]
    if first:
        others = [trial for trial in others if sign * trial.values[0] < sign * first[0].values[0]]
    others = list({tuple(trial.values): trial for trial in reversed(others)}.values())[::-1]  # the like once
    finalists = [*first, *others[:_FINALISTS]]
    found = []
    for trial in finalists:
        config = settled(task.config, task.inventory, trial.user_attrs[_SETTINGS], "trial")
        result = replay(train, config, task.inventory, task.mode, task.seed, faults=task.faults)
        records = later_part(result.records, kept_from)
        figures = metrics(records, config, task.inventory)
        extra = cpu_extra_of(train, config, task.inventory)
        value = figures | {"cost_s": cost_s(records, figures["load_cost_s"], extra)}
        found.append(math.inf if value[objective] is None else sign * value[objective])
    place = found.index(min(found))  # the first of those that are equal: what there was, if it is among them
    rows = [
        {
            "number": trial.number,
            "searched": trial.values[0],
            "chosen_on": sign * value,
            "adopted": index == place,
        }
        for index, (trial, value) in enumerate(zip(finalists, found, strict=True))
    ]
    return finalists[place], pd.DataFrame(rows)


def _in_order(finished: Sequence[optuna.trial.FrozenTrial], objectives: Sequence[str]) -> list[Any]:
    """From the best in the first objective on, ties by the others and then by age."""

    def key(trial: optuna.trial.FrozenTrial) -> tuple[float, ...]:
        signs = (1.0 if OBJECTIVES[name] == "minimize" else -1.0 for name in objectives)
        return (*(sign * value for sign, value in zip(signs, trial.values, strict=True)), trial.number)

    return sorted(finished, key=key)


def _front(study: optuna.Study, objectives: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "settings": dict(trial.user_attrs[_SETTINGS]),
            "values": dict(zip(objectives, trial.values, strict=True)),
        }
        for trial in study.best_trials
    ]


def _table(trials: Iterable[optuna.trial.FrozenTrial], objectives: Sequence[str]) -> pd.DataFrame:
    rows = []
    for trial in trials:
        values = trial.values or [None] * len(objectives)
        row = {"number": trial.number, "state": trial.state.name.lower()}
        row |= dict(zip(objectives, values, strict=True)) if trial.state.name == "COMPLETE" else {}
        rows.append(row | dict(trial.user_attrs.get(_SETTINGS, [])))
    return pd.DataFrame(rows)


def _judged(
    trace: Trace,
    base: VramConfig,
    chosen: VramConfig,
    inventory: Inventory,
    mode: Mode,
    seed: int,
    first: int,
    faults: FaultPlan,
) -> dict[str, Any]:
    """Figures of the part from request `first` on, of a replay of the whole."""
    optimum = optimum_of(trace, base, inventory, first)
    lru = with_overrides(base, override_texts([("scoring.policy", "lru"), *_NO_WEIGHTS]))
    costs, found = [], []
    for config in (chosen, base, lru):
        result = replay(trace, config, inventory, mode, seed, faults=faults)
        records = later_part(result.records, first)
        figures = result.figures | metrics(records, config, inventory)
        found.append(figures | {"cost_s": optimum.cost_s(records, figures["load_cost_s"])})
        costs.append(found[-1]["cost_s"])
    return found[0] | {
        "gap_closed": optimum.gap_closed(costs[0], costs[2]),
        "lru_cost_s": costs[2],
        "optimum_cost_s": optimum.bound.load_cost_s,
        "optimum_admission": optimum.bound.admission,
        "from_s": float(trace.times_s[first]),
        "before": {name: found[1][name] for name in OBJECTIVES},
    }


_NO_WEIGHTS = [
    (f"scoring.weights.{name}", None) for name in ("priority", "frequency", "recency", "size", "cost")
]


def _changed(base: VramConfig, chosen: VramConfig) -> dict[str, Any]:
    """Settings of `chosen` that differ, by dotted key."""

    def leaves(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in section.items():
            found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        return found

    before = leaves(base.model_dump(mode="json"))
    return {
        key: value
        for key, value in leaves(chosen.model_dump(mode="json")).items()
        if value != before.get(key)
    }
