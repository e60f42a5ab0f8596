"""``whatif``: I recorded this under A; what would B have been?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from vramlab.analysis.figures import FIGURES
from vramlab.analysis.shifts import KEYS
from vramlab.analysis.statistics import Interval
from vramlab.analysis.whatif_plots import differences_plot
from vramlab.cli.inputs import (
    JsonOption,
    OrdersOption,
    PlotOption,
    SeedOption,
    SetOption,
    cards_in,
    grouped,
    names_in,
)
from vramlab.cli.output import count, log, out, print_json, print_table, save_plot
from vramlab.config.files import check_outputs
from vramlab.experiments.whatif import DRAWS, Answer, WhatIf, alternatives_of, what_if
from vramlab.runs.run_folder import read_run

NOTHING = "no difference that can be told"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("whatif")(whatif_command)


@dataclass(frozen=True)
class AlternativesOptions:
    """What might have been."""

    policies: Annotated[
        str | None, typer.Option("--policies", help="Eviction policies, with commas between.")
    ] = None
    orders: OrdersOption = None
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", metavar="8GB,12GB", help="Sizes of the card; zones keep their shares of it."
        ),
    ] = None
    overrides: SetOption = None

    def resolve(self) -> partial[Any]:
        """Take the lists apart."""
        return partial(
            alternatives_of,
            policies=names_in("--policies", self.policies) if self.policies else [],
            orders=names_in("--orders", self.orders) if self.orders else [],
            cards_mb=cards_in("--memory", self.memory),
            overrides=self.overrides or [],
        )


@grouped
def whatif_command(
    run: Annotated[Path, typer.Argument(help="Folder that `vramlab record` wrote.")],
    options: AlternativesOptions,
    draws: Annotated[
        int, typer.Option("--draws", min=2, max=100, help="Simulations of each alternative.")
    ] = DRAWS,
    seed: SeedOption = 0,
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """I recorded this under A: what would B have been? Predicted from the one recording, with intervals.

    Every combination of the policies, orders and cards named is one alternative, each with all that --set
    changes. Exit status 2 if the recording can speak about none of them.

    Example: vramlab whatif results/run1 --policies lru,gdsf --orders arrival

    Example: vramlab whatif results/run1 --memory 12GB,16GB --plot whatif.png
    """
    check_outputs([plot])
    asked, recording = options.resolve(), read_run(run)
    with tqdm(desc="whatif", unit="setting", disable=None, leave=False) as bar:
        found = what_if(recording, asked, draws=draws, seed=seed, done=bar.update)
    if plot is not None:
        save_plot(differences_plot(found.frame(), found.recorded, f"{run}: had it been otherwise"), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(found.document())
    else:
        show_what_if(found)


def show_what_if(found: WhatIf) -> None:
    """Print what was recorded, how far its simulation is off, and each alternative's difference."""
    figures = [FIGURES[key] for key in KEYS]
    header = ["", *(figure.name or figure.label for figure in figures)]
    errors = found.errors()
    rows = [
        ("recorded", *(one.text(found.recorded[one.key]) for one in figures)),
        (
            "simulated as recorded",
            *(f"{one.text(found.simulated[one.key])} ({_by(one.key, errors[one.key])})" for one in figures),
        ),
    ]
    answered = [one for one in found.answers if one.shift is not None]
    for answer in answered:
        predicted = answer.shift.predicted if answer.shift else {}
        rows.append((answer.alternative.name, *(one.text(predicted[one.key]) for one in figures)))
    requests = count(found.recorded["requests"])
    title = f"{found.run.path}: {requests} requests after {found.warm_up_s:.3g} s of warming up"
    print_table(title, header, rows)
    print_table(
        "predicted less recorded (95 %)", header,
        [(one.alternative.name, *(_difference(found, one, key) for key in KEYS)) for one in answered],
    )  # fmt: skip
    for answer in found.answers:
        if answer.shift is None:
            out.print(f"{answer.alternative.name}: no answer. {answer.why}")
    for note in [found.calibration.summary(), found.calibration.rule, *found.notes()]:
        out.print(note)


def _difference(found: WhatIf, answer: Answer, key: str) -> str:
    assert answer.shift is not None
    one: Interval = answer.shift.differences[key]
    scale = 1.0 if key == "hit_rate" else found.recorded[key] or float("nan")
    ends = [_by(key, value / scale, unit=False) for value in (one.low, one.high)]
    change = NOTHING if one.low <= 0 <= one.high else _by(key, one.estimate / scale)
    return f"{change} ({ends[0]} to {ends[1]})"


def _by(key: str, change: float, unit: bool = True) -> str:
    """Write a change of a hit rate in points, of a latency in per cent."""
    words = " points" if key == "hit_rate" else " %"
    return f"{100 * change:+.1f}{words if unit else ''}"
