"""``import``: somebody's table, log or trace as a trace of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from vramlab.cli.inputs import JsonOption, SeedOption, grouped
from vramlab.cli.output import log, print_json
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.config.loading import load_inventory, write_inventory
from vramlab.config.schema import Inventory
from vramlab.experiments.inventories import gathered
from vramlab.traces.files import write_trace
from vramlab.traces.importers import IMPORTERS, ImportOptions, ImportReport, importer_names, make_importer
from vramlab.traces.importers.genai_2026 import genai_2026_inventory
from vramlab.traces.importers.inventory import DEFAULT_SIZE_MB, assumptions, inventory_of, sizes_of_ps
from vramlab.traces.importers.options import ROLES, Dealing, TimeUnit, counted
from vramlab.traces.trace import Trace


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("import")(import_command)


@dataclass(frozen=True)
class TableOptions:
    """How a table, a log or a database is read."""

    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="time=NAME,model=NAME,...",
            help=f"Columns of a csv, by name, number or path in JSON: {', '.join(ROLES)}.",
        ),
    ] = None
    time_unit: Annotated[
        TimeUnit | None, typer.Option("--time-unit", help="Of times that are numbers; d is days.")
    ] = None
    time_format: Annotated[
        str | None,
        typer.Option("--time-format", metavar="FORMAT", help="Of times that are dates: '%d.%m.%Y %H:%M:%S'."),
    ] = None
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", metavar="NAME", help="Of dates that say none: Europe/Berlin, UTC."),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="COLUMN=VALUE", help="Rows to keep; != leaves out. Repeat it."),
    ] = None
    count: Annotated[
        str | None,
        typer.Option("--count", metavar="COLUMN", help="Requests that a row stands for, spread in time."),
    ] = None
    interval: Annotated[
        str | None,
        typer.Option("--interval", metavar="TIME", help="What --count counts; default: the rows' distance."),
    ] = None
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="Of an SQLite file that has several.")
    ] = None
    regex: Annotated[
        str | None,
        typer.Option("--regex", metavar="PATTERN", help="For a text log: (?P<time>...), (?P<model>...)."),
    ] = None
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether the first line has names; default: as it looks."),
    ] = None
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", metavar="SIGN", help="Between cells; default: as it looks.")
    ] = None
    decimal: Annotated[str, typer.Option("--decimal", metavar="SIGN", help="Before a fraction: . or ,")] = "."
    encoding: Annotated[
        str | None, typer.Option("--encoding", metavar="NAME", help="Of a text that is not UTF-8: cp1252.")
    ] = None
    skip_bad_rows: Annotated[
        int, typer.Option("--skip-bad-rows", min=0, help="So many malformed rows may be dropped.")
    ] = 0

    def resolve(self, kind: str) -> dict[str, Any]:
        """Read them, as for :class:`~vramlab.traces.importers.ImportOptions`."""
        return {
            "columns": _columns(self.columns, self.count, kind),
            "where": tuple(self.where or ()),
            "interval_s": None if self.interval is None else _seconds(self.interval, "--interval"),
            "delimiter": _DELIMITERS.get(self.delimiter or "", self.delimiter),
            **{name: getattr(self, name) for name in _AS_THEY_ARE},
        }


_AS_THEY_ARE = (
    "time_unit", "time_format", "time_zone", "table", "regex", "header", "decimal", "encoding",
    "skip_bad_rows",
)  # fmt: skip


@dataclass(frozen=True)
class WhoseOptions:
    """What the models of the trace are."""

    models_out: Annotated[
        Path | None, typer.Option("--models-out", help="First inventory of its models to write.")
    ] = None
    ps: Annotated[
        Path | None,
        typer.Option("--ps", metavar="FILE", help="Sizes for --models-out: what Ollama's /api/ps answered."),
    ] = None
    sizes: Annotated[
        Path | None,
        typer.Option(
            "--sizes", metavar="FILE", help="CSV for --models-out: model, size_mb, load_ms, priority."
        ),
    ] = None
    model_name: Annotated[
        str | None, typer.Option("--model-name", help="The model, where the source has one only.")
    ] = None
    top: Annotated[int | None, typer.Option("--top", min=1, help="Keep the N most requested only.")] = None
    models: Annotated[
        Path | None, typer.Option("--models", help="Inventory whose models the source's become.")
    ] = None
    mapping: Annotated[
        Dealing,
        typer.Option(
            "--mapping",
            help="How they do. top: the most requested becomes the first, and so on, the rest is dropped; "
            "round_robin: in turn; zipf: at random for each request.",
        ),
    ] = "top"
    assume_mb: Annotated[
        float,
        typer.Option(
            "--assume-mb", min=1.0, help="With --models-out: size of models whose size the source lacks."
        ),
    ] = DEFAULT_SIZE_MB


@dataclass(frozen=True)
class SpanOptions:
    """Which part of the source, and how fast."""

    window: Annotated[
        str | None,
        typer.Option(
            "--window", metavar="START:END", help="Seconds of the source's clock, or 36h, 2d, 90min."
        ),
    ] = None
    speed: Annotated[float, typer.Option("--speed", help="Times faster than the source.")] = 1.0
    thin: Annotated[float, typer.Option("--thin", help="Probability to keep a request.")] = 1.0
    seed: SeedOption = 0

    def resolve(self) -> dict[str, Any]:
        """Read them, as for :class:`~vramlab.traces.importers.ImportOptions`."""
        start_s, end_s = _window(self.window)
        how: dict[str, Any] = {"speed": self.speed, "thin": self.thin, "seed": self.seed}
        return how | {"start_s": start_s, "end_s": end_s}


@dataclass(frozen=True)
class SourceOptions:
    """From where and to where."""

    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help=f"Whose trace it is: {', '.join(importer_names())}. csv is any table."
        ),
    ]
    source: Annotated[Path, typer.Argument(help="The file, also packed: gz, zst, xz, bz2, zip, tar of one.")]
    out: Annotated[Path, typer.Option("--out", help="Trace file to write.")]


@grouped
def import_command(
    files: SourceOptions,
    how: TableOptions,
    whose: WhoseOptions,
    span: SpanOptions,
    as_json: JsonOption = False,
) -> None:
    """Import somebody's trace; says what was read, what was dropped, and why.

    Example: vramlab import genai-2026 lora_request_trace.csv --out genai.parquet --models-out genai.yaml

    Example: vramlab import csv calls.csv --columns time=when,model=endpoint --window 0:2d --out mine.parquet

    Example: vramlab import csv server.log --regex '(?P<time>\\S+ \\S+) .*model=(?P<model>\\S+)' --out x.csv
    """
    source, kind, models_out = files.source, files.kind, whose.models_out
    check_outputs([files.out, models_out], [source, whose.models, whose.ps, whose.sizes])
    importer = make_importer(kind)
    inventory = load_inventory(whose.models) if whose.models is not None else None
    options = ImportOptions(
        models=tuple(inventory or ()), mapping=whose.mapping, top=whose.top, model_name=whose.model_name,
        **how.resolve(kind), **span.resolve(),
    )  # fmt: skip
    try:
        trace, report = importer(source, options)
        specs, doubts = _inventory(kind, trace, report, inventory, whose) if models_out else ({}, [])
        write_trace(trace, files.out)
        if models_out is not None:
            comment = "\n".join([f"Of {source.name}", *doubts])
            write_inventory(specs, models_out, group=kind.replace("-", "_"), comment=comment)
    except KeyboardInterrupt:
        raise InputError(
            source, "", "an interrupt", "the import to run to its end; nothing is half-written"
        ) from None
    _say(report, trace, files.out)
    if models_out is not None:
        _say_models(specs, doubts, files.out, models_out)
    if as_json:
        print_json(_import_document(trace, report))


def _say(report: ImportReport, trace: Trace, out: Path) -> None:
    for line in report.lines():
        log.print(line)
    log.print(f"{counted(len(trace.model_names), 'model')} over {trace.duration_s:,.1f} s written to {out}")
    if len(trace.model_names) == 1:
        log.print("one model only: once loaded it stays, and there is nothing to decide")


def _say_models(specs: Inventory, doubts: list[str], out: Path, models_out: Path) -> None:
    log.print(f"inventory written to {models_out}")
    for line in doubts:
        log.print(line)
    total_mb = sum(spec.vram_size_mb for spec in specs.values())
    log.print(f"all models together take {total_mb:,.0f} MB; with less memory than that, policy counts")
    log.print(f"next: vramlab curve {out} --models {models_out} --plot curve.png")


# Signs that a shell makes hard to write.
_DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}


def _columns(text: str | None, count: str | None, kind: str) -> dict[str, str]:
    """Return ``time=when,model=endpoint`` as a mapping; a column's name may have commas in it."""
    columns: dict[str, str] = {} if count is None else {"count": count}
    if text is None and not columns:
        return {}
    if kind in IMPORTERS and kind not in ("csv", "libcachesim-csv"):
        expected = f"no columns, as {kind} has its own; csv takes any"
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
    """Return ``START:END`` in seconds; either side may be empty."""
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
    kind: str, trace: Trace, report: ImportReport, given: Inventory | None, whose: WhoseOptions
) -> tuple[Inventory, list[str]]:
    """Return a first inventory, and what in it is assumed."""
    if given is not None:
        return {name: spec for name, spec in given.items() if name in set(trace.model_names)}, []
    if kind == "genai-2026":
        return genai_2026_inventory(trace), ["ASSUMED: the trace has no sizes; half SD 1.5, half SDXL, fp16"]
    sizes = report.sizes_bytes | (sizes_of_ps(whose.ps, trace.model_names) if whose.ps is not None else {})
    inventory = inventory_of(trace, sizes, whose.assume_mb, report.loads_s)
    if whose.sizes is not None:
        found = gathered(trace, whose.sizes, assumed_mb=whose.assume_mb)
        return found.inventory, found.notes
    return inventory, assumptions(inventory, sizes, whose.assume_mb, report.loads_s)


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
