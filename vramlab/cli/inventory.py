"""``inventory``: the models of a trace, from a table of sizes, ONNX files, or the latencies of a log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from vramlab.cli.inputs import JsonOption, TraceArgument, grouped
from vramlab.cli.output import count, log, mebibytes, out, print_json, print_table
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, check_suffix
from vramlab.config.loading import load_inventory, write_inventory
from vramlab.experiments.inventories import (
    COLUMNS,
    Gathered,
    Timing,
    gathered,
    read_latencies,
    timings_of,
)
from vramlab.traces.files import read_trace
from vramlab.traces.importers.inventory import DEFAULT_SIZE_MB

_UNITS_MS = {"s": 1000.0, "ms": 1.0, "us": 1e-3}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("inventory")(inventory_command)


@dataclass(frozen=True)
class SourcesOptions:
    """What is known of the models, the best first."""

    sizes: Annotated[
        Path | None,
        typer.Option("--sizes", help=f"CSV: model, {', '.join(COLUMNS)}, priority, zone, group."),
    ] = None
    onnx: Annotated[Path | None, typer.Option("--onnx", help="Folder of ONNX files, called as models.")] = (
        None
    )
    latencies: Annotated[
        Path | None, typer.Option("--latencies", help="The log, whose latencies tell run and load times.")
    ] = None
    columns: Annotated[
        str, typer.Option("--columns", metavar="model=NAME,latency=NAME", help="Of --latencies.")
    ] = "model=model,latency=latency_ms"
    unit: Annotated[Literal["s", "ms", "us"], typer.Option("--unit", help="Of the latencies.")] = "ms"
    models: Annotated[
        Path | None, typer.Option("--models", help="Inventory that there is, for what the others lack.")
    ] = None
    assume_mb: Annotated[
        float, typer.Option("--assume-mb", min=1.0, help="Size of a model that nobody knows.")
    ] = DEFAULT_SIZE_MB

    def timings(self) -> dict[str, Timing]:
        """Estimate times, where there are latencies.

        Raises
        ------
        InputError
            For columns that are not there.
        """
        if self.latencies is None:
            return {}
        named = dict(part.partition("=")[::2] for part in self.columns.split(","))
        if set(named) - {"model", "latency"}:
            raise InputError("--columns", "", self.columns, "model=NAME,latency=NAME")
        model, latency = named.get("model", "model"), named.get("latency", "latency_ms")
        return timings_of(read_latencies(self.latencies, model, latency, _UNITS_MS[self.unit]))


@grouped
def inventory_command(
    trace: TraceArgument,
    written: Annotated[Path, typer.Option("--out", help="Inventory to write (.yaml).")],
    sources: SourcesOptions,
    as_json: JsonOption = False,
) -> None:
    """Make the inventory of a trace's models from what there is, and say what was estimated or assumed.

    Example: vramlab inventory mine.parquet --sizes sizes.csv --out mine.yaml

    Example: vramlab inventory mine.parquet --onnx models/ --latencies calls.csv --columns
    model=endpoint,latency=latency_ms --out mine.yaml
    """
    check_suffix(written, (".yaml", ".yml"))
    check_outputs([written], [trace, sources.sizes, sources.latencies, sources.models])
    known = None if sources.models is None else load_inventory(sources.models)
    found = gathered(
        read_trace(trace), sources.sizes, sources.onnx, sources.timings(), known, sources.assume_mb
    )
    comment = "\n".join([f"Models of {trace.name}", *found.notes])
    write_inventory(found.inventory, written, comment=comment, groups=found.groups)
    log.print(f"written to {written}")
    if as_json:
        models = {name: spec.model_dump(mode="json") for name, spec in found.inventory.items()}
        print_json({"models": models, "groups": found.groups, "notes": found.notes})
    else:
        _show(found)


def _show(found: Gathered) -> None:
    rows = [
        [
            name,
            str(spec.priority.value),
            mebibytes(spec.footprint_bytes),
            f"{spec.load_time_ms:,.0f} ms",
            f"{spec.inference_ms:,.1f} ms",
        ]
        for name, spec in found.inventory.items()
    ]
    print_table(f"{count(len(rows))} models", ["model", "priority", "size", "load", "run"], rows)
    total = sum(spec.footprint_bytes for spec in found.inventory.values())
    out.print(f"all together {mebibytes(total)}")
    for line in found.notes:
        out.print(line)
