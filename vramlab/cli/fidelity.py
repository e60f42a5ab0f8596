"""``fidelity``: how true the simulator is on this machine, of what was recorded and of what was not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vramlab.cli.inputs import DeviceOption, JsonOption, SeedOption, grouped
from vramlab.cli.output import log, out, print_json, print_table, save_plot
from vramlab.config.bundled import ROOT
from vramlab.config.errors import InputError
from vramlab.experiments.fidelity import (
    SECONDS,
    Plan,
    busiest,
    copy_inputs,
    plan_of,
    record_all,
    takes_in,
    with_real_models,
)

if TYPE_CHECKING:
    from vramlab.experiments.fidelity_tables import Fidelity

FOLDER = Path("results/fidelity")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("fidelity")(fidelity_command)


@dataclass(frozen=True)
class RecordingOptions:
    """What is recorded, and whether it is."""

    folder: Annotated[
        Path,
        typer.Option(
            "--folder",
            help="config.yaml, alternatives.yaml, workloads/*.yaml, else the bundled ones; gets the results.",
        ),
    ] = FOLDER
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Folder for the recordings; FOLDER/runs without it.")
    ] = None
    real_models: Annotated[
        Path | None,
        typer.Option(
            "--real-models", help="Folder that `make real-models` filled: FOLDER/real is recorded too."
        ),
    ] = None
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats", min=1, help="Recordings of each workload as it stands; alternatives: one less."
        ),
    ] = 3
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="Seconds of each workload to record.")
    ] = SECONDS
    device: DeviceOption = "auto"
    seed: SeedOption = 0
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the recordings that are there; make those that lack.")
    ] = False
    analyse_only: Annotated[
        bool, typer.Option("--analyse-only", help="Record nothing: results of the recordings that are there.")
    ] = False

    @property
    def recordings(self) -> Path:
        """Where they go."""
        return self.runs or self.folder / "runs"

    def plan(self) -> Plan:
        """Read the inputs.

        Raises
        ------
        InputError
            If some are missing or malformed.
        """
        plan = plan_of(self.folder, self.repeats, self.seconds, self.seed)
        if self.real_models is not None:
            real = self.folder / "real"
            of_real = plan_of(real, self.repeats, self.seconds, self.seed)
            plan += with_real_models(of_real, real, self.real_models)
        return plan


@grouped
def fidelity_command(options: RecordingOptions, as_json: JsonOption = False) -> None:
    """Record workloads and alternatives live, predict them from one recording each, show how far that is off.

    Takes about forty minutes and wants a machine with nothing else to do; --resume goes on where it was
    interrupted. No profile is needed: the first recording of a workload calibrates. Exit status 1 if a
    decision differs in lock-step, a workload has no answer, or an error is beyond what we call true
    and beyond the spread of repeated recordings.

    Example: vramlab fidelity

    Example: vramlab fidelity --analyse-only
    """
    from vramlab.experiments.fidelity_tables import write_fidelity

    folder, runs = options.folder, options.recordings
    if options.resume and options.analyse_only:
        raise InputError("--resume", "", "--analyse-only beside it", "one of the two")
    if not folder.exists():
        copy_inputs(ROOT / "results" / "fidelity", folder)
    if not options.analyse_only:
        record_all(options.plan(), runs, options.device, options.resume, log.print)
    found = _judged(runs, options.seed)
    write_fidelity(found, folder)
    _draw(found, folder)
    log.print(f"written to {folder}")
    if as_json:
        print_json(found.document())
    else:
        show_fidelity(found)
        out.print(f"other programs kept {busiest(runs, takes_in(runs)):.2f} cores busy at most")
    if found.lockstep_differences or found.unanswered or any(found.missed(one) for one in found.judged):
        raise typer.Exit(1)


def _judged(runs: Path, seed: int) -> Fidelity:
    from vramlab.experiments.counterfactual import judge, read_recordings
    from vramlab.experiments.fidelity_tables import Fidelity

    recordings = read_recordings(runs, log.print)
    judged = []
    unanswered: dict[str, str] = {}
    for name, its in recordings.items():
        log.print(f"predicting {name}")
        try:
            judged.append(judge(name, its, seed=seed))
        except InputError as error:  # the other workloads, recorded for long, still have an answer
            unanswered[name] = str(error)
            if len(unanswered) == len(recordings):
                raise
    return Fidelity.of(judged, unanswered)


def _draw(found: Fidelity, folder: Path) -> None:
    from vramlab.analysis.whatif_plots import real_and_predicted, settings_plot

    for one in found.judged:
        title = f"{one.name}: live, and simulated from the first recording as it stands"
        save_plot(settings_plot(one.latencies_s(), title), folder / f"{one.name}.png")
    if len(found.pairs):
        title = "What changes from one setting to another: as recorded, and as predicted from one recording"
        save_plot(real_and_predicted(found.pairs, title), folder / "counterfactual.png")


def show_fidelity(found: Fidelity) -> None:
    """Print all tables, and what is beyond limits and spread."""
    from vramlab.experiments.fidelity_tables import tables

    for table in tables(found):
        print_table(table.title, table.header, table.rows)
    for name, why in found.unanswered.items():
        out.print(f"{name}: no answer. {why}")
    late = [f"{one.name} {name}" for one in found.judged for name in found.missed(one)]
    out.print(f"too large: {', '.join(late)}" if late else "all errors of verify are within limits or spread")
