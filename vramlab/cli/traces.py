"""``generate``, ``import``, ``export`` and ``describe``: traces made, brought, handed on, looked at."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from vramlab.analysis.trace_plots import plot_description
from vramlab.cli.inputs import ConfigOption, JsonOption, ModelsOption, SeedOption, TraceArgument
from vramlab.cli.output import log, picture, print_json, print_table, save_plot
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, replacing
from vramlab.config.loading import load_inventory, write_inventory
from vramlab.config.schema import Inventory
from vramlab.experiments.inputs import resolve_inputs
from vramlab.traces.describe import Description, describe
from vramlab.traces.exporters import write_libcachesim_csv
from vramlab.traces.files import read_trace, write_trace
from vramlab.traces.fit import fit
from vramlab.traces.generate import generate
from vramlab.traces.importers import IMPORTERS, ImportOptions, ImportReport, importer_names, make_importer
from vramlab.traces.importers.genai_2026 import genai_2026_inventory
from vramlab.traces.importers.inventory import DEFAULT_SIZE_MB, assumptions, inventory_of
from vramlab.traces.importers.options import ROLES, Dealing, TimeUnit, counted
from vramlab.traces.spec import TraceSpec, load_spec, spec_yaml
from vramlab.traces.trace import Trace


class Export(StrEnum):
    """Whose format a trace is written in."""

    LIBCACHESIM_CSV = "libcachesim-csv"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("generate")(generate_command)
    app.command("import")(import_command)
    app.command("export")(export_command)
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


# -- import --------------------------------------------------------------------------------------------


def import_command(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help=f"Whose trace it is: {', '.join(importer_names())}. csv is any table."
        ),
    ],
    source: Annotated[Path, typer.Argument(help="The file, also packed: gz, zst, xz, bz2, zip, tar of one.")],
    out: Annotated[Path, typer.Option("--out", help="Trace file to write.")],
    models_out: Annotated[
        Path | None, typer.Option("--models-out", help="First inventory of its models to write.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="time=NAME,model=NAME,...",
            help=f"Columns of a csv, by name, number or path in JSON: {', '.join(ROLES)}.",
        ),
    ] = None,
    time_unit: Annotated[
        TimeUnit | None, typer.Option("--time-unit", help="Of times that are numbers; d is days.")
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option("--time-format", metavar="FORMAT", help="Of times that are dates: '%d.%m.%Y %H:%M:%S'."),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", metavar="NAME", help="Of dates that say none: Europe/Berlin, UTC."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="COLUMN=VALUE", help="Rows to keep; != leaves out. Repeat it."),
    ] = None,
    count: Annotated[
        str | None,
        typer.Option("--count", metavar="COLUMN", help="Requests that a row stands for, spread in time."),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option("--interval", metavar="TIME", help="What --count counts; default: the rows' distance."),
    ] = None,
    regex: Annotated[
        str | None,
        typer.Option("--regex", metavar="PATTERN", help="For a text log: (?P<time>...), (?P<model>...)."),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether the first line has names; default: as it looks."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", metavar="SIGN", help="Between cells; default: as it looks.")
    ] = None,
    decimal: Annotated[
        str, typer.Option("--decimal", metavar="SIGN", help="Before a fraction: . or ,")
    ] = ".",
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="NAME", help="Of a text that is not UTF-8: cp1252.")
    ] = None,
    model_name: Annotated[
        str | None, typer.Option("--model-name", help="The model, where the source has one only.")
    ] = None,
    top: Annotated[int | None, typer.Option("--top", min=1, help="Keep the N most requested only.")] = None,
    models: Annotated[
        Path | None, typer.Option("--models", help="Inventory whose models the source's become.")
    ] = None,
    mapping: Annotated[
        Dealing,
        typer.Option(
            "--mapping",
            help="How they do. top: the most requested becomes the first, and so on, the rest is dropped; "
            "round_robin: in turn; zipf: at random for each request.",
        ),
    ] = "top",
    assume_mb: Annotated[
        float,
        typer.Option(
            "--assume-mb", min=1.0, help="With --models-out: size of models whose size the source lacks."
        ),
    ] = DEFAULT_SIZE_MB,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", metavar="START:END", help="Seconds of the source's clock, or 36h, 2d, 90min."
        ),
    ] = None,
    speed: Annotated[float, typer.Option("--speed", help="Times faster than the source.")] = 1.0,
    thin: Annotated[float, typer.Option("--thin", help="Probability to keep a request.")] = 1.0,
    skip_bad_rows: Annotated[
        int, typer.Option("--skip-bad-rows", min=0, help="So many malformed rows may be dropped.")
    ] = 0,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Import somebody's trace; says what was read, what was dropped, and why.

    Example: vramlab import genai-2026 lora_request_trace.csv --out genai.parquet --models-out genai.yaml

    Example: vramlab import csv calls.csv --columns time=when,model=endpoint --window 0:2d --out mine.parquet

    Example: vramlab import csv server.log --regex '(?P<time>\\S+ \\S+) .*model=(?P<model>\\S+)' --out x.csv
    """
    check_outputs([out, models_out], [source, models])
    importer = make_importer(kind)
    inventory = load_inventory(models) if models is not None else None
    start_s, end_s = _window(window)
    options = ImportOptions(
        models=tuple(inventory or ()),
        mapping=mapping,
        top=top,
        start_s=start_s,
        end_s=end_s,
        speed=speed,
        thin=thin,
        seed=seed,
        skip_bad_rows=skip_bad_rows,
        columns=_columns(columns, count, kind),
        time_unit=time_unit,
        time_format=time_format,
        time_zone=time_zone,
        model_name=model_name,
        header=header,
        delimiter=_DELIMITERS.get(delimiter or "", delimiter),
        decimal=decimal,
        encoding=encoding,
        regex=regex,
        where=tuple(where or ()),
        interval_s=None if interval is None else _seconds(interval, "--interval"),
    )
    trace, report = importer(source, options)
    write_trace(trace, out)
    for line in report.lines():
        log.print(line)
    log.print(f"{counted(len(trace.model_names), 'model')} over {trace.duration_s:,.1f} s written to {out}")
    if models_out is not None:
        specs, doubts = _inventory(kind, trace, report, inventory, assume_mb)
        comment = "\n".join([f"Of {source.name}", *doubts])
        write_inventory(specs, models_out, group=kind.replace("-", "_"), comment=comment)
        log.print(f"inventory written to {models_out}")
        for line in doubts:
            log.print(line)
        total_mb = sum(spec.vram_size_mb for spec in specs.values())
        log.print(f"all models together take {total_mb:,.0f} MB; with less memory than that, policy counts")
        log.print(f"next: vramlab curve {out} --models {models_out} --plot curve.png")
    if as_json:
        print_json(_import_document(trace, report))


