"""``sweep`` and ``tune``: many replays, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from vramlab.cli.inputs import (
    ConfigOption,
    JsonOption,
    ModelsOption,
    SeedOption,
    SetOption,
    TraceArgument,
    changes,
    names_in,
)
from vramlab.cli.output import count, latency, log, percent, print_json, print_table, seconds
from vramlab.cli.replaying import ModeOption, say_without_preloading
from vramlab.config.files import check_outputs, check_suffix, locked
from vramlab.experiments.grids import parse_grid
from vramlab.experiments.results_store import journal_path, manifest_path
from vramlab.experiments.search_space import DEFAULT_OVER, GROUPS, POLICIES
from vramlab.experiments.sweep import Sweep, sweep
from vramlab.experiments.tuning import Tuning, tune

JobsOption = Annotated[
    int | None, typer.Option("--jobs", help="Processes on this machine; one per core without it.")
]

# Rows that a table for people shows; the file has them all.
_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("sweep")(sweep_command)
    app.command("tune")(tune_command)


def sweep_command(
    traces: Annotated[list[Path], typer.Argument(metavar="TRACE...", help="One or more trace files.")],
    out: Annotated[Path, typer.Option("--out", help="Results to write (.parquet), a manifest beside them.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="KEY=V1,V2,...",
            help="Values of a setting below vram_management; may be repeated. KEY+KEY=... sets both alike.",
        ),
    ] = None,
    policies: Annotated[
        str | None, typer.Option("--policies", help="Eviction policies, with commas between.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, with commas between.")] = "0",
    config: ConfigOption = None,
    models: ModelsOption = None,
    overrides: SetOption = None,
    mode: ModeOption = "simulate",
    jobs: JobsOption = None,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="Scheduler of a Dask cluster to run on.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the runs of an earlier call that are in --out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replay once per combination of settings, policies, traces and seeds.

    Every run that has ended is on the disk at once: interrupt when you like, and go on with --resume.

    Example: vramlab sweep traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml
    --policies lru,gdsf --grid zones.flexible.size_mb=300,360,420 --out sweep.parquet
    """
    check_outputs([out, manifest_path(out), journal_path(out)], [*traces, config, models])
    names = [] if policies is None else names_in("--policies", policies)
    axes = parse_grid(grid or [])
    say_without_preloading(mode, config, models, changes(overrides), axes)
    with tqdm(desc="sweep", unit="run", disable=None, leave=False) as progress:

        def begun(total: int, there: int) -> None:
            # `initial` counts as done, but not as fast: the time left is that of the runs still to be made
            progress.total, progress.initial, progress.n = total, there, there
            progress.refresh()

        try:
            result = sweep(
                traces, config, models, axes, names, _numbers(seeds), mode,
                jobs, dask, out, resume, changes(overrides), begun, lambda row: progress.update(),
            )  # fmt: skip
        except KeyboardInterrupt:
            if journal_path(out).exists():
                log.print(f"what is done is in {journal_path(out)}; go on with --resume")
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
    several = result.table["trace"].nunique() > 1
    header = ["run", *(["trace"] if several else []), "policy", *keys, "hit rate", "load cost", "p95"]
    rows = [
        [
            str(row["run"]),
            *([row["trace"]] if several else []),
            row["policy"],
            *(_short(row[key]) for key in keys),
            percent(row["hit_rate"]),
            seconds(row["load_cost_s"]),
            latency(row["latency_p95_s"], row["mode"]),
        ]
        for row in best.to_dict("records")
    ]
    print_table(f"least load cost, {len(rows)} of {count(len(table))} runs", header, rows)


def tune_command(
    trace: TraceArgument,
    out: Annotated[Path, typer.Option("--out", help="Configuration to write (.yaml).")],
    trials: Annotated[int, typer.Option("--trials", help="How many settings to try.")] = 100,
    objectives: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            help="Figure to tune for; may be repeated. cost_s (loads and CPU) without it.",
        ),
    ] = None,
    validate_from: Annotated[
        str,
        typer.Option(
            "--validate-from",
            metavar="TIME|FRACTION",
            help="From where on settings are judged: seconds, or a fraction of the requests.",
        ),
    ] = "0.5",
    over: Annotated[
        str, typer.Option("--over", help=f"Groups of settings that may change, of {', '.join(GROUPS)}.")
    ] = ",".join(DEFAULT_OVER),
    policies: Annotated[str, typer.Option("--policies", help="Eviction policies to choose from.")] = ",".join(
        POLICIES
    ),
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search", metavar="KEY=LOW..HIGH[:log]|V1,V2", help="A further setting; may be repeated."
        ),
    ] = None,
    config: ConfigOption = None,
    models: ModelsOption = None,
    overrides: SetOption = None,
    mode: ModeOption = "simulate",
    seed: SeedOption = 0,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes; with one the seed decides all.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="Trials that calls share: a .db or .journal file, or a URL."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search settings on the first part of a trace and judge them on the rest.

    The whole trace is replayed to judge, and what comes after the boundary is counted: memory and policy are
    as they would be by then. The configuration that is written says on top what was gained.

    Example: vramlab tune traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml --trials 40
    --out tuned.yaml
    """
    check_suffix(out, (".yaml", ".yml"))
    check_outputs([out], [trace, config, models])
    groups, names = names_in("--over", over), names_in("--policies", policies)
    say_without_preloading(mode, config, models, changes(overrides))
    bar = tqdm(total=trials, desc="tune", unit="trial", disable=None, leave=False)
    with locked(out), bar as progress:
        try:
            result = tune(
                trace, config, models, trials, objectives or ["cost_s"], validate_from, groups, names,
                search or (), mode, seed, jobs, storage, changes(overrides), out,
                progress.update,
            )  # fmt: skip
        except KeyboardInterrupt:
            if storage is not None:
                progress.close()
                log.print(f"the trials so far are kept in {storage}; the same command goes on with them")
            raise
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
    header = [
        "",
        "load cost",
        "before",
        "lru",
        "optimum",
        "gap closed",
        "hit rate",
        "before",
        "p95",
        "before",
    ]
    parts = [
        [
            title,
            seconds(part["cost_s"]),
            seconds(part["before"]["cost_s"]),
            seconds(part["lru_cost_s"]),
            seconds(part["optimum_cost_s"]),
            "-" if part["gap_closed"] is None else f"{part['gap_closed']:.2f}",
            percent(part["hit_rate"]),
            percent(part["before"]["hit_rate"]),
            latency(part["latency_p95_s"], part["mode"]),
            latency(part["before"]["latency_p95_s"], part["mode"]),
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
