"""``memory``: where the models lay in their zones, at any moment of a recorded run."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from vramlab.analysis.layouts import zones_of
from vramlab.analysis.timelines import memory_map
from vramlab.cli.inputs import JsonOption
from vramlab.cli.output import log, mebibytes, percent, picture, print_json, print_table, save_plot
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.experiments.following import is_stop
from vramlab.runs.lockstep import lockstep
from vramlab.runs.run_folder import read_run


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("memory")(memory_command)


def memory_command(
    run: Annotated[Path, typer.Argument(help="Folder that `vramlab record` wrote.")],
    at: Annotated[
        float | None,
        typer.Option(
            "--at", help="Seconds since the start of the run; without it, before it gave everything back."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of the memory map to write."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the models lay in their zones, and how broken up the free memory was.

    The run's journal is fed through the engine again up to that moment, so it is exact.

    Example: vramlab memory traces/recorded_tight --at 5 --plot map.png
    """
    check_outputs([plot])
    folder = read_run(run)
    lines = list(takewhile(lambda line: not is_stop(line), folder.journal))  # as `monitor` does
    lines = [line for line in lines if at is None or line.time_s <= at]
    if not lines:
        raise InputError("--at", "", at, f"a time of the run, which begins at {folder.journal[0].time_s} s")
    report = lockstep(lines, folder.config, folder.inventory)
    if report.differences:
        raise InputError(run, "journal", str(report.differences[0]), "a journal of this engine")
    zones = zones_of(pd.DataFrame(report.layout))
    if plot is not None:
        title = f"{run.name} after {lines[-1].time_s:.1f} s"
        save_plot(memory_map(pd.DataFrame(report.layout), title=title), plot)
        log.print(f"written to {plot}")
    if as_json:
        blocks = [block._asdict() for block in report.layout]
        print_json({"time_s": lines[-1].time_s, "zones": zones, "extents": blocks})
        return
    rows = [
        (
            name,
            mebibytes(zone["used_bytes"]),
            mebibytes(zone["free_bytes"]),
            mebibytes(zone["largest_hole_bytes"]),
            percent(zone["fragmentation"]),
        )
        for name, zone in zones.items()
    ]
    heading = ["zone", "used", "free", "largest hole", "fragmentation"]
    print_table(f"{run} after {lines[-1].time_s:.1f} s", heading, rows)
