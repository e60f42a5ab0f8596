"""Importer of Huawei's serverless traces: ``day,time,0,1,...``, a row per minute or second with counts.

Columns by number are functions, and an empty cell is no request. ``time`` counts seconds from the beginning
of the trace; where it begins anew every day, ``day`` says which. Requests are spread at random within their
interval. A folder is read as the files of the trace, in order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Interval, Piece, assemble
from vramlab.traces.importers.layout import find_layout
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.reading import chunks
from vramlab.traces.importers.rows import RowLog, categorical
from vramlab.traces.trace import Trace, require_columns_of

DAY_S = 86_400.0


def import_huawei(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read a file of requests per minute or second, or a folder of them; a model is a function's number.

    Raises
    ------
    InputError
        Naming file, line, column, what was found and what was expected.
    """
    options = replace(options or ImportOptions(), header=True)
    log = RowLog(source, options.skip_bad_rows)
    files = [Path(source)]
    if files[0].is_dir():
        files = sorted(path for path in files[0].iterdir() if ".csv" in path.suffixes)
        if not files:
            raise InputError(source, "", "no CSV file", "the days of Huawei's trace")
    return assemble(_pieces(files, log, options), log, options)


def _pieces(files: list[Path], log: RowLog, options: ImportOptions) -> Iterator[Piece]:
    interval = Interval(options.interval_s)
    for path in files:
        layout = find_layout(path, options)
        functions = [name for name in layout.columns if name.isdigit()]
        require_columns_of(layout.columns, ("day", "time", *(functions[:1] or ["0"])), path)
        for chunk in chunks(path, log, ("time", "day", *functions), layout, options):
            day = chunk.counts("day", "the number of a day", default=0)
            time_s = chunk.numbers("time", "seconds, 0 or more", at_least=0)
            time_s = np.where(time_s < day * DAY_S, day * DAY_S + time_s, time_s)
            counts = np.stack(
                [chunk.counts(name, "a count of 0 or more, or nothing", default=0) for name in functions],
                axis=1,
            )
            counts[~chunk.good] = 0
            rows, places = np.nonzero(counts)
            yield Piece(
                time_s=time_s[rows],
                function=categorical(places, functions),
                counts=counts[rows, places],
                spread_s=interval.of(time_s[chunk.good]),
            )
