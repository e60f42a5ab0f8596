"""What other programs did to a comparison of live with simulated times, and which of both are longer for it.

Live times are longer where the recording was disturbed. Simulated ones are longer where what they were taken
from was: the profile, or the first part of the recording itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.live.machine_load import OthersLoad, busy_cores


def disturbances(
    environment: Mapping[Any, Any],
    profiled: Mapping[Any, Any] | None,
    parts: tuple[float, float, float] | None = None,
) -> list[str]:
    """Say what other programs did and which times are longer for it, a sentence each; none where they idled.

    Parameters
    ----------
    environment : mapping
        Of the run.
    profiled : mapping or None
        The machine of the profile that simulated times are taken from; None: from none.
    parts : (float, float, float), optional
        Where simulated times are those of the run itself: where the part begins that they are taken from,
        where it ends and the part begins that is judged, and where that ends; seconds of the run.
    """
    found = []
    recorded = OthersLoad.noted(environment)
    used = recorded if parts is None else recorded.between(parts[0], parts[2])
    if used.busy:
        found.append(f"{recorded.said('recorded')}: {_longer(recorded, parts)}")
    others = None if profiled is None else profiled.get("other_cores")
    cores = recorded.machine_cores
    if others is not None and others > busy_cores(cores):
        said = OthersLoad(others, machine_cores=cores).said("profiled")
        which = "simulated times are" if parts is None else "what is simulated from the profile is"
        found.append(f"{said}: {which} longer for that")
    return found


def _longer(recorded: OthersLoad, parts: tuple[float, float, float] | None) -> str:
    if parts is None:
        return "live times are longer for that"
    begin_s, middle_s, end_s = parts
    taken, judged = recorded.between(begin_s, middle_s).busy, recorded.between(middle_s, end_s).busy
    if taken and not judged:
        return "simulated times, which are those of the first part of the run, are longer for that"
    if judged and not taken:
        return "live times of the part that is judged are longer for that"
    return "live and simulated times are both longer for that"
