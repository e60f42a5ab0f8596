"""Times that are numbers: of what unit, and exact to the nanosecond."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vramlab.config.errors import InputError
from vramlab.traces.importers.options import UNIT_S
from vramlab.traces.importers.rows import as_floats

# Above these, a number of seconds would be some thousand years; today is 1.8e9 s.
LOOKS_LIKE = ((1e11, "ms"), (1e14, "us"), (1e17, "ns"))
EPOCH_S = (1e9, 4e9)
_LARGEST = 1e20
PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

# timestamp_ms, time (us), startTimeUnixNano
_UNIT_IN_NAME = re.compile(r"(?:_|[\s_]*[(\[])(s|ms|us|ns)[)\]]?$|Unix(Nano|Ms)$")

# 20261102, and with the hour, which would be seconds of 2034
_DAY_OR_HOUR = re.compile(
    r"(?:19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])|20\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])([01]\d|2[0-3])"
)

# Dates of Excel: days since the end of 1899, as 46328.3333; these are those of 2000 to 2050.
_EXCEL_DAYS = (36_526, 54_789)


def unit_of(numbers: np.ndarray, column: str, example: str, source: object) -> str:
    """Return the unit of a column's numbers: that of its name, else seconds if they look like it.

    Raises
    ------
    InputError
        Naming the units that it may be.
    """
    size = float(np.percentile(np.abs(numbers), 50, method="lower"))
    likely = next((unit for least, unit in reversed(LOOKS_LIKE) if least <= size < _LARGEST), "s")
    named = unit_in(column)
    if named is not None and (named == likely or size < EPOCH_S[0]):
        return named
    if likely != "s" or (named is not None and size < EPOCH_S[1]):
        when = utc(float(numbers[0]) * UNIT_S[likely])
        expected = f"a unit, as it looks like {likely} since 1970 ({when}): --time-unit {likely}"
    elif _DAY_OR_HOUR.fullmatch(example):
        digits = "%Y%m%d" if len(example) == 8 else "%Y%m%d%H"
        expected = f"--time-format {digits} where it is a date, --time-unit s where it is seconds"
    elif _like_excel(numbers):
        expected = "--time-unit d where it is a date of Excel, in days, --time-unit s where it is seconds"
    else:
        return named or "s"
    raise InputError(source, f"column {column}", example, expected)


def unit_in(column: str) -> str | None:
    """Return the unit that a column's name ends in."""
    found = _UNIT_IN_NAME.search(column)
    return found and (found[1] or {"Nano": "ns", "Ms": "ms"}[found[2]])


def _like_excel(numbers: np.ndarray) -> bool:
    fractions = (numbers != np.floor(numbers)).mean() > 0.5
    return bool(fractions and numbers.min() > _EXCEL_DAYS[0] and numbers.max() < _EXCEL_DAYS[1])


def whole_or_float(cells: pa.Array, exactly: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return cells as int64 where all numbers are whole, else as float64; and where there is one.

    An epoch's nanoseconds are no float64: their first is taken away while they are whole numbers.
    """
    good = np.asarray(cells.is_valid())
    for attempt in (cells[:1], cells):  # a failed cast of many cells takes long
        try:
            whole = pc.cast(attempt, pa.int64())
        except pa.ArrowException:
            break
    else:
        return np.asarray(whole.fill_null(0)), good
    values = as_floats(cells)
    good = np.isfinite(values)
    if exactly and pa.types.is_string(cells.type):
        text = pc.utf8_trim_whitespace(cells)
        digits = pc.fill_null(pc.match_substring_regex(text, r"^[-+]?[0-9]{1,18}$|^1[0-9]{18}$"), False)
        if (np.asarray(digits) >= good).all():
            whole = pc.cast(pc.if_else(digits, text, pa.scalar(None, pa.string())), pa.int64())
            return np.asarray(whole.fill_null(0)), np.asarray(digits)
    return values, good


def own_seconds(origin_s: float) -> str:
    """Return what a window counts where a source has numbers."""
    since = f" ({utc(origin_s)})" if origin_s >= 1e8 else ""
    return f"the source's own seconds, which begin at {origin_s:.15g}{since}"


def utc(seconds: float) -> str:
    """Return a time as a date, for people."""
    try:
        when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return "no date"
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"
