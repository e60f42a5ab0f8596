"""Dates and times of day in the shapes that logs write, as whole seconds and nanoseconds.

A shape is one regular expression (RE2's) whose groups are the parts of a date; :func:`parse` computes with
whole numbers, so that no shape, year or fraction loses anything. ``--time-format`` becomes such a shape too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vramlab.config.errors import InputError

NAIVE = -(2**31)
"""Offset of a time that names no zone."""

_SPACE = r"[ \x{a0}\x{202f}]"
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    rf"(?:{_SPACE}?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_ZONE = (
    r"(?: ?(?P<zone>Z|z|UTC|utc|GMT|[+-]\d\d(?::?\d\d)?)"
    r"(?: ?\(?[A-Z]{3,5}\)?)?(?: ?\[[\w/+-]+\])?(?: m=\S+)?)?"  # what Java and Go write behind it
)
_YEAR, _MONTH, _DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
_NAME = r"(?P<name>[A-Za-z]{3,9})"
_WEEKDAY = r"(?:[A-Za-z]{3,9},? +)?"
_GAP = rf"(?:T|t|_|,?{_SPACE}+(?:[@-] )?)"

SHAPES = {
    "year first": rf"{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}(?:{_GAP}{_TIME}{_ZONE})?",
    "compact": r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?:[T _-]?(?P<hour>\d\d):?(?P<minute>\d\d)"
    rf"(?::?(?P<second>\d\d)(?:[.,]?(?P<fraction>\d{{1,9}}))?)?{_ZONE})?",
    "day first": rf"{_DAY}\.{_MONTH}\.{_YEAR}(?:{_GAP}{_TIME}{_ZONE})?",
    "month by name": rf"{_WEEKDAY}{_DAY}[ /-]{_NAME}[ /-]{_YEAR}(?:[:, ]+{_TIME}{_ZONE})?",
    "month by name, first": rf"{_WEEKDAY}{_NAME}\.? +{_DAY},? {_YEAR}(?:[,@ ]+{_TIME}{_ZONE})?",
    "year last": rf"{_WEEKDAY}{_NAME} +{_DAY} {_TIME}{_ZONE} {_YEAR}",
    "day or month first": rf"(?P<one>\d{{1,2}})[/-](?P<two>\d{{1,2}})[/-]{_YEAR}(?:{_GAP}{_TIME}{_ZONE})?",
    "short year": rf"\d{{1,2}}[./-]\d{{1,2}}[./-]\d\d(?:{_GAP}{_TIME}{_ZONE})?",
    "no year": rf"{_NAME} +{_DAY} {_TIME}",
    "no date": _TIME,
}

_DIRECTIVES = {
    "Y": r"(?P<year>\d{4})", "y": r"(?P<short>\d\d)", "m": _MONTH, "d": r" ?(?P<day>\d{1,2})",
    "e": r" ?(?P<day>\d{1,2})", "b": _NAME, "B": _NAME, "h": _NAME, "a": r"[^\s\d,]+", "A": r"[^\s\d,]+",
    "H": r"(?P<hour>\d{1,2})", "I": r"(?P<hour>\d{1,2})", "M": r"(?P<minute>\d{1,2})",
    "S": r"(?P<second>\d{1,2})", "f": r"(?P<fraction>\d{1,9})", "p": r"(?P<half>[AaPp])\.?[Mm]\.?",
    "z": r"(?P<zone>Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)", "Z": r"(?P<zone>Z|UTC|GMT)", "%": "%",
}  # fmt: skip
_WHOLE = {"T": "%H:%M:%S", "D": "%m/%d/%y", "F": "%Y-%m-%d", "R": "%H:%M"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Shape:
    """How dates are written.

    Parameters
    ----------
    pattern : str
        The regular expression of a whole cell.
    said : str
        What messages call it.
    """

    pattern: str
    said: str

    @property
    def wrap_s(self) -> int:
        """After how long it says the same again: a day without a date, a year without one, else 0."""
        if "<day>" not in self.pattern:
            return 86_400
        return 0 if "<year>" in self.pattern or "<short>" in self.pattern else 366 * 86_400


def known_shape(name: str, day_first: bool = True) -> Shape:
    """Return the shape of that name."""
    pattern = SHAPES[name]
    if name == "day or month first":
        one, two = ("day", "month") if day_first else ("month", "day")
        pattern = pattern.replace("<one>", f"<{one}>").replace("<two>", f"<{two}>")
        name = f"{one} first"
    return Shape(rf"^\s*\[?{pattern}\]?\s*$", name)


def shape_of(time_format: str) -> Shape:
    """Return the shape of a format as for :func:`time.strptime`; a fraction of a second may be missing.

    Raises
    ------
    InputError
        If it has a directive that is not known, or one twice.
    """
    text = re.sub("%([TDFR])", lambda found: _WHOLE[found[1]], time_format)
    parts = []
    for piece in re.findall(r"[.,]%f|%.|\s+|[^%\s]+?(?=[.,]%f|%|\s|$)|%$", text):
        if piece[1:] == "%f":
            parts.append(rf"(?:[.,]{_DIRECTIVES['f']})?")
        elif piece.isspace():
            parts.append(r"\s+")
        elif piece[0] == "%":
            if piece[1:] not in _DIRECTIVES:
                known = ", ".join(f"%{name}" for name in _DIRECTIVES)
                raise InputError("--time-format", time_format, repr(piece), f"one of {known}")
            parts.append(_DIRECTIVES[piece[1:]])
            if piece == "%S" and "%f" not in text:
                parts.append(rf"(?:[.,]{_DIRECTIVES['f']})?")
        else:
            parts.append(re.escape(piece))
    pattern = "".join(parts)
    groups = re.findall(r"\?P<(\w+)>", pattern)
    if len(set(groups)) < len(groups) or not groups:
        expected = "each part of a date once, as in %Y-%m-%d %H:%M:%S"
        raise InputError("--time-format", "", repr(time_format), expected)
    return Shape(rf"^\s*{pattern}\s*$", time_format)


@dataclass(frozen=True)
class Dates:
    """Dates of some cells; arrays of one length.

    Parameters
    ----------
    seconds : ndarray of int64
        Since 1970 on the clock that wrote them; without a date since midnight, without a year since 2000.
    nanoseconds : ndarray of int64
        What is beyond the whole second.
    offsets_s : ndarray of int64
        What that clock was ahead of UTC, or NAIVE.
    good : ndarray of bool
        Where there is a date.
    """

    seconds: np.ndarray
    nanoseconds: np.ndarray
    offsets_s: np.ndarray
    good: np.ndarray


def format_like(cell: str) -> str | None:
    """Return a format for a cell of no known shape; what is no part of a date stands in it as it is.

    None where a number is left that may be anything.
    """
    for pattern, written in _WRITTEN.items():
        cell = re.sub(pattern, written, cell)
    return None if re.search(r"\d", cell) or "%" not in cell else cell


_WRITTEN = {
    r"\b\d{4}([-/.])\d{1,2}\1\d{1,2}(?!\d)": r"%Y\1%m\1%d",
    r"\b\d{1,2}([-/.])\d{1,2}\1\d{4}\b": r"%d\1%m\1%Y",
    r"\b\d{1,2}([-/.])\d{1,2}\1\d\d\b": r"%d\1%m\1%y",
    r"\d{1,2}:\d\d:\d\d(?:[.,]\d+)?([ \u202f\xa0]?)[AaPp]\.?[Mm]\b\.?": r"%I:%M:%S\1%p",
    r"\d{1,2}:\d\d([ \u202f\xa0]?)[AaPp]\.?[Mm]\b\.?": r"%I:%M\1%p",
    r"\d{1,2}:\d\d:\d\d([.,]\d+)?": "%H:%M:%S",
    r"[+-]\d\d:?\d\d$": "%z",
    r"\b\d{1,2}:\d\d\b": "%H:%M",
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*": "%a",
    r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*": "%b",
    r"(?<=%b )+\d{1,2}\b|\b\d{1,2}(?= %b)": "%d",
    r"\b(?:19|20)\d\d\b": "%Y",
}


def fits(cells: pa.StringArray, shape: Shape) -> np.ndarray:
    """Return which cells look like that."""
    return np.asarray(pc.fill_null(pc.match_substring_regex(cells, shape.pattern), False))


def parse(cells: pa.StringArray, shape: Shape) -> Dates:
    """Parse dates of that shape; a cell of another shape, or no date of the calendar, is not good."""
    groups = re.findall(r"\?P<(\w+)>", shape.pattern)
    found = pc.extract_regex(cells, shape.pattern)
    good = found.is_valid().to_numpy(zero_copy_only=False)
    texts = {name: pc.fill_null(found.field(name), "") for name in groups}

    def number(name: str, default: int) -> np.ndarray:
        if name not in texts:
            return np.full(len(cells), default, dtype=np.int64)
        text = pc.if_else(pc.equal(texts[name], ""), str(default), texts[name])
        return np.asarray(pc.cast(text, pa.int64()))

    year = number("year", 2000 if "day" in texts else 1970)
    if "short" in texts:
        short = number("short", 70)
        year = np.where(short < 69, 2000, 1900) + short  # as POSIX has it
    month = _coded(texts["name"], _month_of) if "name" in texts else number("month", 1)
    day, hour = number("day", 1), number("hour", 0)
    minute, second = number("minute", 0), number("second", 0)
    if "half" in texts:
        half = _coded(texts["half"], lambda text: {"a": 0, "p": 12}.get(text.lower(), -1))
        good &= (half < 0) | ((hour >= 1) & (hour <= 12))
        hour = np.where(half < 0, hour, hour % 12 + half)
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second <= 60)
    months = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    dates = months.astype("datetime64[M]").astype("datetime64[D]") + (np.where(good, day, 1) - 1)
    good &= dates.astype("datetime64[M]").astype(np.int64) == months
    seconds = dates.astype(np.int64) * 86_400 + hour * 3600 + minute * 60 + second
    nanoseconds = np.zeros(len(cells), dtype=np.int64)
    if "fraction" in texts:
        padded = pc.utf8_rpad(texts["fraction"], 9, "0")
        nanoseconds = pc.cast(padded, pa.int64()).to_numpy(zero_copy_only=False)
    offsets = np.full(len(cells), NAIVE, dtype=np.int64)
    if "zone" in texts:
        offsets = _coded(texts["zone"], _offset_of)
    return Dates(seconds, nanoseconds, offsets, good)


def _coded(texts: pa.StringArray, value: object) -> np.ndarray:
    """Return a function of few different texts."""
    coded = texts.dictionary_encode()
    values = np.array([value(text) for text in coded.dictionary.to_pylist()], dtype=np.int64)  # type: ignore[operator]
    return values[coded.indices.to_numpy(zero_copy_only=False)] if len(values) else np.zeros(0, np.int64)


def _month_of(name: str) -> int:
    short = name[:3].lower()
    return _MONTHS.index(short) + 1 if short in _MONTHS else 0


def _offset_of(zone: str) -> int:
    if not zone:
        return NAIVE
    if zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
