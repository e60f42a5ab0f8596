"""The trace: who asked for which model when, validated once so that nothing after it has to check.

A trace is a table with one row per request. ``time_s`` (finite, non-decreasing) and ``model`` are required;
``items`` (default 1), ``requester``, ``input_key`` and ``priority`` are optional; other columns are kept.
Texts are categories: a trace of millions has each of them once.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from vramlab.config.errors import InputError, nearest
from vramlab.config.fields import LARGEST
from vramlab.config.schema import Priority
from vramlab.traces.texts import TEXT_COLUMNS, Texts, categories, coded, with_seen_categories

REQUIRED_COLUMNS = ("time_s", "model")
KNOWN_COLUMNS = ("time_s", "model", "items", "requester", "input_key", "priority")

# Items travel through float64 while they are checked; above this it would no longer hold every whole number.
_MAX_ITEMS = 2**53
_MOST_COLUMNS = 12  # that a message names
_PIECE = 1_000_000  # requests whose texts are in memory at a time

# From 2001 to 2096; as seconds, milliseconds since 1970 would be some ten thousand years.
_EPOCH_S = (1e9, 4e9)


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests in order of arrival.

    Make one with :meth:`from_frame`, which validates; the constructor takes a frame that is already so.

    Parameters
    ----------
    frame : pandas.DataFrame
        Validated and normalised: known columns first, ``items`` always present, texts as categories.
    source : str
        Where the trace came from, for messages.
    metadata : mapping of str to str
        What else is known of its origin, a generator's spec for example. Parquet files keep it.
    """

    frame: pd.DataFrame = field(repr=False)
    source: str = "<memory>"
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, source: str = "<memory>", metadata: Mapping[str, str] | None = None
    ) -> Trace:
        """Validate and normalise a copy of `frame`.

        Raises
        ------
        InputError
            Naming source, row (the first data row is 1), column, what was found and what was expected.
        """
        return cls(_normalised(frame, str(source)), str(source), dict(metadata or {}))

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def times_s(self) -> np.ndarray:
        """Arrival times in seconds, float64."""
        return _read_only(self.frame["time_s"].to_numpy())

    @cached_property
    def items(self) -> np.ndarray:
        """Items per request, int64."""
        return _read_only(self.frame["items"].to_numpy())

    @cached_property
    def texts(self) -> dict[str, Texts]:
        """Columns of texts as codes."""
        return {column: coded(self.frame[column]) for column in TEXT_COLUMNS if column in self.frame}

    @property
    def model_names(self) -> list[str]:
        """Each model once, in order of first appearance."""
        return list(self.texts["model"].names)

    @property
    def model_codes(self) -> np.ndarray:
        """Per request the index of its model in `model_names`, int32."""
        return self.texts["model"].codes

    @cached_property
    def requesters(self) -> np.ndarray | None:
        """Requester per request (None where missing), or None where the trace has no such column."""
        return self._per_request("requester")

    @cached_property
    def input_keys(self) -> np.ndarray | None:
        """Key of the input per request (None where missing), or None where there is no such column."""
        return self._per_request("input_key")

    @cached_property
    def priorities(self) -> np.ndarray | None:
        """Priority per request as text (None where missing), or None where there is no such column."""
        return self._per_request("priority")

    def _per_request(self, column: str) -> np.ndarray | None:
        return _read_only(self.texts[column].each()) if column in self.texts else None

    @property
    def duration_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.times_s[-1] - self.times_s[0])

    @cached_property
    def sha256(self) -> str:
        """Hash of the known columns: the same from CSV and Parquet and on every platform.

        Unknown columns do not count: nothing in vramlab reads them, and CSV cannot keep their types.
        """
        digest = hashlib.sha256(f"vramlab trace 1, {len(self)} rows\n".encode())
        for column in KNOWN_COLUMNS:
            if column not in self.frame:
                continue
            digest.update(f"{column}\n".encode())
            if column == "time_s":
                digest.update(np.ascontiguousarray(self.times_s, "<f8").data)
            elif column == "items":
                digest.update(np.ascontiguousarray(self.items, "<i8").data)
            else:
                # lengths before texts, so that no two tables can run together into the same bytes
                codes, names = self.texts[column]
                texts = [name.encode("utf-8", "surrogatepass") for name in names] + [b""]
                digest.update(np.array([len(text) for text in texts], "<i8")[codes])
                each = pa.array(texts, pa.large_binary())
                for first in range(0, len(self), _PIECE):
                    part = codes[first : first + _PIECE]
                    taken = each.take(pa.array(np.where(part < 0, len(names), part)))
                    _, offsets, data = taken.buffers()
                    if data is not None:  # a buffer may be longer than what it holds
                        used = int(np.frombuffer(offsets, "<i8")[len(taken)])
                        digest.update(memoryview(data)[:used])
        return digest.hexdigest()

    def between(self, start_s: float, end_s: float) -> Trace:
        """Return requests with ``start_s <= time_s < end_s``; times stay as they are.

        Raises
        ------
        InputError
            If there are none.
        """
        first, last = np.searchsorted(self.times_s, [start_s, end_s], side="left")
        if first >= last:
            expected = f"a part of {self.times_s[0]:g} to {self.times_s[-1]:g} s with requests in it"
            raise InputError(self.source, "time_s", f"no request from {start_s:g} to {end_s:g} s", expected)
        return self._rows(int(first), int(last))

    def head(self, n: int) -> Trace:
        """Return the first `n` requests, or all of them where there are fewer."""
        if n < 1:
            raise InputError(self.source, "head", n, "at least 1 request")
        return self._rows(0, n)

    def _rows(self, first: int, last: int) -> Trace:
        rows = self.frame.iloc[first:last].reset_index(drop=True)
        return Trace(with_seen_categories(rows), self.source, self.metadata)

    def _repr_html_(self) -> str:
        summary = (
            f"<b>{html.escape(self.source)}</b>: {len(self):,} requests for "
            f"{len(self.model_names):,} models in {self.duration_s:,.1f} s"
        )
        return f"<div>{summary}{self.frame.head().to_html()}</div>"


