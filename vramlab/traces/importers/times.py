"""When a row's request came: numbers in a unit, or dates, found by looking at many cells and not at one.

What could be read in two ways is asked about and never guessed: days and months, milliseconds and seconds,
dates of eight digits and numbers, times without a zone among times with one.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from vramlab.config.errors import InputError
from vramlab.traces.importers.dates import (
    NAIVE,
    SHAPES,
    Dates,
    Shape,
    fits,
    format_like,
    known_shape,
    parse,
    shape_of,
)
from vramlab.traces.importers.options import UNIT_S, ImportOptions
from vramlab.traces.importers.rows import Chunk, as_floats, as_strings
from vramlab.traces.importers.units import (
    EPOCH_S,
    LOOKS_LIKE,
    PER_S,
    own_seconds,
    unit_of,
    utc,
    whole_or_float,
)

LOOKED_AT = 5_000  # cells

# Clocks go back from summer time on a Sunday night; a log that else is in order then steps back.
_STEP_BACK_S, _HOUR_S, _SUNDAY = 60, 3600, 6


class Clock:
    """Seconds from the first time that is read, in the shape that most of the first cells have.

    Parameters
    ----------
    options : ImportOptions
        With unit, format and zone, where they are given.
    column : str
        The column of the times.
    """

    def __init__(self, options: ImportOptions, column: str) -> None:
        self.origin_s = 0.0
        """What to add for the source's own clock, where it counts seconds."""
        self.shape: Shape | Literal["number"] | None = None
        self._options, self._column = options, column
        self._unit: str = options.time_unit or "s"
        self._example = ""
        self._zero: Any = None  # an int, or a float where numbers have fractions
        self._zero_ns = 0
        self._zoned: bool | None = None
        self._wrapped_s, self._latest = 0, -(2**62)
        self._in_order, self._second_pass = True, False
        if options.time_format:
            self.shape = shape_of(options.time_format)

    def seconds(self, chunk: Chunk) -> np.ndarray:
        """Return times as float64; what is none is malformed."""
        cells = chunk.cells[self._column]
        if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
            return self._of_dates(chunk, _typed(cells))
        if pa.types.is_decimal(cells.type):
            cells = pc.cast(cells, pa.string())
        if self.shape is None:
            self._choose(chunk, cells)
        if self.shape == "number":
            return self._of_numbers(chunk, cells)
        if self.shape is None:
            return np.zeros(len(chunk.good))
        return self._of_dates(chunk, _quick(as_strings(cells), self.shape))

    # -- what shape ----------------------------------------------------------------------------------

    def _choose(self, chunk: Chunk, cells: pa.Array) -> None:
        """Settle the shape by the first cells that count; the one of the first where two have as many."""
        texts = as_strings(cells).filter(pa.array(chunk.good)).drop_null()[:LOOKED_AT]
        texts = pa.concat_arrays([texts]) if len(texts) else pa.array([""], pa.string())
        self._example = str(texts[0].as_py()).strip()
        numbers = np.isfinite(as_floats(texts))
        found: dict[str, np.ndarray] = {"number": numbers}
        digits = self._digits(texts.filter(pa.array(numbers)))
        if not numbers.all() or digits:
            found |= {name: fits(texts, known_shape(name)) for name in SHAPES}
        best = max(found, key=lambda name: (found[name].sum(), found[name][0]))
        best = "compact" if digits and best == "number" else best
        if not found[best].any():
            like = format_like(self._example)
            zone = " --time-zone NAME" if like and re.search(r" [A-Z]{3,4}\b", like) else ""
            how = f"perhaps --time-format '{like}'{zone}" if like else "as in --time-format '%d.%m.%y %H:%M'"
            expected = f"a number, or a date in a format known here or given, {how}"
            chunk.check(np.zeros(len(chunk.good), dtype=bool), self._column, expected)
            return
        self._example = str(texts[int(np.argmax(found[best]))].as_py()).strip()
        if best == "number":
            if self._options.time_unit is None:
                values = as_floats(texts)[numbers]
                self._unit = unit_of(values, self._column, self._example, chunk.log.source)
                if self._unit != "s":
                    chunk.log.note(f"times in {self._unit}, as the column {self._column} is called")
            self.shape = "number"
        elif best == "short year":
            self._ask_short_year(chunk)
        elif best == "day or month first":
            self.shape = known_shape(best, day_first=self._day_first(chunk, texts))
        else:
            self.shape = known_shape(best)
        if best in ("compact", "no date", "no year", "day first", "day or month first"):
            part = best.removeprefix("no date").removeprefix("no ") or "day"
            wraps = f"; a step back of half a {part} is the next {part}" if best.startswith("no ") else ""
            chunk.log.note(f"times such as {self._example} taken as: {self.shape.said}{wraps}")  # type: ignore[union-attr]

    def _digits(self, texts: pa.StringArray) -> bool:
        """Return whether all cells are dates in digits: twelve or fourteen of them are no number."""
        if self._options.time_unit is not None or not len(texts):
            return False
        pattern = r"^(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])([01]\d|2[0-3])[0-5]\d([0-5]\d([.,]?\d+)?)?$"
        return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())

    def _day_first(self, chunk: Chunk, texts: pa.StringArray) -> bool:
        """Return whether 02/11/2026 is in November.

        Raises
        ------
        InputError
            If it may be either.
        """
        good = [parse(texts, known_shape("day or month first", first)).good.sum() for first in (True, False)]
        if good[0] == good[1]:
            first = format_like(self._example) or "%d/%m/%Y %H:%M:%S"
            second = re.sub("%d(.)%m", r"%m\1%d", first)
            expected = f"to know what comes first: --time-format '{first}' the day, '{second}' the month"
            raise InputError(chunk.log.source, f"column {self._column}", repr(self._example), expected)
        return bool(good[0] > good[1])

    def _ask_short_year(self, chunk: Chunk) -> None:
        """Refuse 02/11/26, which may be of 2002 too.

        Raises
        ------
        InputError
            With the formats that it may have.
        """
        sign, rest = self._example[2 if self._example[1].isdigit() else 1], format_like(self._example) or ""
        rest = rest.removeprefix(f"%d{sign}%m{sign}%y")
        dates = (f"%d{sign}%m{sign}%y", f"%m{sign}%d{sign}%y", f"%y{sign}%m{sign}%d")
        formats = ", ".join(f"'{date}{rest}'" for date in dates)
        expected = f"to know what comes first, by --time-format: {formats}"
        raise InputError(chunk.log.source, f"column {self._column}", repr(self._example), expected)

    # -- numbers -------------------------------------------------------------------------------------

    def _of_numbers(self, chunk: Chunk, cells: pa.Array) -> np.ndarray:
        values, good = whole_or_float(cells, exactly=self._unit in ("us", "ns"))
        expected = "a finite number"
        if _dates_among(cells, good):
            expected += f", such as the {self._example} in another row"
        chunk.check(good, self._column, expected)
        if self._zero is None and chunk.good.any():
            self._zero = values[int(np.argmax(chunk.good))].item()
            self.origin_s = self._zero * UNIT_S[self._unit]
            chunk.log.clock = own_seconds(self.origin_s)
        times = values - (self._zero or 0)
        # divided, as 0.001 is no number of float64's
        times = times * UNIT_S["d"] if self._unit == "d" else times / PER_S[self._unit]
        since = times + self.origin_s
        # some logs have seconds in old rows and milliseconds in new ones
        if self.origin_s < LOOKS_LIKE[0][0]:
            least = EPOCH_S[0] / 10 if self.origin_s >= EPOCH_S[0] else -np.inf
            alike = (since >= least) & (since < LOOKS_LIKE[0][0])
            chunk.check(alike, self._column, f"a time in {self._unit}, such as the {self._example} before")
        # near the epoch a float64 holds microseconds at best
        return times if values.dtype == np.int64 or self.origin_s < 1e8 else np.round(times, 6)

    # -- dates ---------------------------------------------------------------------------------------

    def _of_dates(self, chunk: Chunk, dates: Dates) -> np.ndarray:
        said = f" as {self.shape.said}" if isinstance(self.shape, Shape) else ""
        expected = f"a date such as {self._example}" if self._example else f"a date{said}"
        chunk.check(dates.good, self._column, expected)
        zoned = dates.offsets_s != NAIVE
        if self._options.time_zone is None:
            if self._zoned is None and chunk.good.any():
                self._zoned = bool(zoned[int(np.argmax(chunk.good))])
            expected = "a time with a zone, as in the rows before; --time-zone is for those without"
            if self._zoned is False:
                expected = "a time without a zone, as in the rows before; --time-zone says theirs"
            chunk.check(zoned == self._zoned, self._column, expected)
            seconds = dates.seconds - np.where(zoned, dates.offsets_s, 0)
            if not zoned.all():
                seconds = self._unwrapped(seconds, chunk.good)
                self._check_summer(chunk, seconds)
        else:
            seconds = dates.seconds - np.where(zoned, dates.offsets_s, 0)
            local, good = self._localised(chunk, dates.seconds, ~zoned)
            chunk.check(good, self._column, f"a time that there was in {self._options.time_zone}")
            seconds = np.where(zoned, seconds, local)
        if self._zero is None and chunk.good.any():
            first = int(np.argmax(chunk.good))
            self._zero, self._zero_ns = int(seconds[first]), int(dates.nanoseconds[first])
            chunk.log.clock = f"seconds from the first row on, {self._example or utc(self._zero)}"
        nanoseconds: np.ndarray = (seconds - (self._zero or 0)) * 10**9 + (dates.nanoseconds - self._zero_ns)
        return nanoseconds / 1e9

    def _unwrapped(self, seconds: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Let times that begin anew every day or year go on."""
        wrap_s = self.shape.wrap_s if isinstance(self.shape, Shape) else 0
        if not wrap_s or not good.any():
            return seconds
        known = seconds[good]
        before = np.concatenate([[self._latest if self._latest > -(2**62) else known[0]], known[:-1]])
        # a line that is late by seconds may stand behind those of the next day
        late = known - before > wrap_s - _STEP_BACK_S
        turns = np.cumsum(known - before < -wrap_s // 2) - np.cumsum(late)
        self._latest = int(known[-1])
        result = seconds.copy()
        result[good] = known + self._wrapped_s + turns * wrap_s
        self._wrapped_s += int(turns[-1]) * wrap_s
        return result

    def _check_summer(self, chunk: Chunk, seconds: np.ndarray) -> None:
        """Ask for the zone where the clock seems to have been put back.

        Raises
        ------
        InputError
            Naming the row after which it was.
        """
        places = np.flatnonzero(chunk.good)
        if not self._in_order or not len(places) or (isinstance(self.shape, Shape) and self.shape.wrap_s):
            return
        known = seconds[places]
        highest = np.maximum.accumulate(np.concatenate([[self._latest], known]))
        back = highest[:-1] - known
        self._latest = int(highest[-1])
        behind = np.flatnonzero(back > _STEP_BACK_S)
        if not len(behind):
            return
        self._in_order = False  # a log that is in no order says nothing about clocks
        first = int(behind[0])
        day, second = divmod(int(known[first]), 86_400)
        night = (day + 3) % 7 == _SUNDAY and second < 3 * _HOUR_S
        if night and back[first] <= _HOUR_S and (back[behind] <= _HOUR_S).all():
            row = chunk.log.row_of(chunk.first + int(places[first]))
            where = f"line {chunk.log.line_of(row)}" if chunk.log.line_of else f"row {row + 1}"
            found = f"{chunk.cells[self._column][int(places[first])]}, before the row above it"
            expected = (
                "no step back, as when summer time ends: --time-zone Europe/Berlin or whichever it is, "
                "--time-zone UTC if none was"
            )
            raise InputError(chunk.log.source, f"{where} column {self._column}", found, expected)

    def _localised(
        self, chunk: Chunk, seconds: np.ndarray, naive: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the seconds in UTC of times of the zone, and which of them there were.

        What the clock shows twice is its first time until it steps back, and the second from then on.
        """
        use = naive & chunk.good
        local = pd.DatetimeIndex(seconds.astype("datetime64[s]"))
        zone = str(self._options.time_zone)
        first, second = (
            local.tz_localize(zone, ambiguous=np.full(len(local), summer), nonexistent="NaT")
            for summer in (True, False)
        )
        twice = np.asarray(first != second) & use & ~np.asarray(first.isna())
        again = np.zeros(len(seconds), dtype=bool)
        for place in np.flatnonzero(twice):
            self._second_pass |= self._latest - int(seconds[place]) > _STEP_BACK_S
            again[place] = self._second_pass
            self._latest = max(self._latest, int(seconds[place]))
        if use.any() and not twice[use][-1]:
            self._second_pass, self._latest = False, -(2**62)
        if twice.any():
            chunk.log.note(
                f"{int(twice.sum()):,} times that {zone} had twice: the first of both until they step back"
            )
        utc = np.where(again, _unix(second), _unix(first))
        return utc, ~naive | ~np.asarray(first.isna())


def _typed(cells: pa.Array) -> Dates:
    """Return the dates of a source that has them as such."""
    zoned = pa.types.is_timestamp(cells.type) and cells.type.tz is not None
    unit = cells.type.unit if pa.types.is_timestamp(cells.type) else "s"
    if pa.types.is_date(cells.type):
        cells = pc.cast(cells, pa.timestamp("s"))
    good = cells.is_valid().to_numpy(zero_copy_only=False)
    whole = pc.cast(cells, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    seconds, rest = np.divmod(whole, PER_S[unit])
    return Dates(
        seconds, rest * (PER_S["ns"] // PER_S[unit]), np.full(len(whole), 0 if zoned else NAIVE), good
    )


def _quick(cells: pa.StringArray, shape: Shape) -> Dates:
    """Parse dates of that shape; those of ISO 8601 by pyarrow's parser, at a sixth of the time."""
    if shape.said == "year first":
        for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
            try:
                return _typed(pc.cast(cells, kind))
            except pa.ArrowException:
                continue
    return parse(cells, shape)


def _dates_among(cells: pa.Array, good: np.ndarray) -> bool:
    bad = as_strings(cells).filter(pa.array(~good)).drop_null()[:1]
    return bool(len(bad)) and any(fits(pa.concat_arrays([bad]), known_shape(name))[0] for name in SHAPES)


def _unix(times: pd.DatetimeIndex) -> np.ndarray:
    return times.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
