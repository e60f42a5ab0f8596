"""Rows of a source in chunks of text, with a bounded number of malformed ones dropped.

A CSV file is read by pyarrow's streaming reader: a chunk is in memory at a time, never the file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from vramlab.config.errors import InputError
from vramlab.traces.files import EXACT_NUMBERS
from vramlab.traces.importers.options import counted
from vramlab.traces.trace import cell_text, require_columns_of

BLOCK_BYTES = 8 * 2**20

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}


class RowLog:
    """What was read and dropped of one source.

    Parameters
    ----------
    source : Path or str
        The file, for messages.
    allowed : int
        So many malformed rows may be dropped.
    """

    def __init__(self, source: Path | str, allowed: int) -> None:
        self.source = source
        self.rows_read = 0
        self.dropped: dict[str, int] = {}
        self.first_malformed: str | None = None
        self._allowed = allowed
        self._malformed = 0
        self._unreadable: list[int] = []  # rows that never reach a chunk, counted from 0

    def start_file(self, path: Path | str) -> None:
        """Go on with another file of the same source: rows are counted per file."""
        self.source, self._unreadable = path, []

    def drop(self, reason: str, count: int) -> None:
        """Count rows that were dropped for a reason other than being malformed."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + int(count)

    def refuse(self, row: int, column: str, found: str, expected: str) -> None:
        """Count a malformed row (from 0), or raise the InputError if no more may be dropped."""
        where = f"row {row + 1} column {column}" if column else f"row {row + 1}"
        self._malformed += 1
        if self._malformed > self._allowed:
            before = f"{counted(self._allowed, 'bad row')} dropped before it; " if self._allowed else ""
            hint = f" ({before}--skip-bad-rows N drops up to N)"
            raise InputError(self.source, where, found, expected + hint)
        self.drop("malformed", 1)
        if self.first_malformed is None:
            self.first_malformed = f"the first malformed row: {where}: found {found}, expected {expected}"

    def unreadable(self, row: int, found: str, expected: str) -> None:
        """Count a row that has no cells to speak of."""
        self._unreadable.append(row)
        self.rows_read += 1
        self.refuse(row, "", found, expected)

    def row_of(self, position: int) -> int:
        """Row of the file (from 0) that stands at a position among the readable ones."""
        row = position
        for unreadable in self._unreadable:
            if unreadable > row:
                break
            row += 1
        return row


@dataclass
class Chunk:
    """Some rows of a source: text cells, missing where empty; `good` says which are still in."""

    table: pd.DataFrame
    first: int
    log: RowLog
    good: np.ndarray

    def check(self, good: np.ndarray, column: str, expected: str) -> None:
        """Drop the rows that are not `good`, or raise the InputError for the first of them."""
        for position in np.flatnonzero(self.good & ~good):
            row = self.log.row_of(self.first + int(position))
            self.log.refuse(row, column, cell_text(self.table[column].iloc[position]), expected)
        self.good &= good

    def numbers(self, column: str, expected: str, at_least: float = -np.inf) -> np.ndarray:
        """Column as finite float64; what is none is malformed."""
        numbers = pd.to_numeric(self.table[column], errors="coerce")
        values = numbers.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
        finite = np.isfinite(values)
        if not EXACT_NUMBERS:
            values[finite] = [float(text) for text in self.table[column].to_numpy()[finite]]
        self.check(finite & (values >= at_least), column, expected)
        return values

    def counts(self, column: str, expected: str, default: int) -> np.ndarray:
        """Column as int64 of at least `default`, which also stands in for a missing cell."""
        cells = self.table[column]
        values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        good = (values >= default) & (values <= 2**53) & (values == np.floor(values))
        self.check(good | cells.isna().to_numpy(), column, expected)
        return np.where(good, values, default).astype(np.int64)

    def texts(self, column: str) -> np.ndarray:
        """Column of text, None where missing."""
        series = self.table[column].astype(object)
        return series.where(series.notna(), None).to_numpy()

    def required(self, column: str, expected: str) -> np.ndarray:
        """Column of text; a missing cell is malformed."""
        self.check(self.table[column].notna().to_numpy(), column, expected)
        return self.texts(column)


