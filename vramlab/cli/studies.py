"""``sweep``: one replay per combination of settings, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from vramlab.analysis.figures import table as columns
from vramlab.cli.inputs import (
    JsonOption,
    ModeOption,
    SettingsOptions,
    grouped,
    names_in,
    say_without_preloading,
)
from vramlab.cli.output import count, log, out, print_json, print_table
from vramlab.config.files import check_outputs
from vramlab.experiments.doubts import doubts
from vramlab.experiments.grids import parse_grid
from vramlab.experiments.results_store import journal_path, manifest_path
from vramlab.experiments.sweep import Execution, Sweep, axes_of, cases_of, swept

# Rows that a table for people shows; the file has them all.
_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sweep")(sweep_command)


@dataclass(frozen=True)
class AxesOptions:
    """What the runs of a sweep differ in."""

    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="KEY=V1,V2,...",
            help="Values of a setting below vram_management; may be repeated. KEY+KEY=... sets both alike.",
        ),
    ] = None
    policies: Annotated[
        str | None, typer.Option("--policies", help="Eviction policies, with commas between.")
    ] = None
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, with commas between.")] = "0"


@dataclass(frozen=True)
class ExecutionOptions:
    """Where a sweep runs and is kept."""

    out: Annotated[Path, typer.Option("--out", help="Results to write (.parquet), a manifest beside them.")]
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Processes on this machine. Default: one per core.")
    ] = None
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="Scheduler of a Dask cluster to run on.")
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the runs of an earlier call that are in --out.")
    ] = False


@grouped
def sweep_command(
    traces: Annotated[list[Path], typer.Argument(metavar="TRACE...", help="One or more trace files.")],
    execution: ExecutionOptions,
    what: AxesOptions,
    settings: SettingsOptions,
    mode: ModeOption = "simulate",
    as_json: JsonOption = False,
) -> None:
    """Replay once per combination of settings, policies, traces and seeds.

    Every run that has ended is on the disk at once: interrupt when you like, and go on with --resume.

    Example: vramlab sweep traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml
    --policies lru,gdsf --grid zones.flexible.size_mb=300,360,420 --out sweep.parquet
    """
    rows, written = journal_path(execution.out), execution.out
    check_outputs([written, manifest_path(written), rows], [*traces, *settings.files])
    names = [] if what.policies is None else names_in("--policies", what.policies)
    axes, seeds = axes_of(names, parse_grid(what.grid or [])), _numbers(what.seeds)
    cases = cases_of(traces, settings.config, settings.models, settings.overrides or [], mode)
    say_without_preloading(cases[0], axes)
    for line in doubts(cases[0]):
        log.print(line)
    where = Execution(execution.jobs, execution.dask, written, execution.resume)
    with tqdm(desc="sweep", unit="run", disable=None, leave=False) as progress:

        def begun(total: int, there: int) -> None:
            # `initial` counts as done, but not as fast: the time left is that of the runs still to be made
            progress.total, progress.initial, progress.n = total, there, there
            progress.refresh()

        try:
            result = swept(cases, axes, seeds, where, begun, lambda row: progress.update())
        except KeyboardInterrupt:
            if rows.exists():
                log.print(f"what is done is in {rows}; go on with --resume")
            raise
    log.print(f"{count(len(result.table))} runs written to {written}, and how to {manifest_path(written)}")
    if result.failed:
        runs = count(len(result.table))
        which = f"all {runs}" if result.failed == len(result.table) else f"{count(result.failed)} of {runs}"
        log.print(f"{which} runs failed; the column `error` says why")
    if as_json:
        keys = ("runs", "failed", "resumed", "wall_s", "code_sha256")
        print_json({key: result.manifest[key] for key in keys} | {"rows": result.table.to_dict("records")})
    else:
        show_sweep(result)
    if result.failed == len(result.table):
        raise typer.Exit(1)


def show_sweep(result: Sweep) -> None:
    """Print the runs of the least whole cost: what was not served has its price in it."""
    keys = [key for keys in result.manifest["grid"] for key in keys.split("+") if key != "scoring.policy"]
    table = result.table[result.table["error"].isna()]
    if table.empty:
        return
    best = table.sort_values("cost_s", kind="stable").head(_SHOWN)
    figures = [one for one in columns("sweep") if not one.hidden_if_zero or table[one.key].any()]
    several = result.table["trace"].nunique() > 1
    header = ["run", *(["trace"] if several else []), "policy", *keys, *(figure.label for figure in figures)]
    rows = [
        [
            str(row["run"]),
            *([row["trace"]] if several else []),
            row["policy"],
            *(_short(row[key]) for key in keys),
            *(figure.text(row[figure.key], row["mode"]) for figure in figures),
        ]
        for row in best.to_dict("records")
    ]
    print_table(f"least whole cost, {len(rows)} of {count(len(table))} runs", header, rows)
    for names, its in table[table["fits_nowhere"] != ""].groupby("fits_nowhere"):
        out.print(f"{names}: fits nowhere under {count(len(its))} of {count(len(table))} settings")


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in names_in("--seeds", text)]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: whole numbers with commas between", param_hint="--seeds"
        ) from None
