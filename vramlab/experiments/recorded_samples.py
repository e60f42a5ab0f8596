"""Samples of service times that a run has seen itself, in the format of a profile.

Of a journal, or of its first part. What the part has not seen, the profile that went with the run fills in;
what neither has, and no estimate gives, comes from the rest of the run, and is named so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.runs.run_folder import RunFolder
from vramlab.runs.samples import Sample, samples_frame
from vramlab.simulation.choosing import device_cores_of
from vramlab.simulation.recorded import ENOUGH, later
from vramlab.simulation.seen import Seen, seen_work

WARM_SHARE = 0.95
"""Of the most memory that sessions ever held: when it was first held, the run was warm."""

_MACHINE = ("device", "onnxruntime", "python", "system", "cpu_count", "device_cores", "backend")


def recorded_samples(run: RunFolder, until_s: float | None = None) -> pd.DataFrame:
    """Return the samples of a run, beside those of its profile.

    Parameters
    ----------
    run : RunFolder
        A recorded run.
    until_s : float, optional
        Of effects that ended by then, in the journal's own seconds.

    Raises
    ------
    InputError
        If no effect ended well.
    """
    cores = run.environment.get("cpu_count") or 0
    device_cores = device_cores_of(run.environment, run.config.serving.gpu_streams)
    lines = run.journal[: run.journal.whole]
    first = lines if until_s is None else [line for line in lines if line.time_s <= until_s]
    seen = seen_work(first, cores, device_cores)
    if not seen:
        raise InputError(run.path, "", "a journal in which nothing ran", "a recording that served requests")
    warm_from_s = float(run.trace.times_s[0]) + warm_up(run)[0]
    samples = _without_early(seen, warm_from_s)
    if until_s is not None:
        rest = seen_work(lines, cores, device_cores)[len(seen) :]
        samples += later(sample for _, sample in rest)
    facts = {key: value for key, value in run.environment.items() if key in _MACHINE}
    frame = samples_frame(samples, facts)
    if run.profile is not None:
        frame = pd.concat([frame, run.profile], ignore_index=True)
        frame.attrs = dict(facts.items())  # the run's machine, whatever the profile's was
    return frame


def _without_early(seen: Iterable[Seen], warm_from_s: float) -> list[Sample]:
    """Leave out what began before the run was warm, of kinds that were seen often enough afterwards."""
    pairs = list(seen)
    warm = Counter(_kind(sample) for begin_s, sample in pairs if begin_s >= warm_from_s)
    return [s for begin_s, s in pairs if begin_s >= warm_from_s or warm[_kind(s)] < ENOUGH]


def _kind(sample: Sample) -> tuple[str, str, str, int]:
    return sample.model, sample.target, sample.what, sample.items


def warm_up(run: RunFolder) -> tuple[float, str]:
    """Return from when on a run was warm, in seconds from its first request on, and the rule in a sentence.

    Until sessions hold about the most memory that they ever do, memory is still to come from the system:
    loads into it take longer than into memory that others have left, and misses come of an empty card.
    """
    held: dict[tuple[str, str], int] = {}
    total, most, reached = 0, 0, [(0.0, 0)]
    for line in run.journal[: run.journal.whole]:
        if line.event != "end" or line.model not in run.inventory or line.what is None:
            continue
        what, _, target = line.what.partition(" on ")
        if what == "load":
            held[line.model, target] = run.inventory[line.model].footprint_bytes
        elif what == "unload":
            held.pop((line.model, Target.GPU.value), None)
        else:
            continue
        total = sum(held.values())
        if total > most:
            most = total
            reached.append((line.time_s, total))
    when_s = next(time_s for time_s, total in reached if total >= WARM_SHARE * most)
    warm_up_s = max(0.0, when_s - float(run.trace.times_s[0]))
    rule = (
        f"warm from {warm_up_s:.1f} s on, when sessions first held {WARM_SHARE:.0%} "
        f"of the most that they ever did ({bytes_to_mib(most):,.0f} MB)"
    )
    return warm_up_s, rule
