"""``advise``: one page that says what to take, what it brings, and what would change that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from vramlab.cli.inputs import JsonOption, SeedOption, SettingsOptions, TraceArgument, cards_in, grouped
from vramlab.cli.output import log, out, print_json, print_table
from vramlab.config.files import check_outputs, check_suffix, replacing
from vramlab.config.loading import write_config
from vramlab.experiments.advice import Advice
from vramlab.experiments.advising import Asked, advised


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("advise")(advise_command)


@dataclass(frozen=True)
class AskedOptions:
    """What advice is asked for, and where it goes."""

    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", metavar="8GB,12GB,16GB", help="Sizes of the card; default: the one there is."
        ),
    ] = None
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require", metavar="FIGURE<=NUMBER", help="What has to hold, as latency_p99_s<=2; repeat it."
        ),
    ] = None
    html: Annotated[Path | None, typer.Option("--html", help="Page to write.")] = None
    written: Annotated[
        Path | None, typer.Option("--out", help="Recommended configuration to write (.yaml).")
    ] = None


@grouped
def advise_command(
    trace: TraceArgument,
    settings: SettingsOptions,
    asked: AskedOptions,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Advise on the card and the settings for a trace, on one page.

    Candidates compete on the first half of the requests; the best is judged on the other half.

    Example: vramlab advise traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml

    Example: vramlab advise mine.parquet --models mine.yaml --config config/scenarios/plain.yaml --memory
    8GB,12GB,16GB --require latency_p99_s<=2 --require unserved=0 --html advice.html --out advised.yaml
    """
    check_outputs([asked.html, asked.written], [trace, *settings.files])
    if asked.html is not None:
        check_suffix(asked.html, (".html",))
    if asked.written is not None:
        check_suffix(asked.written, (".yaml", ".yml"))
    cards = cards_in("--memory", asked.memory)
    case = settings.case(trace, seed=seed)
    steps = 2 * max(1, len(cards))
    with tqdm(total=steps, desc="advise", unit="step", disable=None, leave=False) as progress:
        found = advised(case, Asked(cards, asked.require or ()), progress.update)
    if asked.html is not None:
        with replacing(asked.html) as temporary:
            temporary.write_text(found.page(f"Advice for {trace.name}"), encoding="utf-8")
        log.print(f"written to {asked.html}")
    if asked.written is not None:
        write_config(found.config, asked.written, found.comment())
        log.print(f"written to {asked.written}")
    if as_json:
        print_json(found.document())
    else:
        show_advice(found, str(trace))


def show_advice(found: Advice, title: str) -> None:
    """Print the page."""
    header, cells = found.rows()
    print_table(f"{title}: {found.caption}", header, cells)
    for name, lines in found.sections().items():
        out.print(f"\n{name}")
        for line in lines:
            out.print(f"  {line}")
