"""Samples of service times that a run has seen itself, in the format of a profile.

What the run has not seen, the profile that went with it fills in. Where a run is judged by its own samples,
each half of its windows has those of the other (:mod:`vramlab.simulation.in_turns`); what neither these nor
a profile have, and no estimate gives, comes from the windows that are judged, and is named so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from vramlab import __version__
from vramlab.config.errors import InputError
from vramlab.experiments.split import Split, warm_up
from vramlab.runs.run_folder import RunFolder
from vramlab.runs.samples import Sample, samples_frame
from vramlab.simulation.choosing import device_cores_of
from vramlab.simulation.in_turns import Windows
from vramlab.simulation.recorded import ENOUGH, judged
from vramlab.simulation.seen import Seen, seen_work

_MACHINE = ("device", "onnxruntime", "python", "system", "cpu_count", "device_cores", "backend")


def recorded_samples(
    run: RunFolder, split: Split | None = None, profile: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the samples of a run, beside those of a profile.

    Parameters
    ----------
    run : RunFolder
        A recorded run.
    split : Split, optional
        Its windows and warm-up. The table then has all samples that are drawn from in windows of half 0, and
        all for those of half 1, told apart by the column ``half``. By default nothing is split, and the
        warm-up is as :func:`vramlab.experiments.split.warm_up` finds it.
    profile : DataFrame, optional
        By default the run's own, if it has one.

    Raises
    ------
    InputError
        If no effect ended well.
    """
    cores = run.environment.get("cpu_count") or 0
    device_cores = device_cores_of(run.environment, run.config.serving.gpu_streams)
    seen = seen_work(run.journal[: run.journal.whole], cores, device_cores)
    if not seen:
        raise InputError(run.path, "", "a journal in which nothing ran", "a recording that served requests")
    warm_up_s, rule = warm_up(run) if split is None else (split.warm_up_s, split.rule)
    windows = None if split is None else split.windows(run)
    warm_from_s = float(run.trace.times_s[0]) + warm_up_s
    facts: dict[Any, Any] = {key: run.environment[key] for key in _MACHINE if key in run.environment}
    profile = run.profile if profile is None else profile
    if windows is None:
        used = _without_early(seen, warm_from_s)
        frame = _with(profile, [one.sample for one in used])
    else:
        used, frames = [], []
        for half in (0, 1):
            others, own = _of_other_windows(half, windows, seen, warm_from_s)
            used += others
            samples = [one.sample for one in others] + judged(one.sample for one in own)
            frames.append(_with(profile, samples).assign(half=half))
        frame = pd.concat(frames, ignore_index=True)
        facts["windows"] = tuple(windows)
    frame.attrs = facts  # the run's machine, whatever the profile's was
    frame.attrs["recording"] = {
        "samples": len({id(one) for one in used}),
        "window_s": None if windows is None else windows.length_s,
        "warm_up_s": warm_up_s,
        "rule": rule,
        "caveats": caveats(run),
    }
    return frame


def _with(profile: pd.DataFrame | None, samples: list[Sample]) -> pd.DataFrame:
    frame = samples_frame(samples, {})
    return frame if profile is None else pd.concat([frame, profile], ignore_index=True)


def _of_other_windows(
    half: int, windows: Windows, seen: Iterable[Seen], warm_from_s: float
) -> tuple[list[Seen], list[Seen]]:
    """Return what windows of a half are simulated with, which others and the warm-up saw, and their own."""
    others: list[Seen] = []
    own: list[Seen] = []
    for one in seen:
        of_half = one.begin_s >= warm_from_s and windows.half(one.begin_s) == half
        (own if of_half else others).append(one)
    return _without_early(others, warm_from_s), own


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


def _without_early(seen: list[Seen], warm_from_s: float) -> list[Seen]:
    """Leave out what began before the run was warm, of kinds that were seen often enough afterwards."""
    warm = Counter(_kind(one.sample) for one in seen if one.begin_s >= warm_from_s)
    return [one for one in seen if one.begin_s >= warm_from_s or warm[_kind(one.sample)] < ENOUGH]


def _kind(sample: Sample) -> tuple[str, str, str, int]:
    return sample.model, sample.target, sample.what, sample.items
