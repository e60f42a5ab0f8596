"""What of a run is judged, by which rule, and in which windows it is simulated with times of the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vramlab.config.errors import InputError
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.runs.run_folder import RunFolder
from vramlab.simulation.choosing import Times
from vramlab.simulation.in_turns import Windows

FEWEST = 100
"""Requests that each half needs, and a prediction: fewer say nothing of a 95th percentile."""

WINDOW_S = 2.0
"""Of a run: a machine drifts within ten seconds, and an effect is over within a fraction of one."""

_FEWEST_WINDOWS = 16  # of a short run, whose windows are shorter

WARM_SHARE = 0.95
"""Of the most memory that sessions ever held: when it was first held, the run was warm."""


class Split(NamedTuple):
    """What of a run is judged, and by what times.

    Parameters
    ----------
    warm_up_s : float
        Seconds from the first request on until the run was warm; all that follows is judged.
    rule : str
        By what rule, in a sentence.
    requests : int
        How many are judged.
    window_s : float or None
        Length of the windows, each simulated with times that those of the other half have seen
        (:class:`~vramlab.simulation.in_turns.Windows`); None where times are not the run's own.
    problem : str
        Why nothing can be judged; empty where it can.
    """

    warm_up_s: float
    rule: str
    requests: int
    window_s: float | None
    problem: str = ""

    def windows(self, run: RunFolder) -> Windows | None:
        """Return its windows in the journal's own seconds."""
        if self.window_s is None:
            return None
        return Windows(float(run.trace.times_s[0]) + self.warm_up_s, self.window_s)


def split_of(run: RunFolder, warm_up_s: float | None = None, times: Times = "recorded") -> Split:
    """Split a run into its warm-up and what is judged, and that into windows where times are its own.

    Raises
    ------
    InputError
        For a warm-up that the run has not.
    """
    duration_s = run.trace.duration_s
    if warm_up_s is None:
        warm_up_s, rule = warm_up(run)
    elif 0 <= warm_up_s <= duration_s:
        rule = f"the first {warm_up_s:g} s are left out, as asked"
    else:
        raise InputError(run.path, "--warm-up", warm_up_s, f"seconds of the run, which took {duration_s:.6g}")
    warm_s = run.trace.times_s[run.trace.times_s >= run.trace.times_s[0] + warm_up_s]
    span_s = max(0.0, duration_s - warm_up_s)
    if times != "recorded":
        problem = "" if len(warm_s) else "over before it was warm: record for longer, or give --warm-up 0"
        return Split(warm_up_s, rule, len(warm_s), None, problem)
    window_s = min(WINDOW_S, span_s / _FEWEST_WINDOWS) or WINDOW_S
    split = Split(warm_up_s, rule, len(warm_s), window_s)
    windows = split.windows(run)
    assert windows is not None
    halves = np.bincount([windows.half(time_s) for time_s in warm_s], minlength=2)
    if halves.min() >= FEWEST:
        return split
    problem = (
        f"too short to calibrate and to judge: {' and '.join(f'{count:,}' for count in halves)} "
        f"requests come in the halves of its windows after the warm-up of {warm_up_s:.1f} s, and {FEWEST} "
        "are needed for each: record for longer"
    )
    return split._replace(problem=problem)


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
    half_s = (float(run.trace.times_s[0]) + run.journal[run.journal.whole - 1].time_s) / 2
    span = "that they ever did"
    if when_s > half_s:  # a model that is asked for late is no warm-up
        reached = [pair for pair in reached if pair[0] <= half_s]
        most, span = reached[-1][1], "that they did by the middle of the run"
        when_s = next(time_s for time_s, total in reached if total >= WARM_SHARE * most)
    warm_up_s = max(0.0, when_s - float(run.trace.times_s[0]))
    rule = (
        f"warm from {warm_up_s:.1f} s on, when sessions first held {WARM_SHARE:.0%} "
        f"of the most {span} ({bytes_to_mib(most):,.0f} MB)"
    )
    return warm_up_s, rule
