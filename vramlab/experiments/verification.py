"""Does the simulator tell the truth? A live run's journal in lock-step, and the run simulated freely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vramlab.analysis.metrics import metrics
from vramlab.analysis.shifts import apart
from vramlab.config.bundled import there
from vramlab.config.errors import InputError
from vramlab.config.faults import FaultPlan
from vramlab.engine.effects import Failure
from vramlab.engine.journal import Line
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.busy import disturbances
from vramlab.experiments.calibration import Calibration, calibrated_case
from vramlab.experiments.case import ConfigLike, ModelsLike, resolve_case
from vramlab.experiments.draws import SEEDS, Draws, draws, since
from vramlab.experiments.split import Split, split_of
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import LockstepReport
from vramlab.runs.passing import longest_passed_over
from vramlab.runs.records import Records
from vramlab.runs.run_folder import RunFolder, is_journal, journal_trace, read_run
from vramlab.simulation.choosing import Times

_PLANNED = {"corrupt", "timed out"}  # kinds of failed loads that a plan has, beside the plain one


@dataclass(frozen=True, eq=False)
class Verification:
    """What a verification found.

    Parameters
    ----------
    run : RunFolder
        The live run.
    lockstep : LockstepReport
        Whether every decision came out equal.
    live, simulated : dict
        Figures of both, with the keys of ``vramlab replay --json``. Simulated ones are medians of the draws;
        they are None where the run is too short to judge.
    live_records, simulated_records : Records
        Requests of both, in the same order; simulated ones of the first draw.
    times : str
        Where the simulation had its service times from, see :mod:`vramlab.simulation.choosing`.
    passed_over_s : float or None
        For how long a request was passed over live while it could be served, at most
        (:func:`vramlab.runs.passing.longest_passed_over`).
    split : Split
        What was judged.
    draws : Draws or None
        The simulations; None where the run is too short to judge.
    calibration : Calibration or None
        Where the run's own times came from, if these were taken.
    """

    run: RunFolder
    lockstep: LockstepReport
    live: dict[str, Any]
    simulated: dict[str, Any]
    live_records: Records
    simulated_records: Records
    times: Times
    passed_over_s: float | None
    split: Split
    draws: Draws | None
    calibration: Calibration | None

    def __repr__(self) -> str:
        found = self.lockstep
        return f"Verification({found.decisions:,} decisions, {len(found.differences):,} differences)"

    def caveats(self) -> list[str]:
        """Say why live and simulated times may differ though nothing is wrong, a sentence each."""
        found = [f"{damage}; what is shown ends before it" for damage in self.run.journal.damaged[:1]]
        if self.times == "spec":
            found.append(
                "simulated times are the inventory's, not this machine's: leave --service-times out, "
                "and they are the run's own"
            )
        if self.calibration is not None:
            found += [caveat for caveat in self.calibration.caveats if "damaged" not in caveat]
        profile = None if self.times == "spec" or self.draws is None else self.run.profile
        used = None if self.calibration is None else self.used_s()
        return found + disturbances(self.run.environment, None if profile is None else profile.attrs, used)

    def used_s(self) -> tuple[float, float]:
        """Return from when to when the run is judged, in its own seconds."""
        first_s = float(self.run.trace.times_s[0])
        return first_s + self.split.warm_up_s, first_s + self.run.trace.duration_s

    def errors(self) -> dict[str, float | None]:
        """Return how far the simulation is off: points for the hit rate, else relative to the live run."""
        rate = self.off("hit_rate")
        errors = {"hit_rate_points": None if rate is None else 100 * rate}
        for key in ("latency_p50_s", "latency_p95_s", "latency_p99_s", "cold_starts"):
            errors[f"{key.removesuffix('_s')}_relative"] = self.off(key)
        return errors

    def off(self, key: str) -> float | None:
        """Return how far a simulated figure is from the live one; None where that cannot be said."""
        simulated, live = self.simulated[key], self.live[key]
        if simulated is None or live is None:
            return None
        off = apart(simulated, live, key)
        return None if math.isnan(off) else off

    def verdicts(self) -> dict[str, str]:
        """Return what :data:`vramlab.experiments.draws.RULE` says of each figure that is judged."""
        return {} if self.draws is None else self.draws.verdicts(self.live)

    def document(self) -> dict[str, Any]:
        """Return the keys of ``vramlab verify --json``."""
        report, drawn = self.lockstep, self.draws
        return {
            "lockstep": {
                "lines": report.lines,
                "decisions": report.decisions,
                "differences": [str(difference) for difference in report.differences],
            },
            "fidelity": {
                "live": self.live,
                "simulated": self.simulated,
                "error": self.errors(),
                "draws": 0 if drawn is None else len(drawn.figures),
                "spread": {} if drawn is None else drawn.spread(),
                "verdict": self.verdicts(),
                "per_request": {} if drawn is None else drawn.per_request(self.live_records),
            },
            "service_times": self.times,
            "judged": self.split._asdict(),
            "calibration": None if self.calibration is None else self.calibration.document(),
            "waiting": {
                "passed_over_max_s": self.passed_over_s,
                "max_wait_s": self.run.config.serving.max_wait_s,
            },
            "caveats": self.caveats(),
        }


# Users name them by keyword.
def verify(
    folder: RunFolder | Path | str,
    seed: int = 0,
    service_times: Times | None = None,
    warm_up_s: float | None = None,
    config: ConfigLike = None,
    models: ModelsLike = None,
    seeds: int = SEEDS,
) -> Verification:
    """Hold a recorded run, or any journal, against the engine and against the simulator.

    All of the run is simulated, and judged but for its warm-up. It is simulated with its own times, but each
    window with those of others: windows of two seconds, or a sixteenth of a shorter run, belong to two halves
    in turns, and those of one half are simulated with what those of the other have seen
    (:mod:`vramlab.simulation.in_turns`). A first and a second half would judge the machine's drift as well,
    which was a tenth within half a minute.

    Parameters
    ----------
    folder : RunFolder, Path or str
        The run, or its folder; or a journal, that of one's own server too.
    seed : int
        Draws the service times, as do those that follow on it.
    service_times : str, optional
        See :mod:`vramlab.simulation.choosing`. By default ``recorded``. With others nothing is taken from the
        run, and all of it is judged that came after the warm-up.
    warm_up_s : float, optional
        Seconds from the first request on that count as warm-up. By default it is found from the journal
        (:func:`vramlab.experiments.split.warm_up`).
    config, models
        Settings and inventory of the server that wrote the journal. A run's folder has its own.
    seeds : int
        How often the run is simulated.

    Raises
    ------
    InputError
        If the folder is no recording, or ends before it is warm; and for settings beside a folder that has
        its own.
    """
    run = _run(folder, config, models)
    times = service_times or "recorded"
    split = split_of(run, warm_up_s, times)
    report = run.followed
    if report.differences and not split.problem:  # its records end there
        line = report.differences[0].line
        split = split._replace(problem=f"the journal is followed up to line {line} only")
    recorded = report.records if split.problem else since(report.records, split.warm_up_s)
    live = metrics(recorded, run.config, run.inventory)
    live |= {"backend": run.environment.get("backend", "live"), "policy": run.config.scoring.policy}
    passed_over_s = longest_passed_over(run.journal[: run.journal.whole], run.config, run.inventory)
    if split.problem:
        nothing: dict[str, Any] = dict.fromkeys(live)
        return Verification(
            run, report, live, nothing, recorded, recorded, times, passed_over_s, split, None, None
        )
    calibration = None
    if times == "recorded":
        case, calibration = calibrated_case(run, seed, split)
    else:
        case = resolve_case(
            run.trace, run.config, run.inventory, seed=seed, service_times=times, profile=run.profile
        )
    case = replace(case, faults=_failures_of(run.journal[: run.journal.whole]))
    drawn = draws(case, split.warm_up_s, seeds)
    return Verification(
        run, report, live, drawn.median(), recorded, drawn.records[0], times, passed_over_s, split, drawn,
        calibration,
    )  # fmt: skip


def _run(run: RunFolder | Path | str, config: ConfigLike, models: ModelsLike) -> RunFolder:
    """A run, or its folder; or a journal by itself, with what it was written under."""
    path = run.path if isinstance(run, RunFolder) else run
    if isinstance(run, RunFolder) or not is_journal(path):
        if config is not None or models is not None:
            raise InputError(path, "", "a folder, which has its settings", "no others beside it")
        return run if isinstance(run, RunFolder) else read_run(path)
    lines = read_journal(there(path))
    trace = journal_trace(lines[: lines.whole], str(path))
    case = resolve_case(trace, config, models)
    inventory = case.inventory
    if any(spec.path for spec in inventory.values()):
        from vramlab.live.backend import with_file_sizes  # knows ONNX, which a journal alone needs not

        inventory = with_file_sizes(inventory)  # as the server did
    return RunFolder(Path(path), case.config, inventory, lines, trace, {}, case.measurements())


def _failures_of(journal: Sequence[Line]) -> FaultPlan:
    """Return what failed live, to fail in the simulation too: runs of single requests, and loads of a model.

    Loads that ran out of memory are left out: whether one does is what the simulator is to tell. So are runs
    of requests that were answered all the same, by a cure.
    """
    failed = {line.task for line in journal if line.event == "done" and line.what == Outcome.FAILED.name}
    runs: set[int] = set()
    loads: dict[tuple[str, str, str], list[float]] = {}
    for line in journal:
        if line.event != "fail" or line.what is None:
            continue
        what, _, target = line.what.partition(" on ")
        kind = (line.why or "").partition(":")[0]
        if kind == Failure.OUT_OF_MEMORY.value or "joined" in (line.detail or {}):
            continue  # which request has failed a joined run its own run says
        if what == "infer" and isinstance(line.task, int):
            runs |= {line.task} & failed
        elif what == "load" and line.model is not None:
            kind = kind if kind in _PLANNED else Failure.RAISED.value
            begun_s = line.time_s - (line.duration_s or 0.0)
            loads.setdefault((line.model, target, kind), []).append(begun_s)
    return FaultPlan.model_validate(
        {
            "run_failures": {"requests": sorted(runs)} if runs else None,
            "load_failures": [
                {"models": [model], "target": target, "why": kind, "at_s": sorted(times_s)}
                for (model, target, kind), times_s in loads.items()
            ],
        }
    )