# Signs that a shell makes hard to write.
_DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}


def _columns(text: str | None, count: str | None, kind: str) -> dict[str, str]:
    """``time=when,model=endpoint`` as a mapping; a column's name may have commas in it."""
    columns: dict[str, str] = {} if count is None else {"count": count}
    if text is None and not columns:
        return {}
    if kind in IMPORTERS and kind not in ("csv", "libcachesim-csv"):
        expected = f"no mapping: {kind} has columns of its own, csv takes any"
        raise InputError("--columns", "", text or count, expected)
    for pair in re.split(r",(?=\s*\w*\s*=)", text) if text else ():
        role, separator, name = pair.partition("=")
        if not separator or not role.strip() or not name.strip():
            raise InputError("--columns", "", repr(pair), "ROLE=COLUMN, with commas between")
        if role.strip() in columns:
            raise InputError("--columns", role.strip(), "the role twice", "each role once")
        columns[role.strip()] = name.strip()
    return columns


_UNITS_S = {"min": 60.0, "s": 1.0, "h": 3_600.0, "d": 86_400.0, "": 1.0}


def _window(text: str | None) -> tuple[float | None, float | None]:
    """``START:END`` in seconds; either side may be empty."""
    if text is None:
        return None, None
    start, separator, end = text.partition(":")
    if not separator or not (start.strip() or end.strip()):
        raise InputError("--window", "", repr(text), "START:END, as in 0:3600, 12h:36h or 2d:")
    return _seconds(start.strip(), "--window"), _seconds(end.strip(), "--window")


