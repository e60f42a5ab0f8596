"""How a source is written: found by looking at its first bytes, unless the options say it.

A :class:`Layout` is all that a reader (:mod:`~vramlab.traces.importers.reading`) has to know. Here nothing is
read beyond the sample, and no cell is given a meaning.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from vramlab.config.errors import InputError
from vramlab.traces.importers.database import is_database, table_of
from vramlab.traces.importers.nested import as_text, first_value, paths_of
from vramlab.traces.importers.options import ImportOptions
from vramlab.traces.importers.packed import BROKEN, open_source, unreadable

SAMPLE_BYTES = 256 * 1024
_LOOKED_AT = 200  # rows of the sample
DELIMITERS = (",", ";", "|", "\t")

# Rules that terminals draw round a table, and what a database's client writes below it.
DECORATION = re.compile(r"\s*(?:[|+:=\s-]*--[|+:=\s-]*|\(\d+ rows?\))?\s*")

_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_JSON = re.compile(r"\s*(?:\[\s*[\[{\]]|\{\s*[\"}])")
_DATA = re.compile(r"\s*(?:[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?|.*(?:\d{4}[-/.]|\d:\d\d|\d{8}).*)\s*", re.DOTALL)


@dataclass(frozen=True)
class Layout:
    """How a source is written.

    Parameters
    ----------
    kind : {"table", "json lines", "json", "parquet", "database", "log"}
        ``json`` is a document that is read as a whole; ``database`` is a table of an SQLite file; ``log`` is
        lines of text.
    columns : tuple of str
        Names of the columns, blanks round them taken off; their numbers where a table has no header. Of JSON
        the paths that the first record has.
    has_header : bool
        Whether the source names its columns.
    delimiter : str
        Of a table.
    first_line : int
        Line of the first row, counted from 0.
    first_byte : int
        Where it begins, in UTF-8.
    rows : tuple of tuple of str
        Rows of the sample, as text.
    encoding : str
        Of the text.
    document : object
        JSON that is read as a whole.
    table : str
        Of a database.
    """

    kind: Literal["table", "json lines", "json", "parquet", "database", "log"]
    columns: tuple[str, ...] = ()
    has_header: bool = True
    delimiter: str = ","
    first_line: int = 0
    first_byte: int = 0
    rows: tuple[tuple[str, ...], ...] = ()
    encoding: str = "utf-8"
    document: Any = field(default=None, repr=False, compare=False)
    table: str = ""

    def place(self, column: str) -> int:
        """Return the position of a column, of `columns` or by number."""
        return self.columns.index(column) if column in self.columns else int(column) - 1

    def inside(self, name: str) -> tuple[str, str]:
        """Return the column of a table, and the path in its cells where they are JSON (``payload.model``)."""
        if name in self.columns or name.isdigit():
            return name, ""
        within = [column for column in self.columns if column and name.startswith(f"{column}.")]
        column = max(within, key=len, default=name)
        return column, name[len(column) + 1 :]

    def cells(self, column: str) -> list[str]:
        """Return the cells of the sample in a column of `columns`."""
        place = self.place(column)
        return [row[place] for row in self.rows if place < len(row)]


def find_layout(source: Path | str, options: ImportOptions) -> Layout:
    """Look at the first bytes of a source.

    Raises
    ------
    InputError
        If it cannot be read, is empty, or is none of the kinds that are known.
    """
    if options.regex is not None:
        return Layout("log", tuple(re.compile(options.regex).groupindex), encoding=_encoding(source, options))
    if is_database(source):
        table, columns, rows = table_of(source, options.table)
        return Layout("database", columns, rows=rows, table=table)
    head = _head(source)
    if head.startswith(b"PAR1"):
        return _of_parquet(source)
    encoding = options.encoding or _bom(head) or "utf-8"
    text = _sample_text(source, encoding)
    if "\0" in text:
        raise InputError(source, "", "bytes that are no text", "CSV, JSON, Parquet or a text log")
    if not text.strip():
        raise InputError(source, "", "an empty file", "a CSV file with a header line")
    if re.match(r"\s*<[?!A-Za-z]", text):
        expected = "a table (JMeter writes one with -Jjmeter.save.saveservice.output_format=csv)"
        raise InputError(source, "", "XML or HTML", expected)
    if _JSON.match(text.removeprefix("\ufeff")):
        return _of_json(source, text, encoding)
    return _of_table(source, text, encoding, options)


def open_text(source: Path | str, encoding: str) -> Any:
    """Open a source for reading UTF-8 bytes without a byte order mark, whatever it is written in."""
    stream = open_source(source)
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig", "ascii"):
        return pa.transcoding_input_stream(stream, encoding, "utf-8")
    return stream


def parquet_file(source: Path | str) -> pq.ParquetFile:
    """Open a Parquet file; a packed one is read as a whole, for its table of contents stands at the end."""
    stream = open_source(source)
    return pq.ParquetFile(stream if stream.seekable() else pa.BufferReader(stream.read()))


def is_data(cell: str) -> bool:
    """Return whether a cell is a number or has a date or time in it, which no name of a column is."""
    return bool(_DATA.fullmatch(cell))


# -- the sample --------------------------------------------------------------------------------------


def _head(source: Path | str) -> bytes:
    try:
        with open_source(source) as stream:
            return bytes(stream.read(64))
    except BROKEN as error:
        raise unreadable(source, error) from error


def _bom(head: bytes) -> str | None:
    return next((name for mark, name in _BOMS.items() if head.startswith(mark)), None)


def _encoding(source: Path | str, options: ImportOptions) -> str:
    return options.encoding or _bom(_head(source)) or "utf-8"


def _sample_text(source: Path | str, encoding: str) -> str:
    """Return whole lines from the start; a bad byte in them may be of a column that nobody needs."""
    parts, missing = [], SAMPLE_BYTES
    try:
        with open_text(source, encoding) as stream:
            while missing and (part := stream.read(missing)):
                parts.append(bytes(part))
                missing -= len(part)
    except (UnicodeError, *BROKEN) as error:
        raise unreadable(source, error) from error
    data = b"".join(parts)
    if not missing and b"\n" in data:
        data = data[: data.rindex(b"\n") + 1]
    return data.decode("utf-8", errors="surrogateescape")


def _lines(text: str) -> list[str]:
    return list(io.StringIO(text, newline=""))


# -- kinds -------------------------------------------------------------------------------------------


def _of_parquet(source: Path | str) -> Layout:
    try:
        with parquet_file(source) as file:
            schema = file.schema_arrow
            first = next(file.iter_batches(batch_size=100), None)
    except BROKEN as error:
        raise unreadable(source, error) from error
    rows = [] if first is None else [tuple(map(as_text, row.values())) for row in first.to_pylist()]
    return Layout("parquet", tuple(schema.names), rows=tuple(rows))


def _of_json(source: Path | str, text: str, encoding: str) -> Layout:
    first = next(line for line in _lines(text) if line.strip("\ufeff \t\r\n"))
    try:
        record = json.loads(first.removeprefix("\ufeff"))
    except ValueError:
        record = None
    if isinstance(record, dict):
        records = list(_records(_lines(text)[:_LOOKED_AT]))
        names = list(dict.fromkeys(path for record in records for path in paths_of(record)))
        rows = [tuple(as_text(first_value(record, name)) for name in names) for record in records]
        return Layout("json lines", tuple(names), rows=tuple(rows), encoding=encoding)
    try:
        with open_text(source, encoding) as stream:
            document = _values(bytes(stream.read()).decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            source, f"line {error.lineno}", f"no JSON ({error.msg})", "a JSON document"
        ) from error
    except (UnicodeError, *BROKEN) as error:
        raise unreadable(source, error) from error
    return Layout(
        "json", tuple(paths_of(document)), rows=_row(document), encoding=encoding, document=document
    )


def _records(lines: Sequence[str]) -> Iterator[Any]:
    for line in lines:
        try:
            record = json.loads(line.removeprefix("\ufeff"))
        except ValueError:
            continue  # the reader names it
        if isinstance(record, dict):
            yield record


def _values(text: str) -> Any:
    """Return the document; where objects just follow each other, the list of them."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while rest := re.compile(r"\s*\S").match(text, place):
        value, place = decoder.raw_decode(text, rest.end() - 1)
        found.append(value)
    return found[0] if len(found) == 1 else found


