"""Folders of results: what a replay or a live run leaves on disk.

A live run's folder holds ``journal.jsonl`` (which may be packed as ``.gz``), ``trace.csv`` (the requests as
they were served), ``config.yaml``, ``models.yaml`` (without the paths of files, which are this machine's),
``models.samples.parquet`` (where the models were profiled) and ``environment.json``, whose ``ended`` is false
for a run that was killed: that has no ``trace.csv``, its requests are those of the journal. A replay leaves
``requests.parquet``, ``loads.parquet``, ``evictions.parquet``, ``figures.json`` and, where it was kept,
``journal.jsonl``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from vramlab.config.bundled import there
from vramlab.config.errors import InputError
from vramlab.config.files import read_json, replacing
from vramlab.config.loading import load_config, load_inventory
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.journal import Journal, Line
from vramlab.runs.frames import frames
from vramlab.runs.journal_reading import JournalLines, read_journal
from vramlab.runs.journal_writing import write_journal
from vramlab.runs.lockstep import LockstepReport, lockstep
from vramlab.runs.records import Records
from vramlab.runs.samples import read_samples, samples_path
from vramlab.traces.files import read_trace
from vramlab.traces.trace import Trace

_JOURNALS = ("journal.jsonl", "journal.jsonl.gz")


@dataclass(frozen=True, eq=False)
class RunFolder:
    """A recorded live run, read back."""

    path: Path
    config: VramConfig
    inventory: Inventory
    journal: JournalLines
    trace: Trace
    environment: dict[str, Any]
    profile: pd.DataFrame | None = None

    @cached_property
    def followed(self) -> LockstepReport:
        """What a fresh engine comes to with its journal, as far as that is whole."""
        return lockstep(self.journal[: self.journal.whole], self.config, self.inventory)


def read_run(path: Path | str) -> RunFolder:
    """Read the folder of a live run.

    Of a journal that is damaged somewhere, the requests are those before that.

    Raises
    ------
    InputError
        If something is missing or malformed.
    """
    path = there(path)
    journal = journal_of(path)
    environment = read_environment(path)
    samples = samples_path(path / "models.yaml")
    lines = read_journal(journal)
    trace = path / "trace.csv"
    killed = environment.get("ended") is False and not trace.exists()
    arrived = journal_trace(lines[: lines.whole], str(journal))
    served = arrived if killed or lines.damaged else read_trace(trace)
    if served.sha256 != arrived.sha256:  # one was overwritten: figures would mix two runs
        found = f"{len(served):,} requests that are not the {len(arrived):,} of {journal.name}"
        raise InputError(trace, "", found, "journal and trace of one recording")
    return RunFolder(
        path,
        load_config(path / "config.yaml"),
        load_inventory(path / "models.yaml"),
        lines,
        served,
        environment,
        read_samples(samples) if samples.exists() else None,
    )


def journal_of(path: Path) -> Path:
    """Find the journal of the live run in this folder.

    Raises
    ------
    InputError
        If there is none.
    """
    for name in _JOURNALS:
        if (there(path) / name).exists():
            return there(path) / name
    expected = "a folder that `vramlab record` wrote"
    if (there(path) / "figures.json").exists():
        expected += ", or `vramlab replay --out`, which decide mode writes no journal of"
    raise InputError(path, "", "no journal.jsonl", expected)


def read_environment(path: Path) -> dict[str, Any]:
    """Read what a live run in this folder ran on, and whether it has ended.

    Raises
    ------
    InputError
        If the folder does not say.
    """
    return read_json(there(path) / "environment.json", "a JSON file of the recording")


def journal_trace(journal: Sequence[Line], source: str = "<journal>") -> Trace:
    """Make a trace of a journal's requests.

    Raises
    ------
    InputError
        If there are none.
    """
    rows = [
        {"time_s": line.time_s, "model": line.model, **(line.detail or {})}
        for line in journal
        if line.event == "arrival"
    ]
    return Trace.from_frame(pd.DataFrame(rows, columns=None if rows else ["time_s", "model"]), source)


def read_requests(path: Path | str) -> Trace:
    """Read the requests of a trace file, of a journal (``.jsonl``, ``.jsonl.gz``), or of a run's folder.

    Of a journal that is damaged somewhere, the requests are those before that.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    place = there(path)
    if place.is_dir():
        return read_requests(journal_of(place))
    if not is_journal(place):
        return read_trace(path)
    lines = read_journal(place)
    return journal_trace(lines[: lines.whole], str(path))


def is_live_run(path: Path | str) -> bool:
    """Whether this is the folder of a live run, rather than a trace, a journal, or a replay's folder."""
    return (there(path) / "environment.json").exists()


def is_journal(path: Path | str) -> bool:
    """Whether a file's name says that it is a journal."""
    return Path(path).name.endswith((".jsonl", ".jsonl.gz"))


def write_json(document: Any, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def check_replay_folder(folder: Path | str) -> None:
    """Refuse the folder of a live run, whose journal a replay would overwrite; that of a replay is its own.

    Raises
    ------
    InputError
        If there is a recording.
    """
    if (Path(folder) / "environment.json").exists():
        raise InputError(folder, "", "a recording of `vramlab record`", "another folder for the replay")


def write_replay(
    folder: Path | str, records: Records, figures: dict[str, Any], journal: Journal | None = None
) -> None:
    """Write a replay's records, figures and journal into `folder`.

    Raises
    ------
    InputError
        If there is a recording, or the folder cannot be written.
    """
    folder = Path(folder)
    check_replay_folder(folder)
    for name, frame in frames(records).items():
        with replacing(folder / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
    write_json(figures, folder / "figures.json")
    if journal is not None:
        write_journal(journal, folder / "journal.jsonl")
