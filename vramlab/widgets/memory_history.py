"""How the memory map changed in the course of a run: its journal is fed through the engine again, watched."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vramlab.allocator.placement import Block
from vramlab.analysis.layouts import zones_of
from vramlab.config.bundled import there
from vramlab.config.errors import InputError
from vramlab.config.html import html_table
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import bytes_to_mib
from vramlab.engine.engine import Engine
from vramlab.engine.journal import Line
from vramlab.experiments.case import ConfigLike, ModelsLike, resolve_settings
from vramlab.experiments.replay import Replay
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep
from vramlab.runs.run_folder import RunFolder, read_run


class Moment(NamedTuple):
    """The map from `time_s` on: all extents and holes, what is loading or evicting, and what happened."""

    time_s: float
    layout: tuple[Block, ...]
    states: dict[str, str]
    events: tuple[str, ...]
    evicted: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """Return the layout as :mod:`vramlab.analysis.layouts` wants it."""
        frame = pd.DataFrame(self.layout, columns=list(Block._fields))
        frame["state"] = [self.states.get(model) if model else None for model in frame["model"]]
        return frame

    def held_bytes(self) -> int:
        """Return the bytes of all models in the map."""
        return sum(block.size_bytes for block in self.layout if block.model is not None)

    def _repr_html_(self) -> str:
        return zones_html(self)


@dataclass(frozen=True, eq=False)
class MemoryHistory:
    """All moments of a run at which its memory map changed, in the order of time."""

    source: str
    moments: list[Moment]
    models: list[str]
    budget_bytes: int

    def __len__(self) -> int:
        return len(self.moments)

    def at(self, time_s: float) -> int:
        """Return the number of the moment that holds at `time_s`: the first one before the run began."""
        return max(bisect_right(self.moments, time_s, key=lambda moment: moment.time_s) - 1, 0)

    def evictions(self) -> list[int]:
        """Return the numbers of the moments at which models left."""
        return [number for number, moment in enumerate(self.moments) if moment.evicted]


Run = RunFolder | Replay | Sequence[Line] | Path | str


def memory_history(
    run: Run,
    config: ConfigLike = None,
    models: ModelsLike = None,
) -> MemoryHistory:
    """Return the memory maps of a run.

    Parameters
    ----------
    run : RunFolder, Replay, sequence of Line, Path or str
        A recorded run or its folder; a replay that kept its journal; a journal or its file.
    config, models
        Settings and inventory of the run; a folder has its own.

    Raises
    ------
    InputError
        For a replay without a journal, and a journal that this engine, under these settings, does not follow.
    """
    source, lines, settings, inventory = _resolved(run, config, models)
    moments: list[Moment] = []

    def watch(made: list[Line], engine: Engine) -> None:
        moved = [line for line in made if line.what and line.what.startswith(("load", "unload"))]
        if not moved:
            return
        states: dict[str, str] = {
            name: model.state.value
            for name, model in engine.allocator.models.items()
            if model.state.value in ("loading", "evicting")
        }
        events = tuple(_told(line) for line in moved if line.event != "decision")
        gone = tuple(line.model or "" for line in moved if line.event == "start" and line.what == "unload")
        moments.append(
            Moment(made[0].time_s, tuple(engine.allocator.placement.maps.layout()), states, events, gone)
        )

    report = lockstep(lines, settings, inventory, watch)
    if report.differences:
        expected = "a journal that the engine follows under these settings"
        raise InputError(source, "journal", str(report.differences[0]), expected)
    if not moments:
        raise InputError(source, "journal", "no load", "a run in which something was loaded")
    return MemoryHistory(source, moments, list(inventory), settings.budget_bytes)


def _resolved(run: Run, config: Any, models: Any) -> tuple[str, list[Line], VramConfig, Inventory]:
    if isinstance(run, Path | str):
        run = read_run(run) if there(run).is_dir() else read_journal(run)
    if isinstance(run, RunFolder):
        return str(run.path), run.journal, run.config, run.inventory
    settings, inventory = resolve_settings(config, models)
    if isinstance(run, Replay):
        if run.journal is None:
            raise InputError("replay", "journal", "none", "a replay that kept it: replay(..., journal=True)")
        return "replay", list(run.journal), settings, inventory
    return "journal", list(run), settings, inventory


def _told(line: Line) -> str:
    """Return one line of the journal in words."""
    verb, _, place = (line.what or "").partition(" on ")
    words = {
        ("load", "start"): "begins to load",
        ("load", "end"): "is loaded",
        ("load", "fail"): "could not be loaded",
        ("unload", "start"): "leaves",
        ("unload", "end"): "is gone",
    }
    text = f"{line.model} {words.get((verb, line.event), f'{verb} {line.event}')}"
    return f"{text} (CPU)" if place == "cpu" else text


def zones_html(moment: Moment) -> str:
    """Return used, free, largest hole and fragmentation of each zone, as a table."""
    rows = [
        (
            name,
            f"{bytes_to_mib(zone['used_bytes']):,.1f} MB",
            f"{bytes_to_mib(zone['free_bytes']):,.1f} MB",
            f"{bytes_to_mib(zone['largest_hole_bytes']):,.1f} MB",
            f"{100 * zone['fragmentation']:.1f} %",
        )
        for name, zone in zones_of(moment.frame()).items()
    ]
    widths = (110, 90, 90, 100, 100)
    return html_table(["zone", "used", "free", "largest hole", "fragmentation"], rows, widths=widths)
