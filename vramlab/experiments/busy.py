"""What other programs did to a comparison of live with simulated times, and which of both are longer for it.

Live times are longer where the recording was disturbed. Simulated ones are longer where what they were taken
from was: the profile, or the recording itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vramlab.live.machine_load import OthersLoad, busy_cores


def disturbances(
    environment: Mapping[Any, Any],
    profiled: Mapping[Any, Any] | None,
    used: tuple[float, float] | None = None,
) -> list[str]:
    """Say what other programs did and which times are longer for it, a sentence each; none where they idled.

    Parameters
    ----------
    environment : mapping
        Of the run.
    profiled : mapping or None
        The machine of the profile that simulated times are taken from; None: from none.
    used : (float, float), optional
        Where simulated times are those of the run itself: from when to when, in seconds of the run, they are
        taken from it, and it is judged.
    """
    found = []
    recorded = OthersLoad.noted(environment)
    if (recorded if used is None else recorded.between(*used)).busy:
        which = "live times are" if used is None else "live and simulated times are both"
        found.append(f"{recorded.said('recorded')}: {which} longer for that")
    others = None if profiled is None else profiled.get("other_cores")
    cores = recorded.machine_cores
    if others is not None and others > busy_cores(cores):
        said = OthersLoad(others, machine_cores=cores).said("profiled")
        which = "simulated times are" if used is None else "what is simulated from the profile is"
        found.append(f"{said}: {which} longer for that")
    return found
