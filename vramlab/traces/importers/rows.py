"""Rows of a source in chunks of cells, with a bounded number of malformed ones dropped.

What a cell means is asked for by column: a number, a count, a name, a text. Whatever cannot be that is a
malformed row, which the log counts or refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vramlab.config.errors import InputError
from vramlab.traces.importers.options import counted
from vramlab.traces.trace import cell_text

_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


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
        self.notes: list[str] = []
        self.hint = ""
        self.trimmed = 0
        self.clock = "the source's own seconds, from its 0 on"
        self.first_malformed: str | None = None
        self.line_of: Callable[[int], int] | None = None
        self._allowed = allowed
        self._malformed = 0
        self._absent: list[int] = []  # rows that never reach a chunk, counted from 0

    def start_file(self, path: Path | str, line_of: Callable[[int], int] | None = None) -> None:
        """Go on with a file of the source: rows are counted per file.

        Parameters
        ----------
        line_of : function, optional
            From a row, counted from 0, to its line in an editor; None where there are no lines.
        """
        self.source, self._absent, self.line_of = path, [], line_of

    def drop(self, reason: str, count: int) -> None:
        """Count rows that were dropped for a reason other than being malformed."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + int(count)

    def note(self, text: str) -> None:
        """Say something of the import as a whole, once."""
        if text not in self.notes:
            self.notes.append(text)

    def refuse(self, row: int, column: str, found: str, expected: str) -> None:
        """Count a malformed row (from 0), or raise the InputError if no more may be dropped."""
        self._malformed += 1
        if self._malformed <= self._allowed and self.first_malformed is not None:
            self.drop("malformed", 1)
            return
        # a line is looked up in the file: for the first bad row, and for the one that is too much
        where = f"line {self.line_of(row)}" if self.line_of else f"row {row + 1}"
        where += f" column {column}" if column else ""
        if self._malformed > self._allowed:
            before = f"{counted(self._allowed, 'bad row')} dropped before it; " if self._allowed else ""
            hint = f" ({before}--skip-bad-rows N drops up to N)"
            raise InputError(self.source, where, found, expected + hint)
        self.drop("malformed", 1)
        short = InputError("", "", found, expected)
        found = f"{short}".removeprefix(": ")
        self.first_malformed = f"the first malformed row: {where}: {found}"

    def unreadable(self, row: int, found: str, expected: str) -> None:
        """Count a row that has no cells to speak of."""
        self.absent(row)
        self.rows_read += 1
        self.refuse(row, "", found, expected)

    def absent(self, row: int) -> None:
        """Know of a row, counted from 0, that never reaches a chunk."""
        self._absent.append(row)

    def row_of(self, position: int) -> int:
        """Return the row of the file (from 0) that stands at a position among the readable ones."""
        row = position
        for absent in self._absent:
            if absent > row:
                break
            row += 1
        return row


@dataclass
class Chunk:
    """Some rows of a source; a cell is missing where it is empty; `good` says which rows are still in.

    Parameters
    ----------
    cells : dict of str to pyarrow.Array
        The columns that are needed: text, or of the source's own types.
    first : int
        Position of the first row among the readable ones.
    log : RowLog
        Where bad rows go.
    """

    cells: dict[str, pa.Array]
    first: int
    log: RowLog
    good: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.good = np.ones(len(next(iter(self.cells.values()))), dtype=bool)

    def check(self, good: np.ndarray, column: str, expected: str) -> None:
        """Drop the rows that are not `good`, or raise the InputError for the first of them."""
        for position in np.flatnonzero(self.good & ~good):
            row = self.log.row_of(self.first + int(position))
            found = self.cells[column][int(position)].as_py()
            hint = ", or --decimal ," if _DECIMAL_COMMA.fullmatch(str(found)) else ""
            self.log.refuse(row, column, cell_text(found), expected + hint)
        self.good &= good

    def present(self, column: str) -> np.ndarray:
        """Return whether there is a cell that is not empty."""
        return np.asarray(self.strings(column).is_valid())

    def numbers(self, column: str, expected: str, at_least: float = -np.inf) -> np.ndarray:
        """Return a column as finite float64; what is none is malformed."""
        values = as_floats(self.cells[column])
        self.check(np.isfinite(values) & (values >= at_least), column, expected)
        return values

    def counts(self, column: str, expected: str, default: int) -> np.ndarray:
        """Return the column as int64 of at least `default`, which also stands in for a missing cell."""
        values = as_floats(self.cells[column])
        good = (values >= default) & (values <= 2**53) & (values == np.floor(values))
        if not good.all():
            self.check(good | ~self.present(column), column, expected)
            values = np.where(good, values, default)
        return values.astype(np.int64)

    def strings(self, column: str) -> pa.StringArray:
        """Return a column as text, missing where empty; blanks round it are kept."""
        return as_strings(self.cells[column])

    def names(self, column: str, expected: str | None = None) -> pd.Categorical:
        """Column of names, blanks round them taken off; missing where empty, or malformed if `expected`."""
        coded = self.strings(column).dictionary_encode()
        names = [str(name) for name in coded.dictionary.to_pylist()]
        # a quote after a blank is none to a CSV reader
        trimmed = [re.sub(r'^\s+"(.*)"\s*$', r"\1", name).strip() for name in names]
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        if trimmed != names:
            changed = np.array([*(bool(b) and a != b for a, b in zip(names, trimmed, strict=True)), False])
            self.log.trimmed += int(changed[codes].sum())
        found = categorical(codes, trimmed)
        if expected is not None:
            self.check(found.codes >= 0, column, expected)
        return found


def categorical(codes: np.ndarray, names: Sequence[str]) -> pd.Categorical:
    """Return names by their codes, of which some may be equal; missing for code -1 and the empty name."""
    index = {name: code for code, name in enumerate(dict.fromkeys(filter(None, names)))}
    of_name = np.array([*(index.get(name, -1) for name in names), -1], dtype=np.int32)
    return pd.Categorical.from_codes(of_name[codes], pd.Index(list(index), dtype=object))


def as_strings(cells: pa.Array) -> pa.StringArray:
    """Return cells as text, missing where empty."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if not pa.types.is_string(cells.type):
        cells = pc.cast(cells, pa.string())
    return pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)


def as_floats(cells: pa.Array) -> np.ndarray:
    """Return cells as exact float64, NaN where there is no number; blanks round a number do not count."""
    if pa.types.is_dictionary(cells.type) or pa.types.is_boolean(cells.type):
        cells = as_strings(cells)
    try:
        values = pc.cast(cells, pa.float64())
    except pa.ArrowException:
        if not pa.types.is_string(cells.type):
            return np.full(len(cells), np.nan)
        return np.array([_float(text) for text in cells.to_pylist()], dtype=np.float64)
    return np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64)  # a copy that may be written


def _float(text: str | None) -> float:
    try:
        return float(text) if text is not None and "_" not in text else np.nan
    except ValueError:
        return np.nan
