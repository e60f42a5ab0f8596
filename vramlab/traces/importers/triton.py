"""Importer of Triton's trace files (``--trace-config mode=triton``), which are JSON and read as a whole.

Rows of one ``id`` belong together: one names the model, others hold time stamps. A request came at its
``REQUEST_START``. Of an ensemble the steps are requests (their ``parent_id`` is the ensemble's), for only
they have a model in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.layout import find_layout
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.rows import RowLog
from vramlab.traces.trace import Trace

START = "REQUEST_START"


def import_triton(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read a trace file of Triton; requests without a model or a start are malformed.

    Raises
    ------
    InputError
        Naming file, row, what was found and what was expected.
    """
    options = options or ImportOptions()
    log = RowLog(source, options.skip_bad_rows)
    rows = find_layout(source, options).document
    if isinstance(rows, list) and all(isinstance(row, list) for row in rows):
        rows = [row for part in rows for row in part]  # written once a flush, one after the other
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) and "id" in row for row in rows)):
        raise InputError(source, "", "no list of rows with an id", "a trace file of Triton, which is JSON")
    return assemble(_pieces(rows, log), log, options)


def _pieces(rows: list[dict[str, Any]], log: RowLog) -> Iterator[Piece]:
    models: dict[Any, str] = {}
    starts: dict[Any, int] = {}
    first_row: dict[Any, int] = {}
    parents = {row["parent_id"] for row in rows if row.get("parent_id")}
    for place, row in enumerate(rows):
        first_row.setdefault(row["id"], place)
        if "model_name" in row:
            models[row["id"]] = str(row["model_name"])
        for stamp in row.get("timestamps") or ():
            if stamp.get("name") == START and isinstance(stamp.get("ns"), int):
                starts[row["id"]] = stamp["ns"]
    log.rows_read = len(rows)
    good = []
    for request, place in first_row.items():
        if request in parents:
            log.drop("ensemble, whose steps are requests", 1)
        elif request not in models:
            log.refuse(place, "model_name", "nothing", f"a row that names the model of id {request}")
        elif request not in starts:
            log.refuse(place, "timestamps", f"no {START}", "one for each id")
        else:
            good.append(request)
    zero = starts[good[0]] if good else 0
    time_s = np.array([starts[request] - zero for request in good], dtype=np.float64) / 1e9
    yield Piece(time_s, np.array([models[request] for request in good], dtype=object))
