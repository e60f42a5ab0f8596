"""``monitor``: a device, its zones and models, of a run elsewhere or while a workload plays."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vramlab.analysis.figures import by_outcome
from vramlab.cli.inputs import (
    DeviceOption,
    JsonOption,
    SeedOption,
    SettingsOptions,
    SpeedOption,
    grouped,
)
from vramlab.cli.output import SIDES, count, log, mebibytes, out, print_json, seconds, stacked
from vramlab.config.bundled import there
from vramlab.config.errors import InputError
from vramlab.experiments.following import Following, follow_run
from vramlab.live.logs import log_to
from vramlab.live.loops import run_to_end
from vramlab.runs.status import Status

_STYLES = {"in use": "bold green", "resident": "green", "loading": "yellow", "evicting": "red"}
_BAR = 30  # characters; half of it where the terminal is narrow
_NARROW = 100
_SHORTEST_NAME = 20  # a longer name takes several lines before a column is left out
_LEFT_OUT = ("priority", "under way", "predicted use", "uses", "size")  # in this order, for want of room


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("monitor")(monitor_command)


@dataclass(frozen=True)
class PlayedOptions:
    """What is played here, and what is served and written of it."""

    workload: Annotated[
        Path | None,
        typer.Option("--workload", help="Trace that is played. Default: only what is always loaded."),
    ] = None
    device: DeviceOption = "auto"
    speed: SpeedOption = 1.0
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", min=0, help="Serve metrics for Prometheus there, on loopback."),
    ] = None
    log_file: Annotated[
        Path | None, typer.Option("--log", help="Append the log to this file, as JSON lines.")
    ] = None
    seed: SeedOption = 0


@dataclass(frozen=True)
class LookOptions:
    """When to look, and how often."""

    at: Annotated[
        float | None,
        typer.Option(
            "--at",
            help="Show RUN as it stood so many seconds in, or before it gave everything back, and exit.",
        ),
    ] = None
    interval: Annotated[float, typer.Option("--interval", min=0.05, help="Seconds between two looks.")] = 0.5
    once: Annotated[
        bool, typer.Option("--once", help="Play the workload to its end, show one table and exit.")
    ] = False


@grouped
def monitor_command(
    settings: SettingsOptions,
    played: PlayedOptions,
    look: LookOptions,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="Folder of a recording, or journal (.jsonl) of a runtime, that goes on or has ended.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a device: its memory, zones, and models with state, score, last use and counts. Ctrl+C ends it.

    With RUN, that of another process, or of a run that has ended, by its journal alone; one that lies in no
    recording's folder needs --config and --models. What has ended is shown as it stood before it gave
    everything back, as `vramlab memory` does. Without RUN a workload is played here, and models without a
    file get stand-ins.
    Examples: vramlab monitor runs/one; vramlab monitor --workload traces/live_workload.csv
    """
    if run is not None:
        _check_watching(run, played, settings)
        following = _follow(run, settings, look.at)
        _show(following, None if look.once or as_json or look.at is not None else look.interval, as_json)
        return
    if look.at is not None:
        raise InputError("--at", "", look.at, "a RUN to look at")
    once = look.once or as_json
    handler = None if played.log_file is None else log_to(played.log_file)
    try:
        status = run_to_end(_play(settings, played, None if once else look.interval))
    except KeyboardInterrupt:
        return
    finally:
        if handler is not None:
            logging.getLogger("vramlab").removeHandler(handler)
            handler.close()
    if as_json:
        print_json(status.document())
    elif once:
        _print(status)


def _check_watching(run: Path, played: PlayedOptions, settings: SettingsOptions) -> None:
    """Refuse options that would mean nothing for a run elsewhere."""
    of_playing: dict[str, object] = {
        "--workload": played.workload,
        "--metrics-port": played.metrics_port,
        "--log": played.log_file,
        "--device": None if played.device == "auto" else played.device,
        "--speed": None if played.speed == 1 else played.speed,
    }
    of_settings: dict[str, object] = {
        "--config": settings.config, "--models": settings.models, "--set": settings.overrides,
    }  # fmt: skip
    meaningless = [*of_playing.items(), *(of_settings.items() if there(run).is_dir() else ())]
    for option, value in meaningless:
        if value is not None:
            why = "whose folder says it" if option in of_settings else "which is played elsewhere"
            raise InputError(option, "", value, f"no such option beside the run {run}, {why}")


def _follow(run: Path, settings: SettingsOptions, at: float | None) -> Following:
    run = there(run)
    if run.is_dir():
        return follow_run(run, at)
    if not run.exists():
        raise InputError(run, "", "no such file or folder", "a folder of a recording, or a journal")
    if settings.config is None or settings.models is None:
        raise InputError("monitor", str(run), "a journal by itself", "--config and --models of its runtime")
    return Following(run, *settings.resolve(), until_s=at)


def _show(following: Following, interval_s: float | None, as_json: bool) -> None:
    """Show a run elsewhere, once or until it ends."""
    status = following.status()
    if as_json:
        print_json(status.document() | {"ended": following.ended, "silent_s": following.silent_s})
    elif interval_s is None or following.closed:
        _print(status, _said_of(following))
    else:
        with (
            suppress(KeyboardInterrupt),
            Live(view(status, out.width, _said_of(following)), console=out, auto_refresh=False) as live,
        ):
            while not following.closed:
                time.sleep(interval_s)
                status = following.status()
                live.update(view(status, out.width, _said_of(following)), refresh=True)


def _said_of(following: Following) -> str:
    """Return what there is to say of a run elsewhere beside how it stands."""
    if following.ended:
        return "ended"
    return f"no journal line for {following.silent_s:,.0f} s" if following.silent else ""


