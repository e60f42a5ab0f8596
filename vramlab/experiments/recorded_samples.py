"""Samples of service times that a run has seen itself, in the format of a profile.

Of a journal, or of its first part. What the part has not seen, the profile that went with the run fills in;
what neither has, and no estimate gives, comes from the rest of the run, and is named so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from vramlab import __version__
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


class WarmUp(NamedTuple):
    """When a run was warm, in seconds from its first request on, and by what rule, in a sentence."""

    seconds: float
    rule: str


_MACHINE = ("device", "onnxruntime", "python", "system", "cpu_count", "device_cores", "backend")


def recorded_samples(
    run: RunFolder,
    until_s: float | None = None,
    warm: WarmUp | None = None,
    profile: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the samples of a run, beside those of a profile.

    Parameters
    ----------
    run : RunFolder
        A recorded run.
    until_s : float, optional
        Of effects that ended by then, in the journal's own seconds.
    warm : WarmUp, optional
        What came before is left out; by default as :func:`warm_up` finds it.
    profile : DataFrame, optional
        By default the run's own, if it has one.

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
    warm_up_s, rule = warm or warm_up(run)
    samples = _without_early(seen, float(run.trace.times_s[0]) + warm_up_s)
    if until_s is not None:
        rest = seen_work(lines, cores, device_cores)[len(seen) :]
        samples += later(sample for _, sample in rest)
    facts = {key: value for key, value in run.environment.items() if key in _MACHINE}
    frame = samples_frame(samples, facts)
    profile = run.profile if profile is None else profile
    if profile is not None:
        frame = pd.concat([frame, profile], ignore_index=True)
        frame.attrs = dict(facts.items())  # the run's machine, whatever the profile's was
    frame.attrs["recording"] = {"warm_up_s": warm_up_s, "rule": rule, "caveats": caveats(run)}
    return frame


def caveats(run: RunFolder) -> list[str]:
    """Return what is wrong with a recording whose times are taken, a sentence each."""
    found = [f"{damage}; times are taken from what comes before" for damage in run.journal.damaged[:1]]
    if run.environment.get("ended") is False:
        found.append(
            f"the recording was cut off after {run.trace.duration_s:.1f} s of requests: "
            "what is there is used, and what was under way at its end is left out"
        )
    made_by = run.environment.get("vramlab")
    if made_by is not None and made_by != __version__:
        found.append(f"recorded with version {made_by}, simulated with {__version__}: rules may have changed")
    failed = sum(line.event == "fail" for line in run.journal)
    if failed:
        found.append(f"{failed:,} effects failed in the recording; their times are left out")
    return found


def _without_early(seen: Iterable[Seen], warm_from_s: float) -> list[Sample]:
    """Leave out what began before the run was warm, of kinds that were seen often enough afterwards."""
    pairs = list(seen)
    warm = Counter(_kind(sample) for begin_s, sample in pairs if begin_s >= warm_from_s)
    return [s for begin_s, s in pairs if begin_s >= warm_from_s or warm[_kind(s)] < ENOUGH]


def _kind(sample: Sample) -> tuple[str, str, str, int]:
    return sample.model, sample.target, sample.what, sample.items


def warm_up(run: RunFolder) -> WarmUp:
    """Find from when on a run was warm.

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
    half_s = (float(run.trace.times_s[0]) + run.journal[run.journal.whole - 1].time_s) / 2
    span = "that they ever did"
    if when_s > half_s:  # a model that is asked for late is no warm-up
        reached = [pair for pair in reached if pair[0] <= half_s]
        most, span = reached[-1][1], "that they did in the first half"
        when_s = next(time_s for time_s, total in reached if total >= WARM_SHARE * most)
    warm_up_s = max(0.0, when_s - float(run.trace.times_s[0]))
    rule = (
        f"warm from {warm_up_s:.1f} s on, when sessions first held {WARM_SHARE:.0%} "
        f"of the most {span} ({bytes_to_mib(most):,.0f} MB)"
    )
    return WarmUp(warm_up_s, rule)
