"""Importers of traces that are a table with one row per request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import Priority
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.options import UNIT_S, ImportOptions, ImportReport
from vramlab.traces.importers.rows import Chunk, Clock, RowLog, csv_chunks, read_header
from vramlab.traces.trace import Trace, require_columns_of

ROLES = ("time", "model", "items", "requester", "input_key", "priority", "size")

# Where no mapping says otherwise: the columns of a trace file of ours.
OUR_COLUMNS = {"time": "time_s", **{role: role for role in ROLES[1:-1]}}

# Names under which cache traces keep time, object and size; without a header they stand in this order.
_CACHE_COLUMNS = {
    "time": ("time", "timestamp", "clock_time", "real_time"),
    "model": ("obj_id", "id", "object", "key"),
    "size": ("obj_size", "size"),
}


def import_burstgpt(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read BurstGPT (``Timestamp,Model,Request tokens,...``; seconds); a ``Session ID`` is the requester.

    Raises
    ------
    InputError
        Naming file, row, column, what was found and what was expected.
    """
    columns = {"time": "Timestamp", "model": "Model"}
    if "Session ID" in read_header(source):
        columns["requester"] = "Session ID"
    return _import(source, options or ImportOptions(), columns)


def import_azure_llm(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read the Azure LLM inference trace of 2023 (``TIMESTAMP,ContextTokens,GeneratedTokens``).

    It tells arrivals of one service: all requests name the model ``llm`` (``model_name`` names it otherwise),
    or one of `models` at random, with ``mapping="zipf"``.

    Raises
    ------
    InputError
        Naming file, row, column, what was found and what was expected.
    """
    options = options or ImportOptions()
    return _import(source, options, {"time": "TIMESTAMP"}, model_name=options.model_name or "llm", dates=True)


def import_csv(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read any CSV file with one row per request, by ``options.columns``.

    Times are numbers in ``options.time_unit``, or dates (ISO 8601) if the first one is no number.

    Raises
    ------
    InputError
        Naming file, row, column, what was found and what was expected.
    """
    options = options or ImportOptions()
    header = read_header(source)
    columns = _mapped(options.columns, {role: name for role, name in OUR_COLUMNS.items() if name in header})
    if "time" not in columns:
        columns["time"] = OUR_COLUMNS["time"]
    if "model" not in columns and options.model_name is None:
        columns["model"] = OUR_COLUMNS["model"]
    _check_there(source, header, columns)
    return _import(source, options, columns, model_name=options.model_name)


def import_libcachesim_csv(
    source: Path | str, options: ImportOptions | None = None
) -> tuple[Trace, ImportReport]:
    """Read a CSV trace of libCacheSim: time, object and, where given, size, with a header line or without.

    The report has the sizes. Objects become models.

    Raises
    ------
    InputError
        Naming file, row, column, what was found and what was expected.
    """
    options = options or ImportOptions()
    header = read_header(source)
    if all(_is_number(cell) for cell in header[:2]):
        names = [*("time", "obj_id", "obj_size")[: len(header)], *map(str, range(4, len(header) + 1))]
        found = dict(zip(("time", "model", "size"), names[:3], strict=False))
        columns = _mapped(options.columns, found)
        _check_there(source, names, columns)
        return _import(source, options, columns, header=names)
    found = {}
    for role, known in _CACHE_COLUMNS.items():
        present = [name for name in header if name.strip().lower() in known]
        if present:
            found[role] = present[0]
        elif role != "size" and role not in options.columns:
            expected = f"one of {', '.join(known)}, or --columns {role}=NAME"
            raise InputError(source, "header", ",".join(header), expected)
    columns = _mapped(options.columns, found)
    _check_there(source, header, columns)
    return _import(source, options, columns)


def _mapped(columns: Mapping[str, str], found: dict[str, str]) -> dict[str, str]:
    for role in columns:
        if role not in ROLES:
            raise InputError(
                "columns", role, "an unknown role", f"one of {', '.join(ROLES)}{nearest(role, ROLES)}"
            )
    return {**found, **columns}


def _check_there(source: Path | str, header: list[str], columns: Mapping[str, str]) -> None:
    for role, name in columns.items():
        require_columns_of(header, [name], source, f", or --columns {role}=NAME")


def _import(
    source: Path | str,
    options: ImportOptions,
    columns: dict[str, str],
    model_name: str | None = None,
    dates: bool | None = None,
    header: list[str] | None = None,
) -> tuple[Trace, ImportReport]:
    log = RowLog(source, options.skip_bad_rows)
    sizes: dict[str, int] = {}
    pieces = _pieces(source, log, options, columns, model_name, dates, header, sizes)
    return assemble(pieces, log, options, sizes)


def _pieces(
    source: Path | str,
    log: RowLog,
    options: ImportOptions,
    columns: dict[str, str],
    model_name: str | None,
    dates: bool | None,
    header: list[str] | None,
    sizes: dict[str, int],
) -> Iterator[Piece]:
    clock = Clock()
    for chunk in csv_chunks(source, log, tuple(columns.values()), header):
        if dates is None:
            first = chunk.texts(columns["time"])[0]
            dates = first is not None and not _is_number(first)
        if dates:
            time_s = clock.seconds(chunk, columns["time"], "a date such as 2023-11-16 18:17:03.98")
        else:
            time_s = chunk.numbers(columns["time"], "a finite number") * UNIT_S[options.time_unit]
        if "model" in columns:
            function = chunk.required(columns["model"], "the name of a model")
        else:
            function = np.full(len(time_s), model_name, dtype=object)
        items = None
        if "items" in columns:
            items = chunk.counts(columns["items"], "a whole number of at least 1, or nothing", default=1)
        texts: dict[str, np.ndarray] = {
            role: chunk.texts(columns[role]) for role in ("requester", "input_key") if role in columns
        }
        if "priority" in columns:
            texts["priority"] = _priorities(chunk, columns["priority"])
        if "size" in columns:
            bytes_ = chunk.counts(columns["size"], "a whole number of bytes, 0 or more", default=0)
            note_sizes(sizes, function[chunk.good], bytes_[chunk.good])
        good = chunk.good
        yield Piece(
            time_s=time_s[good],
            function=function[good],
            items=None if items is None else items[good],
            texts={role: values[good] for role, values in texts.items()},
        )


def note_sizes(sizes: dict[str, int], functions: np.ndarray, sizes_bytes: np.ndarray) -> None:
    """Keep the largest size seen of each function."""
    for name, size in pd.Series(sizes_bytes).groupby(functions, sort=False).max().items():
        sizes[str(name)] = max(sizes.get(str(name), 0), int(size))


def _priorities(chunk: Chunk, column: str) -> np.ndarray:
    texts = chunk.texts(column)
    known = {priority.value for priority in Priority}
    good = np.fromiter((text is None or text in known for text in texts), dtype=bool, count=len(texts))
    chunk.check(good, column, f"one of {', '.join(priority.value for priority in Priority)}, or nothing")
    return texts


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
