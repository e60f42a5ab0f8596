"""Importer of libCacheSim's text traces: its CSV with or without a header, and its list of objects."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from vramlab.config.errors import InputError
from vramlab.traces.importers.layout import Layout, find_layout, is_data
from vramlab.traces.importers.missing import column_of, refuse_columns
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.table import import_columns
from vramlab.traces.trace import Trace

# Names under which cache traces keep time, object and size; without a header they stand in this order.
_COLUMNS = {
    "time": ("time", "timestamp", "clock_time", "real_time"),
    "model": ("obj_id", "object_id", "id", "object", "obj", "key"),
    "size": ("obj_size", "object_size", "size"),
}


def import_libcachesim_csv(
    source: Path | str, options: ImportOptions | None = None
) -> tuple[Trace, ImportReport]:
    """Read a trace of libCacheSim; objects become models, and the report has the sizes.

    A file of one column is a list of objects: it has an order and no times, so requests are a second apart.

    Raises
    ------
    InputError
        Naming file, line, column, what was found and what was expected.
    """
    options = options or ImportOptions()
    layout = find_layout(source, options)
    if len(layout.columns) == 1 and _plain(layout.columns[0]) not in _COLUMNS["model"]:
        layout = find_layout(source, replace(options, header=False))
    found = _named(layout) if layout.has_header else _by_place(source, layout, options)
    columns = {}
    for role, name in {**found, **options.columns}.items():
        column = column_of(layout, name)
        if column is None:
            refuse_columns(source, layout, role, name, options.columns)
        columns[role] = column
    for role in ("time", "model"):
        if role not in columns and (role == "model" or len(layout.columns) > 1):
            header = ",".join(layout.columns)
            expected = f"one of {', '.join(_COLUMNS[role])}, or --columns {role}=NAME"
            raise InputError(source, "header", header, expected)
    trace, report = import_columns(source, layout, columns, options)
    if "time" not in columns:
        note = "no times: requests are taken to be a second apart; --mode decide makes no use of times"
        report = replace(report, notes=(*report.notes, note))
    return trace, report


def _plain(name: str) -> str:
    """Return ``Object ID [bytes]`` as ``object_id``."""
    return re.sub(r"\W+", "_", re.sub(r"[\[(].*", "", name).strip()).lower()


def _named(layout: Layout) -> dict[str, str]:
    found = {}
    for role, known in _COLUMNS.items():
        present = [name for name in layout.columns if _plain(name) in known]
        if present:
            found[role] = present[0]
    return found


def _by_place(source: Path | str, layout: Layout, options: ImportOptions) -> dict[str, str]:
    """Return time, object and size in this order, if the cells are such."""
    if len(layout.columns) == 1:
        if any(len(row[0].split()) > 1 for row in layout.rows):
            expected = "an object per line; --delimiter space where blanks stand between cells"
            raise InputError(source, "", repr(layout.rows[0][0]), expected)
        return {"model": "1"}
    if "model" in options.columns and "time" in options.columns:
        return {}
    found = dict(zip(("time", "model", "size"), layout.columns, strict=False))
    cells = {role: {cell.strip() for cell in layout.cells(name)} for role, name in found.items()}
    operations = len(layout.columns) > 3 and cells["model"] <= {"0", "1"} and len(cells["size"]) > 2
    if operations or not all(map(is_data, cells.get("size", ()) or ())):
        first = ", ".join(layout.rows[0])
        expected = "time, object, size; --columns time=1,model=3,size=4 says which column is which"
        raise InputError(source, "", f"no header, and {first} in the first row", expected)
    return found
