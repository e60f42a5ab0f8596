"""Traces for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.files import replacing
from vramlab.traces.trace import Trace


def write_libcachesim_csv(trace: Trace, path: Path | str, sizes_bytes: Mapping[str, int]) -> dict[str, int]:
    """Write ``time,obj_id,obj_size`` as libCacheSim reads it, and give the object number of each model.

    Objects are numbered from 1 in order of first appearance (0 is none to libCacheSim); times are whole
    seconds, rounded down: the order of requests within a second is that of the rows.

    Parameters
    ----------
    sizes_bytes : mapping of str to int
        Size of each model of the trace, at least 1.

    Raises
    ------
    InputError
        If a model has no size or one that libCacheSim cannot hold, or a time is negative.
    """
    names = trace.model_names
    for name in names:
        size = sizes_bytes.get(name)
        if size is None or not 1 <= size < 2**63:
            found = "no size" if size is None else size
            raise InputError(trace.source, f"model {name}", found, "a size of at least 1 byte")
    if trace.times_s[0] < 0:
        raise InputError(trace.source, "time_s", float(trace.times_s[0]), "times of 0 or more")
    sizes = np.array([sizes_bytes[name] for name in names], dtype=np.int64)
    frame = pd.DataFrame(
        {
            "time": np.floor(trace.times_s).astype(np.int64),
            "obj_id": trace.model_codes.astype(np.int64) + 1,
            "obj_size": sizes[trace.model_codes],
        }
    )
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    return {name: number for number, name in enumerate(names, start=1)}
