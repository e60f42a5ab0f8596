"""A run calibrates itself: the service times that it has seen, and from when on it was warm.

Every study of a run's folder starts from :func:`calibrated_case`: the run's requests, settings and inventory,
with service times from its own journal. A profile that went with the run fills in what the journal has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.engine.journal import Line
from vramlab.experiments.case import Case, resolve_case
from vramlab.runs.run_folder import RunFolder
from vramlab.runs.samples import samples_frame
from vramlab.simulation.choosing import device_cores_of
from vramlab.simulation.recorded import RecordedTimes
from vramlab.simulation.seen import seen_work

WARM_SHARE = 0.95
"""Of the most memory that sessions ever held: when it was first held, the run was warm."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the times of a simulation come from.

    Parameters
    ----------
    times : RecordedTimes
        The times, which know.
    models : list of str
        Those that the trace asks for.
    samples : int
        Effects of the run that were sampled.
    until_s : float or None
        Up to when; None: all of the run.
    warm_up_s : float
        Seconds from the first request on after which the run was warm.
    rule : str
        By what rule, in a sentence.
    """

    times: RecordedTimes
    models: list[str]
    samples: int
    until_s: float | None
    warm_up_s: float
    rule: str

    def rows(self) -> list[dict[str, Any]]:
        """Return where times come from, one row per model, target and kind of effect."""
        rows = []
        for model in self.models:
            for target in Target:
                for what in ("load", "run"):
                    source = self.times.source(what, model, target)
                    rows.append({"model": model, "target": target.value, "what": what, **source._asdict()})
        return rows

    def frame(self) -> pd.DataFrame:
        """Return the rows as a table."""
        return pd.DataFrame(self.rows())


def calibrated_case(run: RunFolder, seed: int = 0, until_s: float | None = None) -> tuple[Case, Calibration]:
    """Make a case of a run, with the service times that it has seen itself.

    Parameters
    ----------
    run : RunFolder
        A recorded run.
    seed : int
        Draws the times.
    until_s : float, optional
        Times are taken from the journal up to here, in its own seconds.

    Raises
    ------
    InputError
        If the journal has no effect that ended well.
    """
    lines: Sequence[Line] = run.journal[: run.journal.whole]
    if until_s is not None:
        lines = [line for line in lines if line.time_s <= until_s]
    cores = run.environment.get("cpu_count")
    device_cores = device_cores_of(run.environment, run.config.serving.gpu_streams)
    samples = seen_work(lines, cores or 0, device_cores)
    if not samples:
        raise InputError(run.path, "", "a journal in which nothing ran", "a recording that served requests")
    machine = {key: value for key, value in run.environment.items() if key in _KEPT}
    frame = samples_frame(samples, machine)
    if run.profile is not None:
        frame = pd.concat([frame, run.profile], ignore_index=True)
        frame.attrs = dict(machine.items())
    case = resolve_case(
        run.trace, run.config, run.inventory, seed=seed, service_times="recorded", profile=frame
    )
    warm_up_s, rule = warm_up(run)
    times = RecordedTimes(frame, case.config, case.inventory)
    return case, Calibration(
        times, sorted(set(run.trace.model_names)), len(samples), until_s, warm_up_s, rule
    )


_KEPT = ("device", "onnxruntime", "python", "system", "cpu_count", "device_cores", "backend")


def warm_up(run: RunFolder) -> tuple[float, str]:
    """Return from when on a run was warm, in seconds from its first request on, and the rule in a sentence.

    Until sessions hold about the most memory that they ever do, memory is still to come from the system:
    loads into it take longer than into memory that others have left, and misses come of an empty card.
    """
    held: dict[tuple[str, str], int] = {}
    total, most, reached = 0, 0, [(0.0, 0)]
    for line in run.journal[: run.journal.whole]:
        if line.event != "end" or line.model is None or line.what is None:
            continue
        what, _, target = line.what.partition(" on ")
        if what == "load" and line.model in run.inventory:
            size = run.inventory[line.model].footprint_bytes
            total += size - held.get((line.model, target), 0)
            held[line.model, target] = size
        elif what == "unload":
            total -= held.pop((line.model, Target.GPU.value), 0)
        if total > most:
            most = total
            reached.append((line.time_s, total))
    enough = WARM_SHARE * most
    when_s = next((time_s for time_s, total in reached if total >= enough), 0.0)
    warm_up_s = max(0.0, when_s - float(run.trace.times_s[0]))
    rule = (
        f"warm from {warm_up_s:.1f} s on, when sessions first held {WARM_SHARE:.0%} "
        f"of the most that they ever did ({bytes_to_mib(most):,.0f} MB)"
    )
    return warm_up_s, rule