def _row(record: Any) -> tuple[tuple[str, ...], ...]:
    """Return the first row of a document: of each path what stands there first."""
    return (tuple(as_text(first_value(record, path)) for path in paths_of(record)),)


def _of_table(source: Path | str, text: str, encoding: str, options: ImportOptions) -> Layout:
    lines = _lines(text.removeprefix("\ufeff"))
    mark_bytes = 3 * text.startswith("\ufeff")
    delimiter = options.delimiter
    if match := re.fullmatch(r"sep=(.)\s*", lines[0]):  # Excel's own way to name it
        delimiter = delimiter or match[1]
    comments = _leading(lines, bool(match))
    delimiter = delimiter or _delimiter(lines[len(comments) :] or comments)
    rows = _rows(lines[len(comments) :], delimiter)
    width = Counter(map(len, rows[1:] or rows)).most_common(1)[0][0] if rows else 0
    header, taken = _header(source, rows, comments, delimiter, options)
    first_line = len(comments)
    if taken:
        reader = csv.reader(io.StringIO("".join(lines[first_line:]), newline=""), delimiter=delimiter)
        next(reader)
        first_line += reader.line_num
    rows = rows[taken:]
    names = (
        [_readable(name.strip()) for name in header] if header else [str(place + 1) for place in range(width)]
    )
    if header and len(header) < width and all(not any(row[len(header) :]) for row in rows):
        names += [""] * (width - len(header))  # each line ends in a delimiter, but for the header's
    before = "".join(lines[:first_line])
    return Layout(
        "table",
        tuple(names),
        bool(header),
        delimiter,
        first_line,
        mark_bytes + len(before.encode("utf-8", "surrogateescape")),
        tuple(map(tuple, rows)),
        encoding,
    )