def _seconds(text: str, option: str) -> float | None:
    if not text:
        return None
    unit = next(unit for unit in _UNITS_S if text.endswith(unit))
    try:
        return float(text.removesuffix(unit)) * _UNITS_S[unit]
    except ValueError:
        raise InputError(option, "", repr(text), "a time such as 90, 90s, 15min, 36h or 2d") from None


def _inventory(
    kind: str, trace: Trace, report: ImportReport, given: Inventory | None, assume_mb: float
) -> tuple[Inventory, list[str]]:
    """First inventory, and what in it nobody knows."""
    if given is not None:
        return {name: spec for name, spec in given.items() if name in set(trace.model_names)}, []
    if kind == "genai-2026":
        return genai_2026_inventory(trace), ["ASSUMED: the trace has no sizes; half SD 1.5, half SDXL, fp16"]
    inventory = inventory_of(trace, report.sizes_bytes, assume_mb)
    return inventory, assumptions(inventory, report.sizes_bytes, assume_mb)


def _import_document(trace: Trace, report: ImportReport) -> dict[str, Any]:
    return {
        "rows_read": report.rows_read,
        "requests": len(trace),
        "models": len(trace.model_names),
        "duration_s": trace.duration_s,
        "dropped": report.dropped,
        "reordered": report.reordered,
        "notes": list(report.notes),
        "trace_sha256": trace.sha256,
    }


# -- export --------------------------------------------------------------------------------------------


def export_command(
    kind: Annotated[Export, typer.Argument(help="Whose format.")],
    trace: TraceArgument,
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    models: ModelsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a trace for another tool. Sizes are the footprints of the inventory.

    Example: vramlab export libcachesim-csv traces/synthetic_tight.csv.gz --out tight.csv
    --models config/model_config.yaml
    """
    check_outputs([out], [trace, config, models])
    requests, _, inventory = resolve_inputs(trace, config, models)
    sizes = {name: spec.footprint_bytes for name, spec in inventory.items()}
    objects = write_libcachesim_csv(requests, out, sizes)
    log.print(f"{len(requests):,} requests for {len(objects):,} objects written to {out} ({kind.value})")
    if as_json:
        print_json({"requests": len(requests), "objects": objects})
        return
    rows = [(str(number), name, f"{sizes[name]:,}") for name, number in objects.items()]
    print_table("objects", ["obj_id", "model", "obj_size (bytes)"], rows)


# -- describe ------------------------------------------------------------------------------------------


def describe_command(
    trace: TraceArgument,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Figure to write."),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", help="Generator spec fitted to the trace, to write.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Say what a trace is like: rates, bursts, popularity, reuse, working set, daily cycle.

    With --spec a generator spec is fitted to it, and a generated twin is held against the trace (and drawn
    beside it with --plot).

    Example: vramlab describe traces/synthetic_tight.csv.gz --plot tight.png --spec like_tight.yaml
    """
    check_outputs([plot, spec], [trace])
    requests = read_trace(trace)
    description = describe(requests)
    fitted = None if spec is None else fit(requests, seed)
    twin = None if fitted is None else describe(generate(fitted))
    if spec is not None and fitted is not None:
        _write_spec(fitted, spec, trace)
        log.print(f"written to {spec}; next: vramlab generate {spec} --out twin.parquet")
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


def _write_spec(spec: TraceSpec, path: Path, trace: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(f"# fitted to {trace.name}\n{spec_yaml(spec)}", encoding="utf-8")
