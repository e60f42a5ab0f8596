"""``export``: what a trace and a card come to as settings of somebody's own server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from vramlab.cli.inputs import CaseOptions, JsonOption, grouped
from vramlab.cli.output import count, log, out, print_json, print_table, seconds
from vramlab.config.files import check_outputs, replacing
from vramlab.experiments.exporting import export
from vramlab.servers.export import EXPORTS

_MOST = 60  # letters of options that a table shows


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export")(export_command)


@grouped
def export_command(
    inputs: CaseOptions,
    server: Annotated[str, typer.Option("--for", metavar="SERVER", help=f"One of {', '.join(EXPORTS)}.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: standard output.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write settings for the server that you have, with what they cannot say and what that costs.

    Settings that are worth trying are replayed under the server's preset, and the best are written.

    Example: vramlab export traces/forty_models.csv.gz --config config/scenarios/forty_models.yaml --for
    ollama
    """
    check_outputs([out_file], inputs.files)
    case = inputs.resolve()
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
            f"{inputs.trace}: the best of {len(found.tried)} tried for {server}",
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
