"""Results of a study on disk: a line per run while it goes on, one Parquet file with a manifest at the end.

``FILE.runs.jsonl`` grows by one line per ended run, each written and flushed at once: whatever ends the
study, only the runs under way are lost. A line that was cut short is not counted. At the end the rows become
``FILE`` (Parquet), in the order of the study, and the lines go away. A manifest with ``FILE``'s name and
``.manifest.json`` stands beside it. Resuming takes rows from either. Before the first run has ended nothing
is written: a study that fails at once leaves nothing that would stand in the way of the next call. Two
studies never write at one place at a time: the second is refused, also after the first was killed and a third
began.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, locked, read_json, replacing

Row = dict[str, Any]

# What must be equal for rows of two calls to stand in one table.
_SAME = ("code_sha256", "models_sha256", "faults_sha256", "mode")


def manifest_path(path: Path) -> Path:
    """Return where the manifest of the results `path` stands."""
    return path.with_suffix(".manifest.json")


def journal_path(path: Path) -> Path:
    """Return where the rows of a study that is under way stand."""
    return path.with_name(f"{path.name}.runs.jsonl")


class ResultsStore:
    """Rows of a study under way.

    Parameters
    ----------
    path : Path
        The Parquet file that they will become.
    manifest : mapping
        What the rows were made from; JSON.
    resume : bool
        Take over the rows that are there.

    Raises
    ------
    InputError
        If another process writes there, there are rows of an earlier study, finished or not, and it is not to
        be resumed, or those that are there were made by other code or from other inputs, or the place cannot
        be written.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self.manifest = dict(manifest)
        if path.suffix != ".parquet":
            raise InputError(path, "", f"suffix {path.suffix!r}", ".parquet")
        check_outputs([path, manifest_path(path), journal_path(path)])
        self._journal = journal_path(path)
        self._file: TextIO | None = None
        self.earlier: dict[str, Row] = {}
        with ExitStack() as stack:
            stack.enter_context(locked(path))
            self._look(resume)
            self._lock = stack.pop_all()

    def _look(self, resume: bool) -> None:
        """Take over what is there, or refuse to write over it."""
        path = self.path
        if resume:
            self._check_same()
            self.earlier = {row["run_key"]: row for row in self._rows() if not row.get("error")}
        elif runs := _count(self._journal):
            raise InputError(
                path, "", f"{runs} runs of an unfinished study", f"--resume, or no {self._journal.name}"
            )
        elif path.exists():
            found = "the results of an earlier study"
            raise InputError(path, "", found, "--resume to go on with them, or another file")

    def close(self) -> None:
        """Stop writing, and let others write; what is there stays."""
        if self._file is not None:
            with suppress(OSError):  # of a full disk: what is lost has been said by `add`
                self._file.close()
        self._lock.close()

    def add(self, row: Row) -> None:
        """Keep one row: when this returns, it is on the disk."""
        if self._file is None:
            self._file = self._begun()
        try:
            self._file.write(_line(row))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            raise InputError(self._journal, "", found, "a disk with room for the results") from error

    def _begun(self) -> TextIO:
        _write_json(self.manifest, manifest_path(self.path))
        # rewritten without a line that was cut short, and without runs that failed
        with replacing(self._journal) as temporary:
            temporary.write_text("".join(map(_line, self.earlier.values())), encoding="utf-8")
        return self._journal.open("a", encoding="utf-8")

    def finish(self, rows: Iterable[Row], **found: Any) -> pd.DataFrame:
        """Write the table, its rows in the order given, and the manifest with what was `found`."""
        table = columns(rows)
        with replacing(self.path) as temporary:
            pq.write_table(pa.table(table), temporary, compression="zstd")
        _write_json(self.manifest | found, manifest_path(self.path))
        self.close()
        self._journal.unlink(missing_ok=True)
        return pd.DataFrame(table)

    def _check_same(self) -> None:
        place = manifest_path(self.path)
        if not place.exists():
            return  # nothing was begun: the first call of one that resumes
        there = read_json(place, "the manifest of the study to be resumed")
        for key in _SAME:
            if there.get(key) != self.manifest[key]:
                found, expected = str(there.get(key))[:12], str(self.manifest[key])[:12]
                raise InputError(place, key, found, f"{expected}, as now; begin anew without --resume")

    def _rows(self) -> list[Row]:
        rows: list[Row] = []
        if self.path.exists():
            try:
                rows += pq.read_table(self.path).to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise InputError(self.path, "", error, "a Parquet file of results") from error
        if self._journal.exists():
            for text in self._journal.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(text)
                except (ValueError, RecursionError):
                    continue  # the study ended in the middle of this line
                if isinstance(row, dict) and isinstance(row.get("run_key"), str):
                    rows.append(row)
        return rows


def columns(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Return rows as columns, None for a missing value; values of several kinds become text."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    found = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds & {list, dict, tuple} or (len(kinds) > 1 and kinds != {int, float}):
            values = [None if value is None else _text(value) for value in values]
        found[name] = values
    return found


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a table."""
    return pd.DataFrame(columns(rows))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(row: Row) -> str:
    return json.dumps(row, default=lambda value: value.item()) + "\n"


def _count(journal: Path) -> int:
    if not journal.exists():
        return 0
    with journal.open(encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def _write_json(document: Mapping[str, Any], path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
