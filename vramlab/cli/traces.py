"""``generate`` and ``describe``, and traces for other tools (:mod:`vramlab.cli.exporting`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from vramlab.analysis.trace_plots import plot_description
from vramlab.cli.inputs import (
    JsonOption,
    ModelsOption,
    SeedOption,
    TraceArgument,
    grouped,
)
from vramlab.cli.output import log, picture, print_json, print_table, save_plot
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, replacing
from vramlab.config.loading import load_inventory, write_inventory
from vramlab.config.schema import Inventory
from vramlab.experiments.case import Case
from vramlab.traces.describe import Description, describe
from vramlab.traces.exporters import write_libcachesim_csv
from vramlab.traces.files import read_trace, write_trace
from vramlab.traces.fit import fit, twin_names
from vramlab.traces.generate import generate
from vramlab.traces.spec import TraceSpec, load_spec, spec_yaml
from vramlab.traces.trace import Trace, check_models


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("generate")(generate_command)
    app.command("describe")(describe_command)


# -- generate ------------------------------------------------------------------------------------------


def generate_command(
    spec: Annotated[Path, typer.Argument(help="YAML file that says what to generate.")],
    out: Annotated[Path, typer.Option("--out", help="Trace file to write.")],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="In place of the seed of the spec.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Generate a synthetic trace.

    Example: vramlab generate traces/synthetic_tight.yaml --out mine.parquet --seed 7
    """
    check_outputs([out], [spec])
    trace = generate(load_spec(spec), seed)
    write_trace(trace, out)
    log.print(f"{len(trace):,} requests for {len(trace.model_names)} models written to {out}")
    if as_json:
        print_json({"requests": len(trace), "models": trace.model_names, "trace_sha256": trace.sha256})


# -- export --------------------------------------------------------------------------------------------


def export_trace(case: Case, out: Path, as_json: bool) -> None:
    """Write a trace for libCacheSim. Sizes are the footprints of the inventory."""
    requests, sizes = case.trace, {name: spec.footprint_bytes for name, spec in case.inventory.items()}
    objects = write_libcachesim_csv(requests, out, sizes)
    log.print(f"{len(requests):,} requests for {len(objects):,} objects written to {out} (libcachesim-csv)")
    if as_json:
        print_json({"requests": len(requests), "objects": objects})
        return
    rows = [(str(number), name, f"{sizes[name]:,}") for name, number in objects.items()]
    print_table("objects", ["obj_id", "model", "obj_size (bytes)"], rows)


# -- describe ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwinOptions:
    """A generated twin of the trace, to write."""

    spec: Annotated[
        Path | None, typer.Option("--spec", help="Generator spec fitted to the trace, to write.")
    ] = None
    models: ModelsOption = None
    models_out: Annotated[
        Path | None,
        typer.Option("--models-out", help="With --spec and --models: the inventory of the twin, to write."),
    ] = None
    seed: SeedOption = 0


@grouped
def describe_command(
    trace: TraceArgument,
    like: TwinOptions,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Figure to write."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a trace is like: rates, bursts, popularity, reuse, working set, daily cycle.

    With --spec a generator spec is fitted to it. A generated twin is compared with the trace, and drawn
    beside it with --plot. Neither has a name of the original's models: --models-out has their sizes and times
    under those of the twin.

    Example: vramlab describe traces/synthetic_tight.csv.gz --plot tight.png --spec like_tight.yaml
    """
    spec, models, models_out = like.spec, like.models, like.models_out
    check_outputs([plot, spec, models_out], [trace, models])
    if models_out is not None and (models is None or spec is None):
        raise InputError(
            "--models-out", "", "the option without --spec, or without --models", "both beside it"
        )
    requests = read_trace(trace)
    description = describe(requests)
    fitted = None if spec is None else fit(requests, like.seed)
    twin = None if fitted is None else describe(generate(fitted))
    if spec is not None and fitted is not None:
        _write_spec(fitted, spec)
        log.print(f"written to {spec}; next: vramlab generate {spec} --out twin.parquet")
    if models is not None and models_out is not None:
        _write_twin_models(requests, load_inventory(models), models_out)
        log.print(f"written to {models_out}")
    if plot is not None:
        save_plot(plot_description(description, twin), plot)
        log.print(f"written to {plot}")
    gap = None if twin is None else largest_gap(description, twin)
    if as_json:
        document = description.to_dict()
        if twin is not None:
            document["twin"] = {"largest_hit_rate_gap": gap, "lru_hit_rates": twin.lru_hit_rates}
        print_json(document)
        return
    rows = list(description.table().itertuples(index=False, name=None))
    if gap is not None:
        rows.append(
            ("largest gap between the LRU hit-rate curves of trace and twin", f"{100 * gap:.1f} points")
        )
    print_table(str(trace), ["", ""], rows)


def largest_gap(one: Description, other: Description) -> float:
    """Largest difference of the hit rates of an LRU of 1, 2, ... models on two traces."""
    a, b = one.lru_hit_rates, other.lru_hit_rates
    most = max(len(a), len(b))
    # a trace of fewer models has them all where the other still misses
    a, b = (np.pad(rates, (0, most - len(rates)), mode="edge") for rates in (a, b))
    return float(np.abs(a - b).max())


def _write_spec(spec: TraceSpec, path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(f"# fitted to a trace\n{spec_yaml(spec)}", encoding="utf-8")


def _write_twin_models(trace: Trace, inventory: Inventory, path: Path) -> None:
    """Write what the inventory says of a trace's models under the names that they have in its twin."""
    check_models(trace, inventory)
    bare = {"path": None, "sha256": None}
    twins = {twin: inventory[name].model_copy(update=bare) for name, twin in twin_names(trace).items()}
    write_inventory(twins, path)
