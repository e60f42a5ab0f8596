"""Chunks of the columns that are needed, from a table, JSON, Parquet or a text log.

A table is read by pyarrow's streaming reader and Parquet by row groups: a chunk is in memory at a time, never
the file. JSON lines and logs are read line by line; a JSON document as a whole.
"""

from __future__ import annotations

import io
import json
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from vramlab.config.errors import InputError
from vramlab.traces.files import line_of_row
from vramlab.traces.importers.database import rows_of
from vramlab.traces.importers.layout import DECORATION, Layout, open_text, parquet_file
from vramlab.traces.importers.nested import (
    OPENED,
    as_text,
    is_record,
    opened,
    path_getter,
    plain_keys,
    rows_along,
    value_at,
)
from vramlab.traces.importers.options import ImportOptions
from vramlab.traces.importers.packed import BROKEN, unreadable
from vramlab.traces.importers.rows import Chunk, RowLog

BLOCK_BYTES = 8 * 2**20
BATCH_ROWS = 100_000

Cells = dict[str, pa.Array]


def chunks(
    source: Path | str, log: RowLog, columns: Sequence[str], layout: Layout, options: ImportOptions
) -> Iterator[Chunk]:
    """Return the chunks of a source; rows that ``options.where`` does not want are no longer good.

    Parameters
    ----------
    columns : sequence of str
        Columns of `layout` that are needed, the time first; no others are read.

    Raises
    ------
    InputError
        If the source cannot be read, has no rows or more bad ones than may be dropped.
    """
    conditions = [_condition(text) for text in options.where]
    needed = list(dict.fromkeys([*columns, *(column for column, _, _ in conditions)]))
    reader = {
        "table": _of_table,
        "parquet": _of_parquet,
        "database": _of_database,
        "json lines": _of_json_lines,
        "json": _of_json,
        "log": _of_log,
    }[layout.kind]
    position = 0
    for cells in reader(source, log, needed, layout, options):
        chunk = Chunk(cells, position, log)
        log.rows_read += len(chunk.good)
        position += len(chunk.good)
        _check_utf8(chunk)
        if layout.kind == "table" and layout.place(needed[0]) == 0:
            _leave_comments(chunk, needed[0])
        if options.decimal == ",":
            _with_points(chunk)
        _keep_where(chunk, conditions)
        yield chunk
    if not position and not log.rows_read:
        raise InputError(source, "", "no rows", "at least one request")


# -- tables ------------------------------------------------------------------------------------------