def _print(status: Status, said: str = "") -> None:
    console = out if out.is_terminal else Console(file=out.file, highlight=False, width=120)
    console.print(view(status, console.width, said))


async def _play(settings: SettingsOptions, played: PlayedOptions, interval_s: float | None) -> Status:
    """Play and show; without an interval only the last status counts. Returns it."""
    # here, as they load ONNX Runtime, which other commands do not need
    from vramlab.live.recording import play, playable_recipes
    from vramlab.live.runtime import LiveRuntime
    from vramlab.live.stand_ins import with_stand_ins

    trace, speed, playing = None, played.speed, None
    if played.workload is None:
        config, inventory = settings.resolve()
    else:
        case = settings.case(played.workload)
        trace, config, inventory = case.trace, case.config, case.inventory
    inventory = with_stand_ins(inventory)
    recipes = None if trace is None else playable_recipes(trace, inventory, speed)
    async with LiveRuntime(config, inventory, played.device, metrics_port=played.metrics_port) as runtime:
        if runtime.metrics is not None:
            log.print(f"metrics at http://127.0.0.1:{runtime.metrics.port}/metrics")
        if trace is not None:
            rng = np.random.default_rng(played.seed)
            playing = asyncio.create_task(play(trace, runtime, rng, speed, recipes=recipes))
        if interval_s is not None:
            with Live(view(runtime.status(), out.width), console=out, auto_refresh=False) as live:
                while playing is None or not playing.done():
                    await asyncio.sleep(interval_s)
                    live.update(view(runtime.status(), out.width), refresh=True)
        if playing is not None:
            await playing
        return runtime.status()


def view(status: Status, width: int = 120, said: str = "") -> Group:
    """Return a status for a terminal of so many characters; `said` of the run stands beside its time."""
    bar = _BAR if width >= _NARROW else _BAR // 2
    total = status.memory_total_bytes
    heading = Text.assemble(
        (status.device, "bold"),
        f"  {mebibytes(status.memory_used_bytes)} of {mebibytes(total)} taken  ",
        _bar(status.memory_used_bytes, total, bar),
        f"  models hold {mebibytes(status.held_bytes)} of {mebibytes(status.budget_bytes)}",
        no_wrap=False,
        overflow="fold",  # both said, for by the settings of the console what is shown live would be cut
    )
    labels = {name: figure.label for name, figure in by_outcome().items()}
    ended = "  ".join(f"{labels[name]} {count(n)}" for name, n in status.outcomes.items() if n)
    counts = Text(
        f"{status.time_s:,.1f} s  {said and said + '  '}{ended or 'no requests yet'}\n"
        f"loads {count(status.loads)}  failed {count(status.failed_loads)}  "
        f"evictions {count(status.evictions)}  under way {status.under_way}  "
        f"waiting: GPU {status.waiting_for_gpu}, CPU {status.waiting_for_cpu}, "
        f"models in use {status.waiting_in_line}",
        style="dim",
        no_wrap=False,
        overflow="fold",
    )
    return Group(heading, counts, _zones(status, bar), _models(status, width))


def _zones(status: Status, bar: int) -> Table:
    table = Table(title="zones", title_justify="left", title_style="bold")
    for column in ("zone", "held", "size", "", "models"):
        table.add_column(column, justify="left" if column in ("zone", "") else "right", overflow="fold")
    for zone in status.zones:
        most = "" if zone.max_models is None else f" of {zone.max_models}"
        table.add_row(
            zone.name,
            mebibytes(zone.held_bytes),
            mebibytes(zone.size_bytes),
            _bar(zone.held_bytes, zone.size_bytes, bar),
            f"{zone.models}{most}",
        )
    return table


def _models(status: Status, width: int) -> Table:
    models = sorted(status.models, key=lambda model: (model.zone is None, model.zone or "", model.name))
    columns = {
        "model": [model.name for model in models],
        "state": [model.state for model in models],
        "priority": [model.priority for model in models],
        "zone": [model.zone or "-" for model in models],
        "size": [mebibytes(model.footprint_bytes) for model in models],
        "score": ["-" if model.score is None else f"{model.score:.3g}" for model in models],
        "unused for": [seconds(model.last_used_s_ago) for model in models],
        "uses": [count(model.uses) for model in models],
        "under way": [str(model.requests_under_way or "-") for model in models],
    }
    if any(model.predicted_use is not None for model in models):
        columns["predicted use"] = [
            "-" if model.predicted_use is None else f"{model.predicted_use:.2f}" for model in models
        ]
    for name in _LEFT_OUT:
        if _width(columns) > width:
            columns.pop(name, None)
    table = Table(title="models", title_justify="left", title_style="bold")
    for name in columns:
        left = name in ("model", "state", "priority", "zone")
        table.add_column(
            stacked(name, 0), justify="left" if left else "right", no_wrap=name != "model", overflow="fold"
        )
    for cells in zip(*columns.values(), strict=True):
        state = Text(cells[1], style=_STYLES.get(cells[1], "dim"))
        table.add_row(cells[0], state, *cells[2:])
    return table


def _width(columns: dict[str, list[str]]) -> int:
    """Return what a table takes, with headings in several lines and names as short as may be."""
    widths = {
        name: max(cell_len(text) for text in [*stacked(name, 0).split("\n"), *cells])
        for name, cells in columns.items()
    }
    widths["model"] = min(widths["model"], _SHORTEST_NAME)
    return sum(width + SIDES for width in widths.values()) + 1


def _bar(part: int, whole: int, length: int) -> str:
    filled = round(length * min(1.0, part / whole)) if whole else 0
    return "█" * filled + "░" * (length - filled)
