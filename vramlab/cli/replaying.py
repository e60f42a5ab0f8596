"""``replay`` and ``bound``: what would have happened, and what could have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import typer

from vramlab.analysis.bounds import offline_bound
from vramlab.analysis.figures import FIGURES, table
from vramlab.analysis.timelines import memory_map
from vramlab.cli.inputs import (
    CaseOptions,
    ConfigOption,
    JsonOption,
    ModelsOption,
    PolicyOption,
    TimesOption,
    TraceArgument,
    grouped,
    memory_bytes,
)
from vramlab.cli.output import (
    count,
    log,
    mebibytes,
    percent,
    picture,
    print_binding,
    print_json,
    print_table,
    save_plot,
    seconds,
    show_losses,
)
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.experiments.calibration import calibration_of, said_of_times
from vramlab.experiments.case import Case, resolve_case
from vramlab.experiments.doubts import doubts
from vramlab.experiments.replay import Replay, run
from vramlab.runs.lockstep import lockstep
from vramlab.runs.run_folder import check_replay_folder, write_replay
from vramlab.servers import server_names
from vramlab.servers.preset import unread


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("replay")(replay_command)
    app.command("bound")(bound_command)


@dataclass(frozen=True)
class HowOptions:
    """Who decides, and how long effects take."""

    policy: PolicyOption = None
    server: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="SERVER",
            help=f"As a model server of today would: {', '.join(server_names())}; with options as in "
            "ollama:keep_alive=600+max_loaded_models=2.",
        ),
    ] = None
    service_times: TimesOption = None

    def resolve(self, inputs: CaseOptions) -> Case:
        """Read the case that is replayed so."""
        if self.server is not None and self.policy is not None:
            raise InputError(
                "--policy", "", self.policy, f"none beside --as {self.server}, which has its own"
            )
        changes = [] if self.policy is None else [f"scoring.policy={self.policy}"]
        case = inputs.resolve(*changes, service_times=self.service_times)
        if self.server is None:
            return case
        for key in unread(inputs.overrides or []):
            log.print(f"--set {key} is not read: as {self.server} it is the server's own, or an option of it")
        return case.as_server(self.server)


@grouped
def replay_command(
    inputs: CaseOptions,
    how: HowOptions,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for records and journal.")] = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--memory-map",
            callback=picture,
            help="Picture to write of where the models lie at the end (simulate).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a trace through the allocator and show what became of the requests.

    Example: vramlab replay traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml --policy lru

    Example: vramlab replay mine.parquet --models mine.yaml --as ollama:keep_alive=600
    """
    if map_file is not None and inputs.mode != "simulate":
        raise InputError(
            "--memory-map", "", f"--mode {inputs.mode}", "--mode simulate, as decide mode has no layout"
        )
    check_outputs([map_file], inputs.files, [out])
    if out is not None:
        check_replay_folder(out)
    case = how.resolve(inputs)
    result = run(case, journal=(out is not None or map_file is not None) and case.mode == "simulate")
    if out is not None:
        write_replay(out, result.records, result.figures, result.journal)
        log.print(f"written to {out}")
    if map_file is not None and result.journal is not None:
        layout = lockstep(list(result.journal), case.config, case.inventory).layout
        save_plot(memory_map(pd.DataFrame(layout), title=f"{inputs.trace.name}: at the end"), map_file)
        log.print(f"written to {map_file}")
    if as_json:
        found = calibration_of(case)
        print_json(result.figures | ({} if found is None else {"calibration": found.document()}))
    else:
        _show_replay(result, str(inputs.trace), [*said_of_times(case), *doubts(case)])


def bound_command(
    trace: TraceArgument,
    capacity_mb: Annotated[float, typer.Option("--capacity-mb", help="Memory for models, MB.")],
    config: ConfigOption = None,
    models: ModelsOption = None,
    admission: Annotated[
        Literal["forced", "bypass"],
        typer.Option(
            "--admission", help="forced: every miss is loaded and kept at first; bypass: it need not be."
        ),
    ] = "forced",
    as_json: JsonOption = False,
) -> None:
    """Bound the load cost from below: the least total load time that any schedule could have had.

    Example: vramlab bound traces/synthetic_tight.csv.gz --capacity-mb 400 --models config/model_config.yaml
    """
    capacity_bytes = memory_bytes("--capacity-mb", capacity_mb)
    case = resolve_case(trace, config, models)
    result = offline_bound(case.trace, case.inventory, capacity_bytes, admission)
    if as_json:
        print_json(result.document())
    else:
        rows = [
            ("least load cost", seconds(result.load_cost_s)),
            ("every request a miss", seconds(result.load_cost_all_miss_s)),
            ("capacity", mebibytes(result.capacity_bytes)),
            ("requests", count(result.requests)),
            ("admission", result.admission),
            ("method", result.method),
        ]
        print_table(f"offline optimum of {trace}", ["", ""], rows)
        print("For serving all on the device: what the CPU or the result cache answers needs no load.")
        asked = set(case.trace.model_names)
        large = [name for name in asked if case.inventory[name].footprint_bytes > capacity_bytes]
        if large:
            print(f"{len(large)} of {len(asked)} models are larger than that: each use of them is a load.")


def _show_replay(result: Replay, title: str, said: Sequence[str]) -> None:
    figures = result.figures
    requests = figures["requests"]
    rows = [
        ("requests", count(requests)),
        *(
            (figure.name or figure.label, f"{count(number)}  ({percent(number / max(requests, 1))})")
            for figure in table("replay")
            for number in [figures[figure.key]]
        ),
        ("hit rate", _texts(figures, "hit_rate")),
        ("loads / preloads / evictions", _texts(figures, "loads", "preloads", "evictions")),
        ("load cost", _texts(figures, "load_cost_s")),
        ("latency mean", _texts(figures, "latency_mean_s")),
        ("latency p50 / p95 / p99", _texts(figures, "latency_p50_s", "latency_p95_s", "latency_p99_s")),
        ("VRAM held mean / peak", _texts(figures, "vram_used_mean_bytes", "vram_used_peak_bytes")),
        ("replayed at", f"{figures['requests_per_s']:,.0f} requests/s"),
    ]
    print_table(f"{title}: {figures['policy']}, {figures['backend']}", ["", ""], rows)
    columns = table("zones")
    zones = [
        [name, *(figure.text(zone[figure.key]) for figure in columns)]
        for name, zone in figures["zones"].items()
    ]
    print_table("zones", ["zone", *(figure.label for figure in columns)], zones)
    print_binding(figures)
    for line in said:
        print(line)
    _show_losses(figures)


def _texts(figures: dict[str, Any], *keys: str) -> str:
    return " / ".join(FIGURES[key].text(figures[key], figures["mode"]) for key in keys)


def _show_losses(figures: dict[str, Any]) -> None:
    """Print what was lost and why, and what a fault plan did; nothing where nothing was."""
    lost = [
        (kind.replace("_", " "), cause or "not said", count(number))
        for kind, causes in figures["lost"].items()
        for cause, number in causes.items()
    ]
    if lost:
        print_table("lost", ["", "why", "how many"], lost)
    show_losses(figures)
    if figures["faults"]:
        rows = [
            (key.removesuffix("_s").replace("_", " "), seconds(value) if key.endswith("_s") else count(value))
            for key, value in figures["faults"].items()
        ]
        print_table("what the fault plan did", ["", ""], rows)
