"""Measured times of effects, as the profiler takes them and the simulator draws from them: one Parquet file.

============ ===========================================================================================
column       meaning
============ ===========================================================================================
``model``    in the inventory
``target``   ``gpu`` or ``cpu``
``what``     ``load`` (as it is served, with the first run if that is the setting), ``cold load`` (the file
             not in the system's cache), ``infer`` (from the event loop to its end in a worker's thread),
             ``first infer`` (after a load without one), ``warm-up`` (the first run within a load),
             ``unload``, ``infer after silence`` (on a GPU); other kinds are of earlier versions
``items``    along the batch axis
``seconds``  it took
``pause_s``  how long the model had not run before an ``infer``, or nothing before one after silence
``beside``   what ran all the while on another thread (in profiles of earlier versions); empty: nothing
============ ===========================================================================================

The file also keeps facts of the machine (``cpu_count``, ``device_cores``...), as ``DataFrame.attrs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.files import replacing


class Sample(NamedTuple):
    """One measurement; see the module's table."""

    model: str
    target: str
    what: str
    items: int
    seconds: float
    pause_s: float = 0.0
    beside: str = ""


def samples_frame(samples: Iterable[Sample], machine: Mapping[str, Any]) -> pd.DataFrame:
    """Make one table of measurements, with the facts of their machine."""
    frame = pd.DataFrame(samples, columns=list(Sample._fields))
    frame.attrs = dict(machine.items())
    return frame


def samples_path(inventory: Path | str) -> Path:
    """Name the file of an inventory's measurements, which stands beside it."""
    return Path(inventory).with_suffix(".samples.parquet")


def write_samples(frame: pd.DataFrame, path: Path | str) -> None:
    """Write measurements, whole or not at all."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_samples(path: Path | str) -> pd.DataFrame:
    """Read measurements.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds times that are none.
    """
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(path, "", error, "a Parquet file that `vramlab profile` wrote") from error
    missing = [name for name in Sample._fields if name not in frame]
    if missing:
        raise InputError(path, missing[0], "no such column", f"the columns {', '.join(Sample._fields)}")
    if not (frame["seconds"] >= 0).all():
        raise InputError(path, "seconds", "a time below 0, or none", "times in seconds")
    return frame
