"""What of a run its times are taken from, and what they are judged on."""

from __future__ import annotations

from typing import NamedTuple

from vramlab.config.errors import InputError
from vramlab.experiments.recorded_samples import WarmUp, warm_up
from vramlab.runs.run_folder import RunFolder
from vramlab.simulation.choosing import Times

FEWEST = 100
"""Requests that a part needs: fewer say nothing of a 95th percentile."""


class Split(NamedTuple):
    """What of a run its times are taken from, and what they are judged on.

    Parameters
    ----------
    warm_up_s : float
        Seconds from the first request on until the run was warm.
    rule : str
        By what rule, in a sentence.
    from_s : float
        Seconds from the first request on, from where on figures are judged.
    requests : int
        How many are judged.
    problem : str
        Why nothing can be judged; empty where it can.
    """

    warm_up_s: float
    rule: str
    from_s: float
    requests: int
    problem: str = ""

    @property
    def warm(self) -> WarmUp:
        """When the run was warm, and by what rule."""
        return WarmUp(self.warm_up_s, self.rule)


def split_of(run: RunFolder, warm_up_s: float | None = None, times: Times = "recorded") -> Split:
    """Split a run at the middle of what came after the warm-up, where times are its own.

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
    from_s = (warm_up_s + duration_s) / 2 if times == "recorded" else warm_up_s
    arrivals_s = run.trace.times_s - run.trace.times_s[0]
    judged = int((arrivals_s >= from_s).sum())
    taken = int(((arrivals_s >= warm_up_s) & (arrivals_s < from_s)).sum())
    problem = ""
    if times == "recorded" and min(judged, taken) < FEWEST:
        problem = (
            f"too short to calibrate and to judge: {taken + judged:,} requests come after the warm-up of "
            f"{warm_up_s:.1f} s, and {FEWEST} are needed for each: record for longer"
        )
    return Split(warm_up_s, rule, from_s, judged, problem)
