"""Importer of libCacheSim's binary format ``oracleGeneral``, also as ``.zst`` or ``.gz``.

Records of 24 bytes, little-endian and packed: uint32 time in seconds, uint64 object, uint32 size in bytes,
int64 number of the next request for the object. The last is of no use here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.packed import BROKEN, open_source, unreadable
from vramlab.traces.importers.rows import RowLog, categorical
from vramlab.traces.importers.table import note_sizes
from vramlab.traces.trace import Trace

RECORD = np.dtype([("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])

RECORDS_PER_CHUNK = 1_000_000

_FAR = 2**48  # no trace has so many requests
_TEXT = {*range(32, 127), 9, 10, 13}


def import_oracle_general(
    source: Path | str, options: ImportOptions | None = None
) -> tuple[Trace, ImportReport]:
    """Read a trace; a model's name is its object's number. The report has the sizes.

    Raises
    ------
    InputError
        If the file cannot be read, is empty or ends within a record.
    """
    options = options or ImportOptions()
    log = RowLog(source, options.skip_bad_rows)
    sizes: dict[str, int] = {}
    return assemble(_pieces(source, log, sizes), log, options, sizes)


def _pieces(source: Path | str, log: RowLog, sizes: dict[str, int]) -> Iterator[Piece]:
    with open_source(source) as stream:
        while data := _read(stream, RECORDS_PER_CHUNK * RECORD.itemsize, source):
            whole, rest = divmod(len(data), RECORD.itemsize)
            if rest:
                expected = f"whole records of {RECORD.itemsize} bytes"
                raise InputError(source, f"row {log.rows_read + whole + 1}", f"{rest} bytes", expected)
            records = np.frombuffer(data, dtype=RECORD)
            _check(records, log.rows_read, source)
            log.rows_read += whole
            objects, which = np.unique(records["object"], return_inverse=True)
            function = categorical(which, [str(number) for number in objects])
            note_sizes(sizes, function, records["size"].astype(np.int64))
            yield Piece(time_s=records["time"].astype(np.float64), function=function)
    if not log.rows_read:
        raise InputError(source, "", "an empty file", "at least one record")


def _check(records: np.ndarray, first: int, source: Path | str) -> None:
    """Refuse bytes of another kind: times run on, and the next request for an object comes after this one.

    Raises
    ------
    InputError
        If a hundredth of the records do otherwise.
    """
    rows = first + np.arange(len(records))
    backwards = int((np.diff(records["time"].astype(np.int64)) < 0).sum())
    before = int(((records["next"] >= 0) & (records["next"] <= rows)).sum())
    far = int(((records["next"] > _FAR) & (records["next"] != np.iinfo(np.int64).max)).sum())
    if 100 * (backwards + before + far) > len(records):
        expected = "records of oracleGeneral (`vramlab import libcachesim-csv` is for text)"
        text = not set(records[:10].tobytes()) - _TEXT
        found = "text" if text else "bytes that are none"
        raise InputError(source, "", found, expected)


def _read(stream: pa.NativeFile, size: int, source: Path | str) -> bytes:
    parts, missing = [], size
    try:
        # a stream that unpacks may give less than it was asked for
        while missing and (part := stream.read(missing)):
            parts.append(part)
            missing -= len(part)
    except BROKEN as error:
        raise unreadable(source, error) from error
    return b"".join(parts)
