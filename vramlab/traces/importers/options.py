"""What an import is asked to do, and what it says that it did."""

from __future__ import annotations

import codecs
import math
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from vramlab.config.errors import InputError, nearest

Dealing = Literal["top", "round_robin", "zipf"]
TimeUnit = Literal["s", "ms", "us", "ns", "d"]

UNIT_S: dict[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "d": 86_400.0}

ROLES = (
    "time",
    "model",
    "items",
    "requester",
    "input_key",
    "priority",
    "size",
    "duration",
    "count",
    "status",
)
"""What a column of a table may be."""


@dataclass(frozen=True)
class ImportOptions:
    """What to make of a source.

    Parameters
    ----------
    models : tuple of str
        Names for the models of the trace, most important first; none: the source's own names.
    mapping : {"top", "round_robin", "zipf"}
        How the source's functions become `models`. ``top``: the most requested function becomes the first
        model and so on, and the requests of the others are dropped. ``round_robin``: the functions, in order
        of first appearance, take the models in turn (as AlpaServe does), and no request is dropped. ``zipf``:
        each request is given a model at random, the one of rank r in proportion to ``r ** -0.9``; for sources
        that tell arrival times only.
    top : int, optional
        Keep only the requests of so many functions, the most requested.
    start_s, end_s : float, optional
        Keep ``start_s <= t < end_s``, in seconds of the source's clock: it starts at the time of the first
        row where the source has dates, and at its own 0 where it has seconds.
    speed : float
        Play it so many times faster.
    thin : float
        Keep each request with this probability.
    seed : int
        For `thin`, ``zipf``, and the times within a minute where a source gives counts only.
    skip_bad_rows : int
        So many malformed rows may be dropped; one more is an error.
    columns : mapping of str to str
        For ``csv`` and ``libcachesim-csv``: ``time``, ``model``, ``items``, ``requester``, ``input_key``,
        ``priority``, ``size`` (bytes), ``duration`` (where the time is that of the end), ``count``
        (requests per interval) or ``status`` (what was answered: who was refused is counted) to the source's
        column: its name, its number from 1 on, or a path in JSON, as in ``data.tags.name``.
    time_unit : {"s", "ms", "us", "ns", "d"}, optional
        Of numbers in the time column of ``csv``; not given: seconds, unless the column's name says otherwise
        or the numbers look like another unit, which is asked about.
    time_format : str, optional
        Of dates in the time column, as for :func:`time.strptime`; not given: found by looking.
    time_zone : str, optional
        Of dates that say none, as in ``Europe/Berlin``.
    model_name : str, optional
        The one model of a source that has no column for it.
    header : bool, optional
        Whether a table's first line names its columns; not given: found by looking.
    delimiter, encoding : str, optional
        Of a table; not given: found by looking, and UTF-8.
    decimal : str
        Sign before a number's fraction: a point or a comma.
    table : str, optional
        Of an SQLite file that has several.
    regex : str, optional
        For a text log: a pattern that finds a request in a line; its named groups are the columns.
    where : tuple of str
        Conditions ``column=value`` or ``column!=value``, all of which must hold; of several ``=`` for one
        column, one.
    interval_s : float, optional
        Length of what ``count`` counts; not given: the least difference of two times.

    Raises
    ------
    InputError
        Naming the option.
    """

    models: tuple[str, ...] = ()
    mapping: Dealing = "top"
    top: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    speed: float = 1.0
    thin: float = 1.0
    seed: int = 0
    skip_bad_rows: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    time_unit: TimeUnit | None = None
    time_format: str | None = None
    time_zone: str | None = None
    model_name: str | None = None
    header: bool | None = None
    delimiter: str | None = None
    encoding: str | None = None
    decimal: str = "."
    table: str | None = None
    regex: str | None = None
    where: tuple[str, ...] = ()
    interval_s: float | None = None

    def __post_init__(self) -> None:
        _one_of("mapping", self.mapping, get_args(Dealing))
        if self.time_unit is not None:
            _one_of("time_unit", self.time_unit, get_args(TimeUnit))
        _check_reading(self)
        _check("speed", self.speed, 0 < self.speed < math.inf, "more than 0, finite")
        _check("thin", self.thin, 0 < self.thin <= 1, "more than 0, at most 1")
        _check("seed", self.seed, self.seed >= 0, "0 or more")
        _check("skip_bad_rows", self.skip_bad_rows, self.skip_bad_rows >= 0, "0 or more")
        _check("top", self.top, self.top is None or self.top >= 1, "at least 1")
        good = len(set(self.models)) == len(self.models) and all(self.models)
        _check("models", ",".join(self.models), good, "different names that are not empty")
        if self.mapping != "top":
            _check("models", "none", bool(self.models), f"names, as mapping is {self.mapping}")
        for name, value in (("start_s", self.start_s), ("end_s", self.end_s)):
            _check(name, value, value is None or math.isfinite(value), "a finite number of seconds")
        if self.start_s is not None and self.end_s is not None:
            _check("end_s", self.end_s, self.end_s > self.start_s, f"more than start_s ({self.start_s:g})")


