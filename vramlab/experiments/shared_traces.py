"""Traces that many processes read and none copies.

A trace is written once as an Arrow file, uncompressed, with its texts as codes. On one machine the workers
map that file into memory, so that all of them look at the same pages; on a cluster its bytes go to each
worker once. Either way the columns are views of that buffer, and nothing is parsed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from vramlab.config.files import replacing
from vramlab.config.fingerprints import fingerprint, remember
from vramlab.experiments.case import Case
from vramlab.traces.texts import TEXT_COLUMNS, Texts
from vramlab.traces.trace import Trace


@dataclass(frozen=True)
class SharedTrace:
    """A handle on a trace that travels to workers: the path of an Arrow file, or its bytes."""

    source: str
    sha256: str
    requests: int
    place: str | bytes = field(repr=False)

    def open(self) -> Trace:
        """Return the trace, opened once per process."""
        return _opened(self)


@dataclass(frozen=True, eq=False)
class SharedCase:
    """A case that travels to workers: its trace as a handle, the rest of it as it is.

    `models` is the fingerprint of its inventory.
    """

    trace: SharedTrace
    rest: Mapping[str, Any] = field(repr=False)
    models: str

    def open(self) -> Case:
        """Return the case, its trace opened once per process."""
        remember(self.rest["inventory"], self.models)
        return Case(self.trace.open(), **self.rest)


def short_name(source: str) -> str:
    """Return a file's name without suffixes: how tables call the trace."""
    return Path(source).name.split(".")[0] or source


def share_case(case: Case, folder: Path | None = None) -> SharedCase:
    """Put a case where workers find it; `folder` as for :func:`share`."""
    rest = {one.name: getattr(case, one.name) for one in fields(case) if one.name != "trace"}
    return SharedCase(share(case.trace, folder), rest, fingerprint(case.inventory))


def share(trace: Trace, folder: Path | None = None) -> SharedTrace:
    """Put a trace where workers find it.

    Parameters
    ----------
    trace : Trace
        Requests.
    folder : Path, optional
        Of the Arrow file, for workers of this machine; without it the handle carries the bytes.
    """
    path = folder and folder / f"{trace.sha256}.arrow"
    if path is not None and path.exists():
        return SharedTrace(trace.source, trace.sha256, len(trace), str(path))
    table = _table(trace)
    if path is None:
        sink = pa.BufferOutputStream()
        _write(table, sink)
        return SharedTrace(trace.source, trace.sha256, len(trace), sink.getvalue().to_pybytes())
    with replacing(path) as temporary, pa.OSFile(str(temporary), "wb") as file:
        _write(table, file)
    return SharedTrace(trace.source, trace.sha256, len(trace), str(path))


def _table(trace: Trace) -> pa.Table:
    """Return the known columns; a trace's other ones play no part in a run."""
    columns = {"time_s": pa.array(trace.times_s), "items": pa.array(trace.items)}
    for column, (codes, names) in trace.texts.items():
        indices = pa.array(codes, mask=codes < 0)
        columns[column] = pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))
    return pa.table(columns)


def _write(table: pa.Table, sink: pa.NativeFile) -> None:
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


@lru_cache(maxsize=32)
def _opened(shared: SharedTrace) -> Trace:
    buffer = pa.BufferReader(shared.place) if isinstance(shared.place, bytes) else pa.memory_map(shared.place)
    table = ipc.open_file(buffer).read_all()
    trace = Trace(table.to_pandas(split_blocks=True), shared.source)
    # what a trace works out once from its frame is known already
    trace.__dict__.update(
        times_s=table["time_s"].to_numpy(), items=table["items"].to_numpy(), sha256=shared.sha256,
        texts={column: _texts(table[column]) for column in TEXT_COLUMNS if column in table.column_names},
    )  # fmt: skip
    return trace


def _texts(column: pa.ChunkedArray) -> Texts:
    coded = column.combine_chunks()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    codes = coded.indices.fill_null(-1) if coded.indices.null_count else coded.indices
    return Texts(np.asarray(codes), coded.dictionary.to_pylist())