def _of_table(
    source: Path | str, log: RowLog, columns: Sequence[str], layout: Layout, options: ImportOptions
) -> Iterator[Cells]:
    log.start_file(source, lambda row: _line_of(source, layout, row))
    # positions for names: a header may have a name twice, or none, where nobody needs it
    places = {name: layout.inside(name) for name in columns}
    keys = {name: str(layout.place(column)) for name, (column, _) in places.items()}
    refused: list[InputError] = []
    try:
        with open_text(source, layout.encoding) as stream:
            _skip(stream, layout.first_byte)
            reader = pa_csv.open_csv(
                stream,
                pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=BLOCK_BYTES,
                    column_names=[str(place) for place in range(len(layout.columns))],
                ),
                pa_csv.ParseOptions(
                    delimiter=layout.delimiter,
                    newlines_in_values=True,
                    invalid_row_handler=_invalid_rows(log, layout, refused),
                ),
                pa_csv.ConvertOptions(
                    include_columns=list(dict.fromkeys(keys.values())),
                    # as bytes: a bad one is of its row, and not of the file
                    column_types=dict.fromkeys(keys.values(), pa.binary()),
                    null_values=["", r"\N"],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                if batch.num_rows:
                    yield {name: _inside(batch.column(key), places[name][1]) for name, key in keys.items()}
    except (UnicodeError, *BROKEN) as error:
        if not refused and "Empty CSV" not in str(error):
            raise unreadable(source, error) from error
    if refused:
        raise refused[0]


def _skip(stream: Any, size: int) -> None:
    while size and (part := stream.read(size)):
        size -= len(part)


def _invalid_rows(
    log: RowLog, layout: Layout, refused: list[InputError]
) -> Callable[[pa_csv.InvalidRow], str]:
    """Return the handler of rows with too few or too many cells."""
    width = f"{len(layout.columns)} of the {'header' if layout.has_header else 'other rows'}"

    def handle(row: pa_csv.InvalidRow) -> str:
        if DECORATION.fullmatch(row.text):
            log.absent(row.number - 1)
        elif row.text.startswith("#"):
            log.absent(row.number - 1)
            log.rows_read += 1
            log.drop("comment", 1)
        else:
            try:
                log.unreadable(row.number - 1, f"{row.actual_columns} fields", f"the {width}")
            except InputError as error:  # raised in here it would be lost in the reader
                refused.append(error)
                return "error"
        return "skip"

    return handle


def _line_of(source: Path | str, layout: Layout, row: int) -> int:
    """Line, from 1 on, on which a row of a table begins; the rows before it are read again."""
    with open_text(source, layout.encoding) as stream:
        _skip(stream, layout.first_byte)
        lines = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
        return layout.first_line + line_of_row(lines, row)


def _check_utf8(chunk: Chunk) -> None:
    """Decode bytes; where they are no text, the row is malformed."""
    for column, cells in chunk.cells.items():
        if not pa.types.is_binary(cells.type):
            continue
        try:
            chunk.cells[column] = pc.cast(cells, pa.string())
        except pa.ArrowException:
            values = [None if cell is None else cell.decode("utf-8", "replace") for cell in cells.to_pylist()]
            chunk.cells[column] = pa.array(values, pa.string())
            for place, value in enumerate(values):
                if value is not None and "\ufffd" in value:
                    row = chunk.log.row_of(chunk.first + place)
                    expected = "text in UTF-8, or --encoding NAME, such as cp1252"
                    chunk.log.refuse(row, column, f"bytes that are not UTF-8 ({value!r})", expected)
                    chunk.good[place] = False


def _leave_comments(chunk: Chunk, first_column: str) -> None:
    """Drop comments that have as many cells as a row: no time begins with a #."""
    comments = np.asarray(pc.fill_null(pc.starts_with(chunk.strings(first_column), "#"), False))
    chunk.log.drop("comment", int(comments.sum()))
    chunk.good &= ~comments


def _with_points(chunk: Chunk) -> None:
    for column, cells in chunk.cells.items():
        if pa.types.is_string(cells.type):
            replaced = pc.replace_substring_regex(cells, r"^(\s*[-+]?\d+),(\d+\s*)$", r"\1.\2")
            chunk.cells[column] = replaced


# -- Parquet -----------------------------------------------------------------------------------------


def _of_parquet(
    source: Path | str, log: RowLog, columns: Sequence[str], layout: Layout, options: ImportOptions
) -> Iterator[Cells]:
    log.start_file(source)
    try:
        with parquet_file(source) as file:
            names = set(file.schema_arrow.names)
            paths = {name: (name, "") if name in names else layout.inside(name) for name in columns}
            read = list(dict.fromkeys(column for column, _ in paths.values()))
            for batch in file.iter_batches(batch_size=5 * BATCH_ROWS, columns=read):
                yield {name: _inside(batch.column(column), path) for name, (column, path) in paths.items()}
    except BROKEN as error:
        raise unreadable(source, error) from error


def _inside(cells: pa.Array, path: str) -> pa.Array:
    """Return what stands at a path in each cell, of a struct's fields or of JSON."""
    while path and pa.types.is_struct(cells.type):
        name, _, path = path.partition(".")
        cells = pc.struct_field(cells, name)
    if not path:
        return cells
    texts = (
        cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell for cell in cells.to_pylist()
    )
    return _array([value_at(text, path) for text in texts])


# -- databases ---------------------------------------------------------------------------------------


def _of_database(
    source: Path | str, log: RowLog, columns: Sequence[str], layout: Layout, options: ImportOptions
) -> Iterator[Cells]:
    log.start_file(source)
    places = [layout.inside(name) for name in columns]
    for rows in rows_of(source, layout.table, [column for column, _ in places], BATCH_ROWS):
        cells = _arrays(range(len(columns)), rows)
        yield {
            name: _inside(cells[i], path)
            for i, (name, (_, path)) in enumerate(zip(columns, places, strict=True))
        }


# -- JSON and logs -----------------------------------------------------------------------------------


def _of_json_lines(
    source: Path | str, log: RowLog, columns: Sequence[str], layout: Layout, options: ImportOptions
) -> Iterator[Cells]:
    lines = array("q")
    log.start_file(source, lambda row: lines[row])
    getters = [path_getter(name, columns[0]) for name in columns]
    keys: list[tuple[str, ...] | None] = [None]
    batch: list[list[Any]] = []
    for number, text in text_lines(source, layout.encoding):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
            if not is_record(record):
                raise ValueError
        except ValueError:
            if not text.endswith("\n") and lines:
                log.drop("cut off at the end of the file", 1)
                log.rows_read += 1
                continue
            lines.append(number)
            log.unreadable(len(lines) - 1, repr(text.strip()), "a JSON object")
            continue
        row = _plain_row(record, keys)
        if row is None:
            # a record of another build, or one with rows in it: four times as long
            rows = [[get(scopes) for get in getters] for scopes in rows_along(record, columns[0])]
            keys = [plain_keys(record, name) for name in columns]
        else:
            rows = [row]
        batch += rows
        lines.extend([number] * len(rows))
        if len(batch) >= BATCH_ROWS:
            yield _arrays(columns, batch)
            batch = []
    if batch:
        yield _arrays(columns, batch)


def _plain_row(record: Any, keys: list[tuple[str, ...] | None]) -> list[Any] | None:
    """Return the cells of a record by the keys that led to those of the last; None if they lead nowhere."""
    row = []
    for path in keys:
        if path is None:
            return None
        value = record
        try:
            for key in path:
                value = opened(value) if key is OPENED else value[key]
        except (KeyError, TypeError, IndexError):
            return None
        row.append(value)
    return row


def _of_json(
    source: Path | str, log: RowLog, columns: Sequence[str], layout: Layout, options: ImportOptions
) -> Iterator[Cells]:
    log.start_file(source)
    getters = [path_getter(name, columns[0]) for name in columns]
    rows = rows_along(layout.document, columns[0])
    while batch := [[get(scopes) for get in getters] for scopes in islice(rows, BATCH_ROWS)]:
        yield _arrays(columns, batch)


def _of_log(
    source: Path | str, log: RowLog, columns: Sequence[str], layout: Layout, options: ImportOptions
) -> Iterator[Cells]:
    lines = array("q")
    log.start_file(source, lambda row: lines[row])
    pattern = re.compile(options.regex or "")
    batch: list[list[Any]] = []
    others, first = 0, None
    for number, text in text_lines(source, layout.encoding):
        found = pattern.search(text)
        if found is None:
            first = text.rstrip() if first is None else first
            others += 1
            continue
        lines.append(number)
        batch.append([found[name] or None for name in columns])
        if len(batch) >= BATCH_ROWS:
            yield _arrays(columns, batch)
            batch = []
    log.rows_read += others
    log.drop("not of the pattern", others)
    if batch:
        yield _arrays(columns, batch)
    if not lines and first is not None:
        raise InputError(source, "--regex", f"no line that it finds; the first is {first!r}", "one that does")


def text_lines(source: Path | str, encoding: str) -> Iterator[tuple[int, str]]:
    """Return lines with their numbers, from 1 on."""
    try:
        with open_text(source, encoding) as stream:
            text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace")
            yield from enumerate(text, 1)
    except (UnicodeError, *BROKEN) as error:
        raise unreadable(source, error) from error


def _arrays(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> dict[Any, pa.Array]:
    return {name: _array(list(values)) for name, values in zip(columns, zip(*rows, strict=True), strict=True)}


def _array(values: list[Any]) -> pa.Array:
    types = {type(value) for value in values} - {type(None)}
    if types in ({str}, {int}, {float}):
        try:
            return pa.array(values)
        except (OverflowError, pa.ArrowException):
            pass  # a number that 64 bits cannot hold is read as text is
    return pa.array([None if value is None else as_text(value) for value in values], pa.string())


# -- conditions --------------------------------------------------------------------------------------


def _condition(text: str) -> tuple[str, bool, str]:
    """Return the column, whether it shall be the value or not, and the value."""
    found = re.match(r"([^=!]+?)\s*(!?=)(.*)", text, re.DOTALL)
    assert found is not None  # the options have checked it
    return found[1].strip(), found[2] == "=", found[3].strip()


def _keep_where(chunk: Chunk, conditions: Sequence[tuple[str, bool, str]]) -> None:
    for column, wanted in dict.fromkeys((column, wanted) for column, wanted, _ in conditions):
        values = [value for name, how, value in conditions if (name, how) == (column, wanted)]
        texts = pc.utf8_trim_whitespace(chunk.strings(column).fill_null(""))
        among = pc.is_in(texts, pa.array(values)).to_numpy(zero_copy_only=False)
        sign = "=" if wanted else "!="
        reason = f"not where {column}{sign}{f' or {column}{sign}'.join(values)}"
        out = chunk.good & (among != wanted)
        if out.any() and not chunk.log.hint:
            there = ", ".join(map(repr, texts.unique().to_pylist()[:5]))
            chunk.log.hint = f"; {column} is {there}"
        chunk.log.drop(reason, int(out.sum()))
        chunk.good &= ~out
