"""``journal-trace``: the requests of a journal, live or simulated, whole or cut off, as a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vramlab.cli.inputs import JsonOption
from vramlab.cli.output import print_json
from vramlab.config.bundled import there
from vramlab.config.files import check_outputs
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.run_folder import journal_of, journal_trace
from vramlab.traces.files import write_trace


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("journal-trace")(journal_trace_command)


def journal_trace_command(
    journal: Annotated[Path, typer.Argument(help="Journal (.jsonl, .jsonl.gz), or the folder it is in.")],
    out: Annotated[Path, typer.Option("--out", help="Trace file to write.")],
    as_json: JsonOption = False,
) -> None:
    """Write the requests of a journal as a trace, also where the recording was killed.

    Example: vramlab journal-trace results/run1 --out served.csv
    """
    if there(journal).is_dir():
        journal = journal_of(journal)
    check_outputs([out], [journal])
    trace = journal_trace(read_journal(journal), str(journal))
    write_trace(trace, out)
    if as_json:
        print_json({"requests": len(trace), "sha256": trace.sha256, "trace": str(out)})
    else:
        print(f"{len(trace):,} requests of {journal} written to {out}")
