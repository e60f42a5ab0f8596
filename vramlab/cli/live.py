"""``stand-ins``, ``profile``, ``record``, ``verify``: live sessions, and whether the simulator is true."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import typer
from tqdm import tqdm

from vramlab.analysis.plots import latency_distribution
from vramlab.cli.inputs import ConfigOption, JsonOption, ModelsOption, SeedOption, SetOption, changes
from vramlab.cli.output import (
    count,
    log,
    milliseconds,
    percent,
    picture,
    print_binding,
    print_json,
    print_table,
    save_plot,
    show_losses,
)
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, check_suffix, replacing
from vramlab.config.loading import load_inventory, write_inventory
from vramlab.config.schema import Inventory
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.engine.journal import Line
from vramlab.experiments.inputs import (
    DEFAULT_INVENTORY,
    inventory_of_files,
    profile_beside,
    resolve_inputs,
    resolve_settings,
)
from vramlab.experiments.verification import Verification, verify
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.run_folder import read_run
from vramlab.runs.samples import read_samples, samples_path, write_samples
from vramlab.simulation.choosing import Times

# What loads ONNX Runtime is imported where a command needs it: --help and `verify` need it not.
if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vramlab.live.measurements import Measurements

DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", help="auto (CUDA where it truly works), cuda (cuda:1: the second) or cpu-emulated."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("stand-ins")(stand_ins_command)
    app.command("profile")(profile_command)
    app.command("record")(record_command)
    app.command("verify")(verify_command)


def stand_ins_command(
    models: Annotated[Path, typer.Option("--models", help="Inventory of models.")] = Path(
        "config/model_config.yaml"
    ),
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the files; a cache folder without it.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Build ONNX stand-ins of the sizes that an inventory names.

    Example: vramlab stand-ins --models config/model_config.yaml --out build/stand-ins
    """
    check_outputs([], folders=[out])
    inventory = load_inventory(models)
    paths = _build(inventory, out, seed)
    if as_json:
        print_json({name: {"path": str(path), "bytes": path.stat().st_size} for name, path in paths.items()})
        return
    rows = [
        (
            name,
            f"{inventory[name].vram_size_mb:g} MB",
            f"{bytes_to_mib(path.stat().st_size):.1f} MB",
            str(path),
        )
        for name, path in paths.items()
    ]
    print_table("stand-ins", ["model", "wanted", "built", "file"], rows)


