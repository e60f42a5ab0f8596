"""``stand-ins`` and ``profile``: models of given sizes, and what models take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from tqdm import tqdm

from vramlab.cli.inputs import ConfigOption, DeviceOption, JsonOption, ModelsOption, SeedOption, grouped
from vramlab.cli.output import log, milliseconds, print_json, print_table
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, check_suffix, replacing
from vramlab.config.loading import load_inventory, write_inventory
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.experiments.case import DEFAULT_INVENTORY, resolve_settings
from vramlab.experiments.model_files import inventory_of_files
from vramlab.runs.run_folder import read_run
from vramlab.runs.samples import samples_path, write_samples

# What loads ONNX Runtime is imported where a command needs it: --help does not.
if TYPE_CHECKING:
    from vramlab.live.measurements import Measurements


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("stand-ins")(stand_ins_command)
    app.command("profile")(profile_command)


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


@dataclass(frozen=True)
class ModelsOptions:
    """What is profiled."""

    files: Annotated[
        list[Path] | None, typer.Argument(help="ONNX files. Default: the models of --models.")
    ] = None
    models: ModelsOption = None
    config: ConfigOption = None
    from_run: Annotated[
        Path | None, typer.Option("--from-run", help="Take what this recorded run has seen instead.")
    ] = None

    @property
    def inputs(self) -> list[Path | None]:
        """The files that are read."""
        if self.from_run is not None:
            return [self.from_run / "models.yaml"]
        known = DEFAULT_INVENTORY if self.models is None and not self.files else self.models
        return [*(self.files or []), known, self.config]

    def resolve(self) -> tuple[VramConfig, Inventory]:
        """Read them."""
        return resolve_settings(self.config, inventory_of_files(self.files) if self.files else self.models)


@dataclass(frozen=True)
class EffortOptions:
    """Where and how often models are measured."""

    device: DeviceOption = "auto"
    loads: Annotated[
        int, typer.Option("--loads", min=1, help="Loads per model and target; up to 10 in a second.")
    ] = 3
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs per model, target and pause.")] = 10
    limit_s: Annotated[
        float,
        typer.Option("--limit", min=0.5, help="Seconds of loads and runs per model and target; then few do."),
    ] = 2.0


@dataclass(frozen=True, eq=False)
class Profiled:
    """An inventory with its samples, and what there is to say of them."""

    inventory: Inventory
    samples: pd.DataFrame
    comment: str
    notes: list[str]
    measurements: Measurements | None = None

    @property
    def failures(self) -> list[str]:
        """Models that were not measured, and why."""
        return [] if self.measurements is None else self.measurements.failures()


@grouped
def profile_command(
    what: ModelsOptions,
    effort: EffortOptions,
    out: Annotated[Path, typer.Option("--out", help="Inventory to write.")] = Path("model_config.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Measure what models take to load, to run and to hold, and write it as an inventory.

    The samples stand beside it in Parquet files. A model that cannot be loaded or run keeps the values of
    --models; one that was given as a file is left out. Either is named, and the exit status is 1. If no model
    could be measured on the device, nothing is written and the exit status is 2.

    Example: vramlab profile --models config/model_config.yaml --out profiled.yaml, and after a live run:
    vramlab profile --from-run RUN --out corrected.yaml
    """
    check_suffix(out, (".yaml", ".yml"))
    check_outputs([out, samples_path(out)], what.inputs)
    found = _measured(what, effort) if what.from_run is None else _observed(what.from_run)
    if found.measurements is not None:
        with replacing(out.with_suffix(".memory.parquet")) as temporary:
            found.measurements.memory().to_parquet(temporary, index=False)
    write_inventory(found.inventory, out, comment=found.comment)
    write_samples(found.samples, samples_path(out))
    log.print(f"written to {out} and {samples_path(out)}")
    if as_json:
        print_json({name: spec.model_dump(mode="json") for name, spec in found.inventory.items()})
    else:
        if found.measurements is not None:
            _show_memory(found.measurements)
        show_profile(found.inventory, found.samples)
        for note in found.notes:
            print(f"look at {note}")
    for failure in found.failures:
        log.print(f"not measured: {failure}")
    if found.failures:
        raise typer.Exit(1)


def _observed(run: Path) -> Profiled:
    from vramlab.experiments.observed import observed_profile

    inventory, samples, notes = observed_profile(read_run(run))
    comment = f"Corrected by `vramlab profile --from-run {run}`; samples stand beside this file."
    return Profiled(inventory, samples, comment, notes)


def _measured(what: ModelsOptions, effort: EffortOptions) -> Profiled:
    from vramlab.live.profiler import profile
    from vramlab.live.stand_ins import with_stand_ins, without_stand_ins

    settings, inventory = what.resolve()
    built = with_stand_ins(inventory)
    with profile_bar(len(inventory)) as done:
        profiled, found = profile(
            settings, built, effort.device, effort.loads, effort.runs, done, effort.limit_s
        )
    profiled = without_stand_ins(profiled, inventory)
    unmeasured = [name for name, causes in found.failed.items() if Target.GPU in causes]
    if len(unmeasured) == len(inventory):
        why = f"no model that could be measured ({'; '.join(found.failures())})"
        raise InputError("profile", "", why, "at least one")
    notes = [f"{name}: {flag}" for name, flags in found.flags.items() for flag in flags]
    comment = ["Measured by `vramlab profile`; samples stand beside this file."]
    stand_ins = [name for name, spec in built.items() if spec.stand_in_mb is not None]
    if stand_ins:
        comment.append(f"MEASURED ON STAND-INS, not on the models: {', '.join(stand_ins)}.")
    if found.busy:
        notes.append(found.disturbance())
        comment.append(f"DISTURBED: {found.disturbance()}.")
    if what.files:  # of which nothing was known before
        profiled = {name: spec for name, spec in profiled.items() if name not in unmeasured}
    elif unmeasured:
        comment.append(f"NOT MEASURED, with the values of before: {', '.join(unmeasured)}.")
    return Profiled(profiled, found.frame(), "\n".join(comment), notes, found)


@contextmanager
def profile_bar(models: int) -> Iterator[Callable[[str], object]]:
    """Show a bar that says which model is being measured; yield what to call with the name of each."""
    with tqdm(total=models, desc="profile", unit="model", disable=None, leave=False) as bar:
        begun = count_from(0)

        def begins(name: str) -> None:
            bar.update(int(next(begun) > 0))  # the one before has ended
            bar.set_description_str(f"profile {name}" if name else "profile")

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
