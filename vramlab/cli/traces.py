"""``generate`` and ``import``: traces, made and brought along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vramlab.cli.inputs import JsonOption
from vramlab.cli.output import log, print_json
from vramlab.config.loading import write_inventory
from vramlab.traces.files import write_trace
from vramlab.traces.generate import generate
from vramlab.traces.importers.genai_2026 import genai_2026_inventory, import_genai_2026
from vramlab.traces.spec import load_spec


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("generate")(generate_command)
    app.command("import")(import_command)


def generate_command(
    spec: Annotated[Path, typer.Argument(help="YAML file that says what to generate.")],
    out: Annotated[Path, typer.Option("--out", help="Trace file to write.")],
    seed: Annotated[int | None, typer.Option("--seed", help="In place of the seed of the spec.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Generate a synthetic trace.

    Example: vramlab generate traces/synthetic_tight.yaml --out mine.parquet --seed 7
    """
    trace = generate(load_spec(spec), seed)
    write_trace(trace, out)
    log.print(f"{len(trace):,} requests for {len(trace.model_names)} models written to {out}")
    if as_json:
        print_json({"requests": len(trace), "models": trace.model_names, "trace_sha256": trace.sha256})


def import_command(
    kind: Annotated[Literal["genai-2026"], typer.Argument(help="Whose trace it is.")],
    source: Annotated[Path, typer.Argument(help="The publisher's file.")],
    out: Annotated[Path, typer.Option("--out", help="Trace file to write.")],
    models_out: Annotated[
        Path | None, typer.Option("--models-out", help="Inventory of its models to write.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import a public trace.

    Example: vramlab import genai-2026 lora_request_trace.csv --out genai.parquet --models-out genai.yaml
    """
    trace, report = import_genai_2026(source)
    write_trace(trace, out)
    log.print(str(report))
    if models_out is not None:
        write_inventory(
            genai_2026_inventory(trace), models_out, group="genai_2026", comment=f"Of {source.name}"
        )
    if as_json:
        print_json({"rows_read": report.rows_read, "requests": len(trace), "dropped": report.dropped})