def check_times(trace: Trace) -> None:
    """Refuse times that no clock shows: a file may hold them, but nothing can be reckoned with them.

    Raises
    ------
    InputError
        Naming the first.
    """
    far = np.flatnonzero(np.abs(trace.times_s) > LARGEST)
    if far.size:
        found = float(trace.times_s[far[0]])
        raise InputError(trace.source, f"row {far[0] + 1} column time_s", found, f"at most {LARGEST:g} s")


def check_models(trace: Trace, inventory: Collection[str], source: str = "the inventory") -> None:
    """Refuse a trace that asks for a model that the inventory lacks.

    Parameters
    ----------
    source : str
        What the message calls the inventory: its file, where it came from one.

    Raises
    ------
    InputError
        Naming the trace, the first such row and the model.
    """
    for code, name in enumerate(trace.model_names):
        if name not in inventory:
            row = int(np.argmax(trace.model_codes == code)) + 1
            expected = f"a model of {source}{nearest(name, inventory)}"
            raise InputError(trace.source, f"row {row} column model", repr(name), expected)


def refuse_row(source: object, row: int, column: str, value: object, expected: str) -> NoReturn:
    """Raise the InputError for one cell.

    Parameters
    ----------
    row : int
        Position, counted from 0; the message counts from 1.
    value : object
        What the cell holds: text is quoted, a missing value is called nothing.
    """
    raise InputError(source, f"row {row + 1} column {column}", cell_text(value), expected)


def cell_text(value: object) -> str:
    """Say what a cell holds: text is quoted, a missing value is called nothing."""
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(cast(Any, value))):
        return "nothing"
    return (
        repr(str(value))
        if isinstance(value, str)
        else repr(value)
        if isinstance(value, float | int)
        else str(value)
    )


def require_columns_of(
    header: Sequence[str], columns: Iterable[str], source: object, otherwise: str = ""
) -> None:
    """Raise an InputError for the first of `columns` that `header` lacks.

    Parameters
    ----------
    otherwise : str
        What else the user could do; ends the message.
    """
    for column in columns:
        if column not in header:
            more = len(header) - _MOST_COLUMNS
            there = ", ".join(header[:_MOST_COLUMNS]) + (f" and {more:,} more" if more > 0 else "")
            expected = f"that column{nearest(column, header)}{otherwise}"
            raise InputError(source, f"column {column}", f"only {there or 'no columns'}", expected)


