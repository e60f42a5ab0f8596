"""Importers of the Azure Functions traces of 2019 and 2021 (Azure Public Dataset), told apart by columns.

2021: one row per invocation (``app,func,end_timestamp,duration``, seconds); it arrived at the end less the
duration. 2019: one row per function and day, with counts for the 1,440 minutes; the requests are spread
evenly at random within their minute. A folder is read as the days of the 2019 trace, in order of file names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Piece, assemble, joined
from vramlab.traces.importers.layout import Layout, find_layout
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.reading import chunks
from vramlab.traces.importers.rows import RowLog
from vramlab.traces.trace import Trace, require_columns_of

COLUMNS_2021 = ("end_timestamp", "app", "func", "duration")
NAMES_2019 = ("HashOwner", "HashApp", "HashFunction")
MINUTES = tuple(str(minute) for minute in range(1, 1441))
MINUTE_S, DAY_S = 60.0, 86_400.0


def import_azure_functions(
    source: Path | str, options: ImportOptions | None = None
) -> tuple[Trace, ImportReport]:
    """Read a file of either trace, or a folder of days of the 2019 one.

    A function's name is ``app/func``; the requester is the app (2021) or the owner (2019).

    Raises
    ------
    InputError
        Naming file, line, column, what was found and what was expected.
    """
    options = replace(options or ImportOptions(), header=True)
    log = RowLog(source, options.skip_bad_rows)
    days = _day_files(source)
    if days is None:
        layout = find_layout(source, options)
        if "HashFunction" not in layout.columns:
            require_columns_of(layout.columns, COLUMNS_2021, source)
            return assemble(_pieces_2021(source, log, layout, options), log, options)
    return assemble(_pieces_2019(days or [Path(source)], log, options), log, options)


def _pieces_2021(source: Path | str, log: RowLog, layout: Layout, options: ImportOptions) -> Iterator[Piece]:
    for chunk in chunks(source, log, COLUMNS_2021, layout, options):
        app = chunk.names("app", "the name of an app")
        function = chunk.names("func", "the name of a function")
        end_s = chunk.numbers("end_timestamp", "a finite number of seconds")
        duration_s = chunk.numbers("duration", "seconds, 0 or more", at_least=0)
        good = chunk.good
        yield Piece(
            time_s=(end_s - duration_s)[good],
            function=joined(app[good], function[good]),
            texts={"requester": app[good]},
        )


def _pieces_2019(files: list[Path], log: RowLog, options: ImportOptions) -> Iterator[Piece]:
    first_day = _day_of(files[0])
    for number, path in enumerate(files):
        layout = find_layout(path, options)
        require_columns_of(layout.columns, NAMES_2019, path)
        minutes = {
            name: int(name.removeprefix("minute_")) for name in layout.columns if _MINUTE.fullmatch(name)
        }
        require_columns_of(layout.columns, [] if minutes else MINUTES[:1], path)
        day = _day_of(path)
        offset_s = DAY_S * (number if day is None or first_day is None else day - first_day)
        starts_s = offset_s + (np.array(list(minutes.values())) - 1) * MINUTE_S
        for chunk in chunks(path, log, (*NAMES_2019, *minutes), layout, options):
            owner, app, function = (chunk.names(name, "a hash") for name in NAMES_2019)
            counts = np.stack(
                [chunk.counts(name, "a count of 0 or more", default=0) for name in minutes], axis=1
            )
            counts[~chunk.good] = 0
            rows, places = np.nonzero(counts)
            yield Piece(
                time_s=starts_s[places],
                function=joined(app, function)[rows],
                texts={"requester": owner[rows]},
                counts=counts[rows, places],
                spread_s=MINUTE_S,
            )


_MINUTE = re.compile(r"(?:minute_)?[1-9]\d*")


def _day_files(source: Path | str) -> list[Path] | None:
    if not Path(source).is_dir():
        return None
    files = sorted(path for path in Path(source).iterdir() if re.search(r"\.csv(\.\w+)?$", path.name))
    if not files:
        raise InputError(source, "", "no CSV file", "the days of the Azure Functions trace of 2019")
    return files


def _day_of(path: Path) -> int | None:
    """Return the day in a name such as ``invocations_per_function_md.anon.d03.csv``."""
    found = re.search(r"\.d(\d+)\.csv", path.name)
    return int(found[1]) if found else None
