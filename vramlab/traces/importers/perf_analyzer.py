"""Importer of what Triton's ``perf_analyzer`` leaves behind.

Either a profile export (``--profile-export-file``, JSON with a time stamp in nanoseconds per request) or a
file of request intervals (``--request-intervals``, one number of microseconds per line). Both tell of one
model.
A profile export is read as a whole: it must fit memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.rows import RowLog, open_source
from vramlab.traces.trace import Trace

DEFAULT_MODEL = "model"


def import_perf_analyzer(
    source: Path | str, options: ImportOptions | None = None
) -> tuple[Trace, ImportReport]:
    """Read the requests of all experiments of a profile export, or a file of request intervals.

    The model is ``options.model_name``, or ``model``. Experiments follow each other by their own time stamps.

    Raises
    ------
    InputError
        Naming file, row (the request), what was found and what was expected.
    """
    options = options or ImportOptions()
    log = RowLog(source, options.skip_bad_rows)
    model = options.model_name or DEFAULT_MODEL
    try:
        with open_source(source) as stream:
            text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(source, "", "bytes that are not UTF-8", "a text file") from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(source, "", str(error).splitlines()[0], "a file that is whole") from error
    times = _stamps_s(text, log) if text.lstrip().startswith("{") else _intervals_s(text, log)
    if not log.rows_read:
        raise InputError(source, "", "no requests", "at least one")
    return assemble(_pieces(times, model), log, options)


def _pieces(times_s: np.ndarray, model: str) -> Iterator[Piece]:
    yield Piece(time_s=times_s, function=np.full(len(times_s), model, dtype=object))


def _stamps_s(text: str, log: RowLog) -> np.ndarray:
    try:
        export: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(log.source, "", f"no JSON ({error})", "a profile export") from error
    try:
        requests = [request for experiment in export["experiments"] for request in experiment["requests"]]
    except (KeyError, TypeError) as error:
        raise InputError(log.source, "", f"no {error}", "experiments with their requests") from error
    stamps = []
    for row, request in enumerate(requests):
        stamp = request.get("timestamp") if isinstance(request, dict) else None
        log.rows_read += 1
        if isinstance(stamp, int) and not isinstance(stamp, bool) and 0 <= stamp < 2**63:
            stamps.append(stamp)
        else:
            log.refuse(row, "timestamp", repr(stamp), "a whole number of nanoseconds")
    nanoseconds = np.array(stamps, dtype=np.int64)
    # whole numbers until the first is taken away: float64 cannot hold an epoch's nanoseconds
    return (nanoseconds - nanoseconds[0]) / 1e9 if len(stamps) else np.empty(0)


def _intervals_s(text: str, log: RowLog) -> np.ndarray:
    times, now_us = [], 0.0
    for row, line in enumerate(text.split()):
        log.rows_read += 1
        try:
            interval = float(line)
        except ValueError:
            interval = np.nan
        if 0 <= interval < np.inf:
            now_us += interval
            times.append(now_us)
        else:
            log.refuse(row, "", repr(line), "an interval in microseconds")
    return np.array(times, dtype=np.float64) / 1e6