@dataclass(frozen=True)
class ImportReport:
    """What an import made of its source.

    Parameters
    ----------
    rows_read, rows_kept : int
        Rows of the source, and requests of the trace (more, where a row stands for several requests).
    dropped : dict
        Reason to number of rows, or of requests where a row stands for several.
    reordered : bool
        True where the source was not in order of time and had to be sorted.
    notes : tuple of str
        What else was done, in sentences for people.
    sizes_bytes : dict
        Model to size (the largest seen) where the source has sizes.
    loads_s : dict
        Model to load time (the median of those seen), seconds, where the source has them.
    """

    rows_read: int
    rows_kept: int
    dropped: dict[str, int]
    reordered: bool = False
    notes: tuple[str, ...] = ()
    sizes_bytes: dict[str, int] = field(default_factory=dict)
    loads_s: dict[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return sentences for people."""
        lines = [f"{counted(self.rows_read, 'row')} read, {counted(self.rows_kept, 'request')} kept"]
        lines += [f"{count:,} dropped: {reason}" for reason, count in self.dropped.items()]
        if self.reordered:
            lines.append("the source was not in order of time: sorted, equal times in the order of the file")
        return [*lines, *self.notes]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def counted(number: int, what: str) -> str:
    """Return ``1 row``, ``2 rows``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _check_reading(options: ImportOptions) -> None:
    """Refuse what says wrongly how the source is written."""
    for role in options.columns:
        if role not in ROLES:
            expected = f"one of {', '.join(ROLES)}{nearest(role, ROLES)}"
            raise InputError("columns", role, "an unknown role", expected)
    for condition in options.where:
        good = bool(re.match(r"[^=!]+!?=", condition))
        _check("where", repr(condition), good, "COLUMN=VALUE or COLUMN!=VALUE")
    if options.time_zone is not None:
        try:
            zoneinfo.ZoneInfo(options.time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            expected = "a name such as Europe/Berlin or UTC"
            near = nearest(options.time_zone, zoneinfo.available_timezones())
            _check("time_zone", repr(options.time_zone), False, expected + near)
    if options.regex is not None:
        try:
            groups = re.compile(options.regex).groupindex
        except re.error as error:
            raise InputError("import options", "regex", str(error), "a regular expression") from error
        expected = "named groups, as in '(?P<time>\\S+) .* model=(?P<model>\\S+)'"
        _check("regex", options.regex, bool(groups), expected)
    if options.encoding is not None:
        try:
            codecs.lookup(options.encoding)
        except LookupError:
            _check("encoding", repr(options.encoding), False, "a name such as utf-8, cp1252 or utf-16")
    if options.delimiter is not None:
        good = len(options.delimiter) == 1 and options.delimiter not in '"\r\n'
        _check("delimiter", repr(options.delimiter), good, "one character, or tab, space, comma, semicolon")
    _check("decimal", repr(options.decimal), options.decimal in (".", ","), "a point or a comma")
    interval_s = options.interval_s
    _check("interval_s", interval_s, interval_s is None or 0 < interval_s < math.inf, "more than 0, finite")


def _check(key: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise InputError("import options", key, value, expected)


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    _check(key, repr(value), value in known, f"one of {', '.join(known)}{nearest(value, known)}")
