"""``sweep`` and ``tune``: many replays, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from vramlab.analysis.figures import FIGURES, objectives
from vramlab.cli.inputs import (
    CaseOptions,
    JsonOption,
    ModeOption,
    SettingsOptions,
    grouped,
    names_in,
    say_without_preloading,
)
from vramlab.cli.output import count, log, print_json, print_table, seconds
from vramlab.config.files import check_outputs, check_suffix, locked
from vramlab.config.loading import write_config
from vramlab.experiments.grids import parse_grid
from vramlab.experiments.results_store import journal_path, manifest_path
from vramlab.experiments.search_space import DEFAULT_OVER, GROUPS, POLICIES
from vramlab.experiments.sweep import Execution, Sweep, axes_of, cases_of, swept
from vramlab.experiments.trials import Search
from vramlab.experiments.tuning import Tuning, tuned

# Rows that a table for people shows; the file has them all.
_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("sweep")(sweep_command)
    app.command("tune")(tune_command)


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
    rows, out = journal_path(execution.out), execution.out
    check_outputs([out, manifest_path(out), rows], [*traces, *settings.files])
    names = [] if what.policies is None else names_in("--policies", what.policies)
    axes, seeds = axes_of(names, parse_grid(what.grid or [])), _numbers(what.seeds)
    cases = cases_of(traces, settings.config, settings.models, settings.overrides or [], mode)
    say_without_preloading(cases[0], axes)
    where = Execution(execution.jobs, execution.dask, out, execution.resume)
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
    log.print(f"{count(len(result.table))} runs written to {out}, and how to {manifest_path(out)}")
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
    """Print the runs of the least load cost."""
    keys = [key for keys in result.manifest["grid"] for key in keys.split("+") if key != "scoring.policy"]
    table = result.table[result.table["error"].isna()]
    if table.empty:
        return
    best = table.sort_values("load_cost_s", kind="stable").head(_SHOWN)
    figures = [FIGURES[key] for key in ("hit_rate", "load_cost_s", "latency_p95_s")]
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
    print_table(f"least load cost, {len(rows)} of {count(len(table))} runs", header, rows)


@dataclass(frozen=True)
class SearchOptions:
    """What is searched, and how long."""

    trials: Annotated[int, typer.Option("--trials", help="How many settings to try.")] = 100
    objective: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            help="Figure to tune for; may be repeated. Default: cost_s (loads and CPU). "
            f"One of {', '.join(objectives())}.",
        ),
    ] = None
    validate_from: Annotated[
        str,
        typer.Option(
            "--validate-from",
            metavar="TIME|FRACTION",
            help="From where on settings are judged: seconds, or a fraction of the requests.",
        ),
    ] = "0.5"
    over: Annotated[
        str, typer.Option("--over", help=f"Groups of settings that may change, of {', '.join(GROUPS)}.")
    ] = ",".join(DEFAULT_OVER)
    policies: Annotated[str, typer.Option("--policies", help="Eviction policies to choose from.")] = ",".join(
        POLICIES
    )
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search", metavar="KEY=LOW..HIGH[:log]|V1,V2", help="A further setting; may be repeated."
        ),
    ] = None
    jobs: Annotated[int, typer.Option("--jobs", help="Processes; with one the seed decides all.")] = 1
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="Trials that calls share: a .db or .journal file, or a URL."),
    ] = None

    def resolve(self) -> Search:
        """Take the lists apart."""
        over, policies = names_in("--over", self.over), names_in("--policies", self.policies)
        return Search(
            self.trials, tuple(self.objective or ["cost_s"]), self.validate_from, tuple(over),
            tuple(policies), tuple(self.search or ()), self.jobs, self.storage,
        )  # fmt: skip


@grouped
def tune_command(
    inputs: CaseOptions,
    out: Annotated[Path, typer.Option("--out", help="Configuration to write (.yaml).")],
    options: SearchOptions,
    as_json: JsonOption = False,
) -> None:
    """Search settings on the first part of a trace and judge them on the rest.

    The whole trace is replayed to judge, and what comes after the boundary is counted: memory and policy are
    as they would be by then. The configuration that is written says on top what was gained.

    Example: vramlab tune traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml --trials 40
    --out tuned.yaml
    """
    check_suffix(out, (".yaml", ".yml"))
    check_outputs([out], inputs.files)
    search, case = options.resolve(), inputs.resolve()
    bar = tqdm(total=search.trials, desc="tune", unit="trial", disable=None, leave=False)
    with locked(out), bar as progress:
        try:
            result = tuned(case, search, progress.update)
        except KeyboardInterrupt:
            if search.storage is not None:
                progress.close()
                log.print(
                    f"the trials so far are kept in {search.storage}; the same command goes on with them"
                )
            raise
        write_config(result.config, out, result.comment(case.trace))
    log.print(f"written to {out}")
    if as_json:
        print_json(result.document())
    else:
        show_tuning(result)


def show_tuning(result: Tuning) -> None:
    """Print what was found, how it was chosen, and what it does on both parts."""
    finalists = [
        ["before" if row["number"] == 0 else f"trial {row['number']}"]
        + [f"{row[key]:.6g}" for key in ("searched", "chosen_on")]
        + ["adopted" if row["adopted"] else ""]
        for row in result.choice.to_dict("records")
    ]
    title = f"the best trials, by {result.objectives[0]}"
    print_table(title, ["", "as searched", "on what they had not seen", ""], finalists)
    rows = [[key, str(value)] for key, value in result.best.items()]
    print_table("settings that changed", ["", ""], rows or [["none", ""]])
    gap, rate, p95 = (FIGURES[key] for key in ("gap_closed", "hit_rate", "latency_p95_s"))
    header = [
        "",
        "load cost",
        "before",
        "lru",
        "optimum",
        gap.label,
        rate.label,
        "before",
        p95.label,
        "before",
    ]
    parts = [
        [
            title,
            *(seconds(cost_s) for cost_s in (part["cost_s"], part["before"]["cost_s"], part["lru_cost_s"])),
            seconds(part["optimum_cost_s"]),
            gap.text(part["gap_closed"]),
            *(
                figure.text(of[figure.key], part["mode"])
                for figure in (rate, p95)
                for of in (part, part["before"])
            ),
        ]
        for title, part in (("tuned on", result.train), ("judged on", result.validation))
    ]
    print_table("what it does", header, parts)
    if result.front:
        front = [
            [trial["settings"].get("scoring.policy", "as before")]
            + [f"{trial['values'][name]:.6g}" for name in result.objectives]
            for trial in result.front
        ]
        print_table("not beaten in all of them (settings: --json)", ["policy", *result.objectives], front)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in names_in("--seeds", text)]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: whole numbers with commas between", param_hint="--seeds"
        ) from None