class Clock:
    """Seconds from the first date that is read, exact to the nanosecond."""

    def __init__(self) -> None:
        self._zero_ns: int | None = None

    def seconds(self, chunk: Chunk, column: str, expected: str, pattern: str = "ISO8601") -> np.ndarray:
        """Column of dates as seconds; what is none is malformed."""
        dates = pd.to_datetime(chunk.table[column], format=pattern, errors="coerce", utc=True)
        good = dates.notna().to_numpy()
        chunk.check(good, column, expected)
        nanoseconds = dates.dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
        if self._zero_ns is None and good.any():
            self._zero_ns = int(nanoseconds[np.argmax(good)])
        return (nanoseconds - (self._zero_ns or 0)) / 1e9


def read_header(source: Path | str) -> list[str]:
    """First line of a CSV file.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or has a column twice.
    """
    try:
        with _open(source) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            header = next(filter(None, csv.reader(text)), [])
    except UnicodeDecodeError as error:
        raise InputError(source, "", "bytes that are not UTF-8", "a CSV file in UTF-8") from error
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise _unreadable(source, error) from error
    if not header:
        raise InputError(source, "", "an empty file", "a CSV file with a header line")
    for place, column in enumerate(header):
        if column in header[:place]:
            raise InputError(source, f"column {column}", "the column twice", "each column once")
    return header


def csv_chunks(
    source: Path | str,
    log: RowLog,
    columns: Sequence[str],
    header: list[str] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Chunk]:
    """Chunks of a CSV file, also of a compressed one (``.gz``, ``.zst``, ``.bz2``).

    Parameters
    ----------
    columns : sequence of str
        Columns that are needed; no others are read.
    header : list of str, optional
        Names for the columns of a file that has no header line.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, has no rows or more bad ones than may be dropped.
    """
    names = header or read_header(source)
    require_columns_of(names, tuple(columns), source)
    refused: list[InputError] = []

    def invalid(row: pa_csv.InvalidRow) -> str:
        # the reader counts from 1, and the header line with the rows
        try:
            log.unreadable(
                row.number - (1 if header else 2),
                f"{row.actual_columns} fields",
                f"the {row.expected_columns} of the header",
            )
        except InputError as error:  # raised in here it would be lost in the reader
            refused.append(error)
            return "error"
        return "skip"

    position = 0
    try:
        with _open(source) as stream:
            reader = pa_csv.open_csv(
                stream,
                pa_csv.ReadOptions(use_threads=False, block_size=block_bytes, column_names=header),
                pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=invalid),
                pa_csv.ConvertOptions(
                    include_columns=list(dict.fromkeys(columns)),
                    column_types=dict.fromkeys(columns, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                if not batch.num_rows:
                    continue
                log.rows_read += batch.num_rows
                yield Chunk(batch.to_pandas(), position, log, np.ones(batch.num_rows, dtype=bool))
                position += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        if refused:
            raise refused[0] from None
        raise _unreadable(source, error) from error
    if refused:
        raise refused[0]
    if not position and not log.rows_read:
        raise InputError(source, "", "no rows", "at least one request")


def open_source(source: Path | str) -> pa.NativeFile:
    """Open a file for reading bytes, unpacking by suffix.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    try:
        return _open(source)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(source, error) from error


def _open(source: Path | str) -> pa.NativeFile:
    return pa.input_stream(str(source), compression=_COMPRESSIONS.get(Path(source).suffix.lower()))


def _unreadable(source: Path | str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(source, "", "no such file or directory", "a file that can be read")
    text = (str(error).splitlines() or ["nothing readable"])[0]
    if "invalid UTF8" in text:
        return InputError(source, "", "bytes that are not UTF-8", "a CSV file in UTF-8")
    return InputError(source, "", text, "a file that can be read, and is what its suffix says")
