"""Importer of what Triton's ``perf_analyzer`` leaves behind.

A profile export (``--profile-export-file``) is JSON with a time stamp in nanoseconds per request. A file of
request intervals (``--request-intervals``) has one number of microseconds per line, of one model. A profile
export is read as a whole: it must fit memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.nested import value_at
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.packed import BROKEN, open_source, unreadable
from vramlab.traces.importers.rows import RowLog
from vramlab.traces.trace import Trace

DEFAULT_MODEL = "model"

_INPUTS = "request_inputs"
_MODEL_PATHS = (
    "model_name",
    "model",
    f"{_INPUTS}.payload.model",
    f"{_INPUTS}.model_name",
    f"{_INPUTS}.model",
)


def import_perf_analyzer(
    source: Path | str, options: ImportOptions | None = None
) -> tuple[Trace, ImportReport]:
    """Read the requests of all experiments of a profile export, or a file of request intervals.

    The model is ``options.model_name``, else the one that a request's inputs name, else ``model``.
    Experiments follow each other by their own time stamps.

    Raises
    ------
    InputError
        Naming file, row (the request), what was found and what was expected.
    """
    options = options or ImportOptions()
    log = RowLog(source, options.skip_bad_rows)
    try:
        with open_source(source) as stream:
            text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(source, "", "bytes that are not UTF-8", "a text file") from error
    except BROKEN as error:
        raise unreadable(source, error) from error
    if text.lstrip().startswith("{"):
        piece = _exported(text, log, options.model_name)
    else:
        times_s = _intervals_s(text, log)
        piece = Piece(times_s, np.full(len(times_s), options.model_name or DEFAULT_MODEL, dtype=object))
    if not log.rows_read:
        raise InputError(source, "", "no requests", "at least one")
    return assemble([piece], log, options)


def _exported(text: str, log: RowLog, model_name: str | None) -> Piece:
    try:
        export: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(log.source, "", f"no JSON ({error})", "a profile export") from error
    try:
        requests = [request for experiment in export["experiments"] for request in experiment["requests"]]
    except (KeyError, TypeError) as error:
        raise InputError(log.source, "", f"no {error}", "experiments with their requests") from error
    stamps, models = [], []
    for row, request in enumerate(requests):
        stamp = request.get("timestamp") if isinstance(request, dict) else None
        log.rows_read += 1
        if isinstance(stamp, int) and not isinstance(stamp, bool) and 0 <= stamp < 2**63:
            stamps.append(stamp)
            models.append(model_name or _model_of(request) or DEFAULT_MODEL)
        else:
            log.refuse(row, "timestamp", repr(stamp), "a whole number of nanoseconds")
    nanoseconds = np.array(stamps, dtype=np.int64)
    # whole numbers until the first is taken away: float64 cannot hold an epoch's nanoseconds
    times_s = (nanoseconds - nanoseconds[0]) / 1e9 if len(stamps) else np.empty(0)
    return Piece(times_s, np.array(models, dtype=object))


def _model_of(request: Any) -> str | None:
    """Return the model that a request names: of OpenAI's endpoints it stands in the body that was sent."""
    found = (value_at(request, path) for path in _MODEL_PATHS)
    return next((name for name in found if isinstance(name, str) and name), None)


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