def _numbers(frame: pd.DataFrame, column: str, source: object, expected: str) -> np.ndarray:
    """Return a column as float64, NaN where it is missing; anything that is no number is an InputError."""
    series = frame[column]
    if pd.api.types.is_object_dtype(series.dtype) or pd.api.types.is_string_dtype(series.dtype):
        # one bad cell makes the whole column of a CSV file text: name that cell, not the first
        values = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        _refuse_where(np.isnan(values) & series.notna().to_numpy(), series, source, expected)
        _refuse_where(_each(series, lambda cell: isinstance(cell, str | bool)), series, source, expected)
        return values
    if not pd.api.types.is_any_real_numeric_dtype(series.dtype):
        refuse_row(source, 0, column, series.iloc[0], expected)
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _normalised(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    frame = frame.set_axis(frame.columns.map(str), axis="columns").reset_index(drop=True)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(source, f"column {twice}", "the column twice", "each column once")
    header = frame.columns.tolist()
    require_columns_of(
        header, REQUIRED_COLUMNS, source, "; `vramlab import csv --columns` reads other tables"
    )
    if frame.empty:
        raise InputError(source, "", "no rows", "at least one request")
    columns: dict[str, object] = {"time_s": _times(frame, source), "model": _models(frame, source)}
    columns["items"] = _items(frame, source)
    for column in ("requester", "input_key"):
        if column in frame:
            columns[column] = _texts(frame, column, source, "text, or nothing")
    if "priority" in frame:
        columns["priority"] = _priorities(frame, source)
    columns.update({column: frame[column] for column in header if column not in KNOWN_COLUMNS})
    return pd.DataFrame(columns)


def _times(frame: pd.DataFrame, source: str) -> np.ndarray:
    expected = "a finite number of seconds"
    # adding 0 turns -0.0 into 0.0: equal times shall have equal hashes
    times = _numbers(frame, "time_s", source, expected) + 0.0
    _refuse_where(~np.isfinite(times), frame["time_s"], source, expected)
    for unit, per_s in (("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        first, last = (times[place] / per_s for place in (0, -1)) if times.size > 1 else (0, 0)
        if _EPOCH_S[0] <= first and last < _EPOCH_S[1] and (times == np.floor(times)).all():
            found = f"{times[0]:.19g}, which looks like {unit} since 1970"
            expected = f"seconds; `vramlab import csv --time-unit {unit}` makes them of {unit}"
            raise InputError(source, "row 1 column time_s", found, expected)
    backwards = np.flatnonzero(np.diff(times) < 0)
    if backwards.size:
        row = int(backwards[0]) + 1
        expected = f"a time not before the {times[row - 1]:.17g} of the row before"
        refuse_row(source, row, "time_s", float(times[row]), expected)
    return times


def _items(frame: pd.DataFrame, source: str) -> np.ndarray:
    if "items" not in frame:
        return np.ones(len(frame), dtype=np.int64)
    expected = "a whole number of at least 1"
    items = _numbers(frame, "items", source, expected)
    items = np.where(frame["items"].isna().to_numpy(), 1.0, items)
    good = (items >= 1) & (items <= _MAX_ITEMS) & (items == np.floor(items))
    _refuse_where(~good, frame["items"], source, expected)
    return items.astype(np.int64)


def _models(frame: pd.DataFrame, source: str) -> pd.Series:
    expected = "a model name, as text that is not empty"
    models = _texts(frame, "model", source, expected)
    _refuse_where(models.isna().to_numpy(), frame["model"], source, expected)
    return models


def _priorities(frame: pd.DataFrame, source: str) -> pd.Series:
    known = [priority.value for priority in Priority]
    expected = f"one of {', '.join(known)}, or nothing"
    texts = _texts(frame, "priority", source, expected)
    for code, name in enumerate(texts.cat.categories):
        if name not in known:
            row = int(np.flatnonzero(texts.cat.codes == code)[0])
            refuse_row(source, row, "priority", name, expected + nearest(name, known))
    return texts


def _texts(frame: pd.DataFrame, column: str, source: str, expected: str) -> pd.Series:
    """Return a column of texts, missing where there is none or an empty one (CSV cannot tell them apart)."""
    series = frame[column]
    try:
        codes, names = pd.factorize(series)
    except TypeError:  # what has no hash is no text
        no_text = _each(series, lambda cell: not isinstance(cell, str)) & series.notna().to_numpy()
        _refuse_where(no_text, series, source, expected)
        raise
    no_text = np.array([*(not isinstance(name, str) for name in names), False])[codes]
    _refuse_where(no_text, series, source, expected)
    index = {name: code for code, name in enumerate(dict.fromkeys(str(name) for name in names if name))}
    of_name = np.array([*(index.get(name, -1) for name in names), -1], dtype=np.int32)
    return pd.Series(categories(of_name[codes], list(index)))


def _each(series: pd.Series, test: Callable[[object], bool]) -> np.ndarray:
    return np.fromiter(map(test, series), dtype=bool, count=len(series))


def _refuse_where(bad: np.ndarray, series: pd.Series, source: object, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        value = series.iloc[row]
        refuse_row(
            source, row, str(series.name), value.item() if isinstance(value, np.generic) else value, expected
        )


def _read_only(values: np.ndarray) -> np.ndarray:
    view = values.view()
    view.flags.writeable = False
    return view
