"""Tables of SQLite files, as some servers keep their requests in.

A file is opened for reading only, and nothing but the columns that are needed leaves it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from vramlab.config.errors import InputError, nearest
from vramlab.traces.importers.nested import as_text

MAGIC = b"SQLite format 3\x00"
_LOOKED_AT = 200  # rows of the sample


def is_database(source: Path | str) -> bool:
    """Return whether a file is one of SQLite."""
    path = Path(source)
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as raw:
            return raw.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # whoever opens it to read says why


class Table(NamedTuple):
    """A table of a file: its columns, and its first rows as text."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table_of(source: Path | str, name: str | None) -> Table:
    """Find a table.

    Parameters
    ----------
    source : Path or str
        The file.
    name : str, optional
        Of the table; without it the only one that there is.

    Raises
    ------
    InputError
        If the file cannot be read, or there is no such table, or several and none is named.
    """
    with closing(_opened(source)) as connection:
        try:
            listed = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
            tables = sorted(row[0] for row in listed if not row[0].startswith("sqlite_"))
            if name is None and len(tables) == 1:
                name = tables[0]
            if name is None or name not in tables:
                found = f"the tables {', '.join(tables) or 'none'}"
                expected = "one of them: --table NAME" if name is None else f"{name!r}{nearest(name, tables)}"
                raise InputError(source, "table", found, expected)
            cursor = connection.execute(f"SELECT * FROM {_quoted(name)} LIMIT {_LOOKED_AT}")
            columns = tuple(column[0] for column in cursor.description)
            rows = tuple(tuple(as_text(_text(value)) for value in row) for row in cursor)
        except sqlite3.Error as error:
            raise _unreadable(source, error) from error
    return Table(name, columns, rows)


def rows_of(
    source: Path | str, table: str, columns: Sequence[str], size: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Return the rows of a table in the order in which they were written, `size` at a time.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    wanted = ", ".join(map(_quoted, columns))
    with closing(_opened(source)) as connection:
        try:
            cursor = connection.execute(f"SELECT {wanted} FROM {_quoted(table)}")
            while rows := cursor.fetchmany(size):
                yield [tuple(map(_text, row)) for row in rows]
        except sqlite3.Error as error:
            raise _unreadable(source, error) from error


def _opened(source: Path | str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"file:{quote(str(Path(source).resolve()))}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path | str, error: sqlite3.Error) -> InputError:
    expected = "an SQLite file that is whole; a copy of one in use is made by `sqlite3 FILE '.backup COPY'`"
    return InputError(source, "", f"no database that can be read ({error})", expected)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
