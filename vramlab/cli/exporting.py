"""``export``: what a trace and a card come to as settings of somebody's own server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from vramlab.cli.inputs import JsonOption, SettingsOptions, grouped
from vramlab.cli.output import count, log, out, print_json, print_table, seconds
from vramlab.cli.traces import export_trace
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, replacing
from vramlab.experiments.case import Case
from vramlab.experiments.exporting import export
from vramlab.servers.export import EXPORTS

_MOST = 60  # letters of options that a table shows


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export")(export_command)


@grouped
def export_command(
    what: Annotated[
        list[str], typer.Argument(metavar="[libcachesim-csv] TRACE", help="A trace, and the tool it is for.")
    ],
    settings: SettingsOptions,
    server: Annotated[
        str | None,
        typer.Option("--for", metavar="SERVER", help=f"Settings for one of {', '.join(EXPORTS)}."),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: standard output.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write settings for the server that you have, or a trace for another tool.

    With --for, settings that are worth trying are replayed under the server's preset. The best are written,
    with what they cannot say and what that costs.

    Example: vramlab export traces/forty_models.csv.gz --config config/scenarios/forty_models.yaml --for
    ollama

    Example: vramlab export libcachesim-csv traces/synthetic_tight.csv.gz --out tight.csv
    --models config/model_config.yaml
    """
    trace = Path(what[-1])
    check_outputs([out_file], [trace, *settings.files])
    match what, server, out_file:
        case ["libcachesim-csv", _], None, Path():
            export_trace(settings.case(trace), out_file, as_json)
        case [_], str(), _:
            _export_settings(trace, settings.case(trace), server, out_file, as_json)
        case _:
            expected = "TRACE --for SERVER, or libcachesim-csv TRACE --out FILE"
            raise InputError("export", "", " ".join(what), expected)


def _export_settings(trace: Path, case: Case, server: str, out_file: Path | None, as_json: bool) -> None:
    with tqdm(desc="export", unit="run", disable=None, leave=False) as progress:
        found = export(case, server, progress.update)
    if out_file is not None:
        with replacing(out_file) as temporary:
            temporary.write_text(found.text, encoding="utf-8")
        log.print(f"written to {out_file}")
    if as_json:
        print_json(found.document())
    elif out_file is None:
        out.print(found.text.rstrip("\n"))
    else:
        header = ["settings", "refused", "loads", "loading", "mean", "99th percentile"]
        rows = [(f"vramlab's own: {case.config.scoring.policy}", found.ours)]
        rows += [(_short(one["server"]), one) for one in found.tried[:8]]
        print_table(
            f"{trace}: the best of {len(found.tried)} tried for {server}",
            header,
            [
                (
                    name, count(one["refused"]), count(one["loads"]), seconds(one["load_cost_s"]),
                    seconds(one["latency_mean_s"]), seconds(one["latency_p99_s"]),
                )
                for name, one in rows
            ],
        )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