def _build(inventory: Inventory, out: Path | None, seed: int) -> dict[str, Path]:
    from vramlab.live.stand_ins import build_stand_ins

    total = sum(spec.footprint_bytes for spec in inventory.values())
    standing: dict[str, int] = {}
    with tqdm(total=total, desc="stand-ins", unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def progress(name: str, done: int, _: int) -> None:
            bar.update(done - standing.get(name, 0))
            standing[name] = done

        return build_stand_ins(inventory, out, seed, progress)


def profile_command(
    files: Annotated[
        list[Path] | None, typer.Argument(help="ONNX files; else the models of --models.")
    ] = None,
    models: ModelsOption = None,
    config: ConfigOption = None,
    device: DeviceOption = "auto",
    loads: Annotated[
        int, typer.Option("--loads", min=1, help="Loads per model and target; up to 10 in a second.")
    ] = 3,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs per model, target and pause.")] = 10,
    limit_s: Annotated[
        float,
        typer.Option("--limit", min=0.5, help="Seconds of loads and runs per model and target; then few do."),
    ] = 2.0,
    from_run: Annotated[
        Path | None, typer.Option("--from-run", help="Take what this recorded run has seen instead.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Inventory to write.")] = Path("model_config.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Measure what models take to load, to run and to hold, and write it as an inventory.

    The samples stand beside it in Parquet files. A model that cannot be loaded or run keeps the values of
    --models, and one that was given as a file is left out; either is named, and the exit status is 1. If no
    model could be measured on the device, nothing is written and the exit status is 2.

    Example: vramlab profile --models config/model_config.yaml --out profiled.yaml, and after a live run:
    vramlab profile --from-run RUN --out corrected.yaml
    """
    from vramlab.experiments.observed import observed_profile
    from vramlab.live.profiler import profile
    from vramlab.live.stand_ins import with_stand_ins, without_stand_ins

    check_suffix(out, (".yaml", ".yml"))
    known = DEFAULT_INVENTORY if models is None and not files else models
    inputs = [*(files or []), known, config] if from_run is None else [from_run / "models.yaml"]
    check_outputs([out, samples_path(out)], inputs)
    if from_run is not None:
        profiled, frame, notes = observed_profile(read_run(from_run))
        failures: list[str] = []
        comment = f"Corrected by `vramlab profile --from-run {from_run}`; samples stand beside this file."
    else:
        settings, inventory = resolve_settings(config, inventory_of_files(files) if files else models)
        measured = with_stand_ins(inventory)
        with profile_bar(len(inventory)) as done:
            profiled, found = profile(settings, measured, device, loads, runs, done, limit_s)
        profiled = without_stand_ins(profiled, inventory)
        unmeasured = [name for name, causes in found.failed.items() if Target.GPU in causes]
        if len(unmeasured) == len(inventory):
            why = f"no model that could be measured ({'; '.join(found.failures())})"
            raise InputError("profile", "", why, "at least one")
        frame = found.frame()
        notes = [f"{name}: {flag}" for name, flags in found.flags.items() for flag in flags]
        comment = "Measured by `vramlab profile`; samples stand beside this file."
        stand_ins = [name for name, spec in measured.items() if spec.stand_in_mb is not None]
        if stand_ins:
            comment += f"\nMEASURED ON STAND-INS, not on the models: {', '.join(stand_ins)}."
        if found.busy:
            notes.append(found.disturbance())
            comment += f"\nDISTURBED: {found.disturbance()}."
        if files:  # of which nothing was known before
            profiled = {name: spec for name, spec in profiled.items() if name not in unmeasured}
        elif unmeasured:
            comment += f"\nNOT MEASURED, with the values of before: {', '.join(unmeasured)}."
        failures = found.failures()
        with replacing(out.with_suffix(".memory.parquet")) as temporary:
            found.memory().to_parquet(temporary, index=False)
    write_inventory(profiled, out, comment=comment)
    write_samples(frame, samples_path(out))
    log.print(f"written to {out} and {samples_path(out)}")
    if as_json:
        print_json({name: spec.model_dump(mode="json") for name, spec in profiled.items()})
    else:
        if from_run is None:
            _show_memory(found)
        show_profile(profiled, frame)
        for note in notes:
            print(f"look at {note}")
    for failure in failures:
        log.print(f"not measured: {failure}")
    if failures:
        raise typer.Exit(1)


@contextmanager
def profile_bar(models: int) -> Iterator[Callable[[str], object]]:
    """A bar that says which model is being measured; yields what to call with the name of each."""
    with tqdm(total=models, desc="profile", unit="model", disable=None, leave=False) as bar:
        begun = count_from(0)

        def begins(name: str) -> None:
            bar.update(int(next(begun) > 0))  # the one before has ended
            bar.set_description_str(f"profile {name}" if name else "profile: what models do to each other")

        yield begins


def show_profile(profiled: Inventory, frame: pd.DataFrame) -> None:
    """Print times by model and target, from the samples."""
    alone = frame[frame.beside == ""]
    rows = []
    for (name, target), samples in alone.groupby(["model", "target"], sort=False):
        runs = samples[samples.what == "infer"]
        runs = runs[runs.pause_s == runs.pause_s.max()]
        single, most = (
            runs[runs["items"] == count].seconds for count in (runs["items"].min(), runs["items"].max())
        )
        medians = samples.groupby("what").seconds.median()
        first_s = medians.get("warm-up", 0.0)
        spec = profiled[str(name)]
        rows.append(
            (
                str(name),
                str(target),
                f"{spec.vram_size_mb:,.4g} + {spec.workspace_mb:,.4g} MB" if target == "gpu" else "",
                milliseconds(_or_none(medians.get("cold load", math.nan))),
                milliseconds(_or_none(medians.get("load", math.nan) - first_s)),
                milliseconds(_or_none(first_s or medians.get("first infer", math.nan))),
                milliseconds(_or_none(single.median())),
                milliseconds(_or_none(single.quantile(0.95))),
                f"{milliseconds(_or_none(most.median()))} ({runs['items'].max()})" if len(runs) else "-",
            )
        )
    header = [
        "model", "target", "stays + workspace", "cold load", "load", "first run", "run", "p95", "batch",
    ]  # fmt: skip
    print_table("profile: medians", header, rows)


def _show_memory(found: Measurements) -> None:
    """Print what models held on the device, step by step."""
    memory = found.memory()
    steps = [
        "load peak", "loaded", "first run at batch 1", "first run at batch_size", "steady", "unloaded",
    ]  # fmt: skip
    gpu = memory[memory.target == "gpu"].pivot_table(
        index="model", columns="stage", values=["device_bytes", "process_bytes"], sort=False
    )
    rows = [
        (
            str(name),
            *(f"{bytes_to_mib(gpu.loc[name, ('device_bytes', step)]):,.1f}" for step in steps),
            f"{bytes_to_mib(gpu.loc[name, ('process_bytes', 'steady')]):,.1f}"
            if ("process_bytes", "steady") in gpu
            else "-",
        )
        for name in gpu.index
    ]
    title = f"memory on {found.machine['backend']} above what was taken before, MB (last: this process)"
    print_table(title, ["model", *steps, "process"], rows)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def record_command(
    workload: Annotated[Path, typer.Option("--workload", help="Trace that is played.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for journal, trace and settings.")],
    config: ConfigOption = None,
    models: ModelsOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    speed: Annotated[float, typer.Option("--speed", help="Times faster than the trace.")] = 1.0,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Play a trace against live sessions and keep everything that happens.

    Models without a file get stand-ins. Measurements that `vramlab profile` left beside the inventory go with
    the run, for `vramlab verify`. The exit status is 1 if a request failed.
    Example: vramlab record --config config/scenarios/tight.yaml --workload traces/live_workload.csv
    --out results/run1
    """
    from vramlab.experiments.recording import record_run
    from vramlab.live.stand_ins import with_stand_ins

    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise InputError("--out", "", f"{out}, which is not empty", "a new folder")
    check_outputs([], folders=[out])
    trace, settings, inventory = resolve_inputs(workload, config, models, changes(overrides))
    inventory = with_stand_ins(inventory)
    beside = profile_beside(config, models, changes(overrides))
    measurements = None if beside is None else read_samples(beside)
    with tqdm(total=len(trace), desc="record", unit="request", disable=None, leave=False) as bar:
        try:
            figures = record_run(
                trace, settings, inventory, out, device, speed, seed, bar.update, measurements
            )
        except KeyboardInterrupt:
            bar.close()
            _say_what_is_kept(out)
            raise
    log.print(f"written to {out}; next: vramlab verify {out}")
    if as_json:
        print_json(figures)
    else:
        _show_recording(figures, str(workload))
    if figures["failed"]:
        raise typer.Exit(1)


def _show_recording(figures: dict[str, Any], workload: str) -> None:
    rows = [
        ("backend", str(figures["backend"])),
        *((key.replace("_", " "), count(figures[key])) for key in _COUNTS),
        ("hit rate", percent(figures["hit_rate"])),
        *((f"latency {p}", milliseconds(figures[f"latency_{p}_s"])) for p in ("p50", "p95", "p99")),
    ]
    print_table(f"live run of {workload}", ["", ""], rows)
    show_losses(figures)
    print_binding(figures)


def _say_what_is_kept(run: Path) -> None:
    """Say on standard error what an interrupted recording has left; nothing where it had not begun."""
    journal = run / "journal.jsonl"
    if not journal.exists():
        return
    requests = sum(line.event == "arrival" for line in read_journal(journal))
    if requests:
        log.print(f"{count(requests)} requests are in {run}: vramlab verify {run}")


_COUNTS = (
    "requests",
    "hits",
    "cold_starts",
    "waits",
    "fallbacks",
    "refused",
    "failed",
    "cache_hits",
    "loads",
    "evictions",
)


def verify_command(
    run: Annotated[Path, typer.Argument(help="Folder that `vramlab record` wrote.")],
    service_times: Annotated[
        Times | None,
        typer.Option(
            "--service-times",
            help="As in `replay`; contended where the run has the profile of its models, else spec.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of both latency distributions to write."),
    ] = None,
    warm_up_s: Annotated[
        float, typer.Option("--warm-up", help="Seconds in the beginning to leave out of the figures.")
    ] = 0.0,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Replay a live journal in lock-step, then simulate the run and show live beside simulated.

    Exit status 1 if a decision differs. Example: vramlab verify results/run1
    """
    check_outputs([plot])
    result = verify(run, seed, service_times, warm_up_s)
    if plot is not None:
        save_plot(plot_latencies(result), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(result.document())
    else:
        show_verification(result)
    if result.lockstep.differences:
        raise typer.Exit(1)


def plot_latencies(result: Verification, title: str = "Does the simulator tell the truth?") -> Axes:
    """Both latency distributions in one figure."""
    live, simulated = result.live_records.latency_s, result.simulated_records.latency_s
    label = f"live ({result.live['backend']})"
    return latency_distribution({label: live, "simulated": simulated}, title=title)


def show_verification(result: Verification) -> None:
    """Print what a verification found."""
    report = result.lockstep
    if report.differences:
        print(f"lock-step: DIFFERENT. {report.differences[0]}")
    else:
        print(f"lock-step: all {report.decisions:,} decisions and {report.lines:,} journal lines are equal")
    if result.run.environment.get("ended") is False:
        print(f"the recording was cut off: {answered(result.run.journal)}")
    rows = [
        (label, show(result.live[key]), show(result.simulated[key]), _error(result, key))
        for label, key, show in _FIDELITY
    ]
    header = ["", f"live ({result.live['backend']})", "simulated", "error"]
    print_table("live beside simulated", header, rows)
    show_losses(result.live)
    for caveat in result.caveats():
        print(caveat)


def answered(journal: Iterable[Line]) -> str:
    """How many of the requests of a journal that was cut off have an answer, in words."""
    events = Counter(line.event for line in journal)
    without = events["arrival"] - events["done"]
    if not without:
        return f"all {events['arrival']:,} requests that had come are answered"
    return f"{without:,} of {events['arrival']:,} requests have no answer"


_FIDELITY = (
    ("requests", "requests", count),
    ("hit rate", "hit_rate", percent),
    ("cold starts", "cold_starts", count),
    ("joined a load", "waits", count),
    ("CPU fallbacks", "fallbacks", count),
    ("refused", "refused", count),
    ("failed", "failed", count),
    ("loads", "loads", count),
    ("evictions", "evictions", count),
    ("latency mean", "latency_mean_s", milliseconds),
    ("latency p50", "latency_p50_s", milliseconds),
    ("latency p95", "latency_p95_s", milliseconds),
    ("latency p99", "latency_p99_s", milliseconds),
)


def _error(result: Verification, key: str) -> str:
    live, simulated = result.live[key], result.simulated[key]
    if live is None or simulated is None:
        return "-"
    if key == "hit_rate":
        return f"{100 * (simulated - live):+.2f} points"
    return f"{100 * (simulated / live - 1):+.1f} %" if live else ("0" if simulated == live else "-")
