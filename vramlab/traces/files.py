"""Reading and writing trace files: Parquet or CSV by suffix, with ``.gz`` around either."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vramlab.config.bundled import there
from vramlab.config.errors import InputError
from vramlab.config.files import replacing
from vramlab.traces.texts import TEXT_COLUMNS
from vramlab.traces.trace import Trace

_ROWS = 1024 * 1024  # of a row group, whose texts are in memory at a time

# A trace's metadata stand in a Parquet file's under keys with this prefix.
_METADATA_PREFIX = b"vramlab."

# From 3.1 on pandas always reads floats exactly, and warns when it is asked to.
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
EXACT_NUMBERS = _PANDAS >= (3, 1)
_EXACT_FLOATS: dict[str, Any] = {} if EXACT_NUMBERS else {"float_precision": "round_trip"}


def read_trace(path: Path | str) -> Trace:
    """Read and validate a trace file (``.parquet``, ``.csv``, each also with ``.gz``).

    Raises
    ------
    InputError
        If the file cannot be read, is not what its suffix says, or holds no valid trace.
    """
    if _format_of(path) == ".csv":
        frame = read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, "str"))
        try:
            return Trace.from_frame(frame, str(path))
        except InputError as error:
            raise _with_line(error, path) from None
    frame, metadata = _read_parquet(path)
    return Trace.from_frame(frame, str(path), metadata)


def write_trace(trace: Trace, path: Path | str) -> None:
    """Write a trace in the format of `path`'s suffix; the same trace gives the same bytes.

    Parquet keeps the trace's metadata, CSV has no place for it.

    Raises
    ------
    InputError
        If the suffix is unknown, the path cannot be written, or a kept column has no place in the format.
    """
    data = _csv_bytes(trace) if _format_of(path) == ".csv" else _parquet_bytes(trace, path)
    if _is_gzip(path):
        data = gzip.compress(data, compresslevel=6, mtime=0)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def line_of_row(lines: Iterable[str], row: int) -> int:
    """Line, from 1 on, on which a row of a CSV file begins.

    Parameters
    ----------
    lines : iterable of str
        The file's; empty ones are no rows, and a cell in quotes may have several.
    row : int
        From 0 on; the header counts as one.
    """
    first, quoted = 0, False
    for number, line in enumerate(lines, 1):
        if not quoted:
            first = number
            if not line.strip("\r\n"):
                continue
        quoted ^= bool(line.count('"') % 2)
        row -= not quoted
        if row < 0:
            break
    return first


def _with_line(error: InputError, path: Path | str) -> InputError:
    """Return the error for a row of a CSV file, with its line in an editor."""
    found = re.match(r"row (\d+)", error.key)
    if found is None:
        return error
    text = io.StringIO(_read_bytes(path).decode("utf-8-sig", "replace"), newline="")
    expected = f"{error.expected} (line {line_of_row(text, int(found[1]))} of the file)"
    return InputError(path, error.key, error.found, expected)


def read_csv(path: Path | str, dtype: dict[str, str] | str | None = None) -> pd.DataFrame:
    """Read a CSV file, unpacking ``.gz``; only an empty cell is missing (``NA`` and ``None`` are text).

    Parameters
    ----------
    path : Path or str
        The file; UTF-8, with a header line.
    dtype : dict or str, optional
        As for :func:`pandas.read_csv`.

    Raises
    ------
    InputError
        If the file cannot be read or is malformed.
    """
    data = _read_bytes(path)
    try:
        frame: pd.DataFrame = pd.read_csv(
            io.BytesIO(data),
            dtype=dtype,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
            low_memory=False,
            **_EXACT_FLOATS,
        )
    except pd.errors.EmptyDataError as error:
        raise InputError(path, "", "an empty file", "a CSV file with a header line") from error
    except UnicodeDecodeError as error:
        raise InputError(path, "", "bytes that are not UTF-8", "a CSV file in UTF-8") from error
    except ValueError as error:  # pandas' ParserError is one
        problem = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise InputError(path, "", problem, "a well-formed CSV file") from error
    _check_header(data, path)
    return frame


def _check_header(data: bytes, path: Path | str) -> None:
    """Refuse what pandas would mend in silence: it makes an index of surplus fields and renames columns."""
    lines = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""))
    try:
        header, first = ([*itertools.islice(filter(None, lines), 2), []])[:2]
    except csv.Error as error:
        raise InputError(path, "", error, "cells that a CSV reader takes") from error
    if len(first) > len(header):
        found = f"{len(first)} fields under {len(header)} column names"
        raise InputError(path, "row 1", found, "one field per column")
    for place, column in enumerate(header):
        if column in header[:place]:
            raise InputError(path, f"column {column}", "the column twice", "each column once")


def _read_parquet(path: Path | str) -> tuple[pd.DataFrame, dict[str, str]]:
    data = _read_bytes(path)
    try:
        table = pq.read_table(io.BytesIO(data), read_dictionary=list(TEXT_COLUMNS))
        metadata = {
            key.removeprefix(_METADATA_PREFIX).decode(): value.decode()
            for key, value in (table.schema.metadata or {}).items()
            if key.startswith(_METADATA_PREFIX)
        }
        return table.to_pandas(), metadata
    except (pa.ArrowException, OSError, ValueError) as error:
        problem = (str(error).splitlines() or ["nothing readable"])[0]
        raise InputError(path, "", problem, "a Parquet file that is whole") from error


def _read_bytes(path: Path | str) -> bytes:
    try:
        data = there(path).read_bytes()
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        raise InputError(path, "", found, "a trace file that can be read") from error
    if not _is_gzip(path):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, "", f"broken gzip data ({error})", "a gzip file that is whole") from error


def _csv_bytes(trace: Trace) -> bytes:
    text = trace.frame.to_csv(index=False, lineterminator="\n")
    # before 3.13 Python's csv writer leaves a lone carriage return unquoted, and it would end the row
    if "\r" in text:
        text = trace.frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode("utf-8")


def _parquet_bytes(trace: Trace, path: Path | str) -> memoryview:
    buffer = io.BytesIO()
    try:
        table = pa.Table.from_pandas(trace.frame, preserve_index=False)
        # pandas' own metadata names its version: without it the bytes depend on the trace alone
        metadata = {_METADATA_PREFIX + key.encode(): value for key, value in sorted(trace.metadata.items())}
        schema = pa.schema(
            [
                column.with_type(pa.string()) if column.name in TEXT_COLUMNS else column
                for column in table.schema
            ],
            metadata or None,
        )
        with pq.ParquetWriter(buffer, schema, compression="zstd") as file:
            for first in range(0, len(trace), _ROWS):
                file.write_table(table.slice(first, _ROWS).cast(schema), _ROWS)
    except pa.ArrowException as error:
        raise InputError(path, "", str(error).splitlines()[0], "columns that Parquet can hold") from error
    return buffer.getbuffer()


def _format_of(path: Path | str) -> str:
    if not isinstance(path, str | os.PathLike):
        raise InputError("trace", "", repr(path)[:60], "a path of a trace file, or a Trace")
    name = Path(path).name.lower().removesuffix(".gz")
    for suffix in (".csv", ".parquet"):
        if name.endswith(suffix):
            return suffix
    found = f"suffix {''.join(Path(path).suffixes[-2:])!r}"
    raise InputError(path, "", found, ".parquet, .csv, .parquet.gz or .csv.gz")


def _is_gzip(path: Path | str) -> bool:
    return Path(path).name.lower().endswith(".gz")