def _leading(lines: Sequence[str], with_directive: bool) -> list[str]:
    """Return lines before the table: comments, rules, empty ones."""
    leading = list(lines[:1]) if with_directive else []
    for line in lines[len(leading) :]:
        if not (line.startswith("#") or DECORATION.fullmatch(line)):
            break
        leading.append(line)
    return leading


def _delimiter(lines: Sequence[str]) -> str:
    """Find the sign that gives header and rows the same number of cells, one of them a number or date."""
    scores = {}
    for delimiter in DELIMITERS:
        rows = _rows(lines[:_LOOKED_AT], delimiter)
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if width == 1:
            continue
        fitting = [row for row in rows if len(row) == width]
        share = count / len(rows) if len(rows[0]) == width else 0.5 * count / len(rows)
        data = max(sum(is_data(cell) for cell in cells) for cells in zip(*fitting, strict=True))
        scores[delimiter] = (round(share, 1), 2 * data >= count)
    # of equals the last: commas stand in texts more often than tabs do
    return max(reversed(scores), key=lambda delimiter: scores[delimiter], default=",")


def _readable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        rows = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter)
        return [row for row in rows if row and not DECORATION.fullmatch(delimiter.join(row))]
    except csv.Error:  # a quote that is not closed within the sample
        return [line.rstrip("\r\n").split(delimiter) for line in lines if line.strip()]


def _header(
    source: Path | str,
    rows: list[list[str]],
    comments: Sequence[str],
    delimiter: str,
    options: ImportOptions,
) -> tuple[list[str], int]:
    """Return the names of the columns, and how many of `rows` they took."""
    noted = next((line[1:].strip() for line in reversed(comments) if line.startswith("#")), None)
    if options.header is False:
        return [], 0
    if rows and (options.header or _is_header(rows)):
        return rows[0], 1
    if noted is not None and rows:
        for pattern in (re.escape(delimiter), rf"{re.escape(delimiter)}(?![^\[(]*[\])])"):
            names = re.split(pattern, noted)  # the second time not within brackets
            if len(names) == len(rows[0]):
                return names, 0
    if not rows and comments:
        raise InputError(source, "", "no rows", "at least one request")
    return [], 0


def _is_header(rows: list[list[str]]) -> bool:
    """Return whether the first row is of another kind than those below: no number or date where they are."""
    first, rest = rows[0], rows[1:_LOOKED_AT]
    if not rest:
        return not is_data(first[0])
    kinds = [is_data(cell) for cell in first]
    for place, known in enumerate(kinds):
        cells = [row[place] for row in rest if place < len(row) and row[place]]
        data = sum(is_data(cell) for cell in cells)
        if not known and cells and 2 * data > len(cells):
            return True
    return not any(kinds)
