"""``record`` and ``verify``: live sessions, and whether the simulator is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from vramlab.analysis.figures import table, text_of
from vramlab.analysis.plots import latency_distribution
from vramlab.cli.busy import Again, offered_again
from vramlab.cli.inputs import (
    DeviceOption,
    JsonOption,
    SeedOption,
    SettingsOptions,
    SpeedOption,
    grouped,
)
from vramlab.cli.output import (
    count,
    log,
    percent,
    picture,
    print_binding,
    print_json,
    print_table,
    save_plot,
    show_losses,
)
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.engine.journal import Line
from vramlab.experiments.draws import RULE, SEEDS, Draws, overall
from vramlab.experiments.verification import Verification, verify
from vramlab.runs.journal_reading import read_journal
from vramlab.simulation.choosing import Times

# What loads ONNX Runtime is imported where a command needs it: --help and `verify` do not.
if TYPE_CHECKING:
    from matplotlib.axes import Axes


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("record")(record_command)
    app.command("verify")(verify_command)


@dataclass(frozen=True)
class PlayOptions:
    """How a trace is played live."""

    device: DeviceOption = "auto"
    speed: SpeedOption = 1.0
    seed: SeedOption = 0
    retry_busy: Annotated[
        int | None,
        typer.Option(
            "--retry-busy",
            min=0,
            help="Record again, so many times at most, if other programs kept the machine busy; the calmest "
            "recording stays. Without it a terminal asks.",
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """Return what is not as it is by default, by option, but for ``--retry-busy``."""
        usual = PlayOptions()
        values = {
            "--device": (self.device, usual.device),
            "--speed": (self.speed, usual.speed),
            "--seed": (self.seed, usual.seed),
        }
        return {option: value for option, (value, default) in values.items() if value != default}


@grouped
def record_command(
    workload: Annotated[Path, typer.Option("--workload", help="Trace that is played.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for journal, trace and settings.")],
    settings: SettingsOptions,
    play: PlayOptions,
    as_json: JsonOption = False,
) -> None:
    """Play a trace against live sessions and keep everything that happens.

    Models without a file get stand-ins. Measurements that `vramlab profile` left beside the inventory go with
    the run, for `vramlab verify`. The exit status is 1 if a request failed.
    Example: vramlab record --config config/scenarios/tight.yaml --workload traces/live_workload.csv
    --out results/run1
    """
    from vramlab.experiments.recording import record_run, record_until_calm
    from vramlab.live.stand_ins import with_stand_ins

    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise InputError("--out", "", f"{out}, which is not empty", "a new folder")
    check_outputs([], folders=[out])
    case = settings.case(workload, seed=play.seed)
    case = replace(case, inventory=with_stand_ins(case.inventory))

    def make(folder: Path) -> dict[str, Any]:
        with tqdm(total=len(case.trace), desc="record", unit="request", disable=None, leave=False) as bar:
            return record_run(case, folder, play.device, play.speed, bar.update)

    try:
        figures = record_until_calm(make, out, Again(play.retry_busy, out))
    except (KeyboardInterrupt, InputError, OSError):
        _say_what_is_kept(out)
        raise
    log.print(f"written to {out}; next: vramlab verify {out}")
    if figures["disturbed"]:
        log.print(offered_again(figures["disturbed"], workload, out, settings, play.given()))
    if as_json:
        print_json(figures)
    else:
        _show_recording(figures, str(workload))
    if figures["failed"]:
        raise typer.Exit(1)


def _show_recording(figures: dict[str, Any], workload: str) -> None:
    rows = [
        ("backend", str(figures["backend"])),
        *((figure.name or figure.label, figure.text(figures[figure.key])) for figure in table("recording")),
    ]
    print_table(f"live run of {workload}", ["", ""], rows)
    show_losses(figures)
    print_binding(figures)


def _say_what_is_kept(run: Path) -> None:
    """Say on standard error what an interrupted recording has left; nothing where it had not begun."""
    journal = run / "journal.jsonl"
    if not journal.exists():
        return
    requests = sum(line.event == "arrival" for line in read_journal(journal))
    if requests:
        log.print(f"{count(requests)} requests are in {run}: vramlab verify {run}")


# options of a command stand one by one, as typer reads them
def verify_command(
    run: Annotated[
        Path, typer.Argument(help="Folder that `vramlab record` wrote, or the journal of your own server.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration of the server; with a journal only.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option("--models", help="Inventory of the server; with a journal only.")
    ] = None,
    service_times: Annotated[
        Times | None,
        typer.Option(
            "--service-times",
            help="As in `replay`. Default: recorded; the run is cut into windows of two halves that take "
            "turns, and each half is simulated with what the other has seen.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of both latency distributions to write."),
    ] = None,
    warm_up_s: Annotated[
        float | None,
        typer.Option(
            "--warm-up", help="Seconds in the beginning to leave out. Default: found from the journal."
        ),
    ] = None,
    seed: SeedOption = 0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How often the run is simulated.")] = SEEDS,
    as_json: JsonOption = False,
) -> None:
    """Replay a live journal in lock-step, then simulate the run and show live beside simulated.

    Exit status 1 if a decision differs. Example: vramlab verify results/run1. The journal of your own server
    takes its settings: vramlab verify journal.jsonl --config server.yaml --models models.yaml
    """
    check_outputs([plot])
    result = verify(run, seed, service_times, warm_up_s, config, models, seeds)
    if plot is not None:
        if result.draws is None:
            raise InputError("--plot", "", f"a run {result.split.problem}", "one that can be judged")
        save_plot(plot_latencies(result), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(result.document())
    else:
        show_verification(result)
    if result.lockstep.differences:
        raise typer.Exit(1)


def plot_latencies(result: Verification, title: str = "Does the simulator tell the truth?") -> Axes:
    """Draw both latency distributions in one figure."""
    live, simulated = result.live_records.latency_s, result.simulated_records.latency_s
    label = f"live ({result.live['backend']})"
    return latency_distribution({label: live, "simulated": simulated}, title=title)


def show_verification(result: Verification) -> None:
    """Print what a verification found."""
    report = result.lockstep
    if report.differences:
        print(f"lock-step: DIFFERENT. {report.differences[0]}")
    else:
        print(f"lock-step: all {report.decisions:,} decisions and {report.lines:,} journal lines are equal")
    if result.run.environment.get("ended") is False:
        print(f"the recording was cut off: {answered(result.run.journal)}")
    if result.draws is None:
        print(f"live times are not compared with simulated ones: {result.split.problem}")
    else:
        _show_fidelity(result, result.draws)
    show_losses(result.live)
    if result.passed_over_s is not None:
        bound_s = result.run.config.serving.max_wait_s
        # not how long it was: those of a high priority count as if they had come before
        left_s = f"{bound_s - result.passed_over_s:.4g} s before it was due"
        passed = (
            f"a request was passed over {left_s}, at the latest"
            if result.passed_over_s
            else "nobody was passed over"
        )
        print(f"while they could be served: {passed} (max_wait_s: {bound_s:g})")
    for caveat in result.caveats():
        print(caveat)


def _show_fidelity(result: Verification, drawn: Draws) -> None:
    split, spread, verdicts = result.split, drawn.spread(), result.verdicts()
    if result.calibration is not None:
        print(result.calibration.summary())
    print(f"{split.rule}; judged since then: {count(split.requests)} requests")
    rows = []
    for figure in table("fidelity"):
        key = figure.key
        texts = [figure.text(result.live[key]), figure.text(result.simulated[key])]
        draws = [figure.text(spread[key][end]) for end in ("low", "high")] if key in spread else []
        rows.append(
            (
                figure.name or figure.label,
                *texts,
                " to ".join(draws),
                _error(result, key),
                verdicts.get(key, ""),
            )
        )
    simulated = f"simulated (median of {len(drawn.figures)})" if len(drawn.figures) > 1 else "simulated"
    header = ["", f"live ({result.live['backend']})", simulated, "draws", "error", ""]
    print_table("live beside simulated", header, rows)
    single = drawn.per_request(result.live_records)
    print(
        f"request by request: {percent(single['same_outcome'] or 0.0)} ended alike, latencies are "
        f"{text_of(single['latency_error_median_s'], 'latency')} apart (median)"
    )
    if verdicts:
        print(f"all in all: {overall(verdicts.values())}. {RULE[0].upper()}{RULE[1:]}")


def answered(journal: Iterable[Line]) -> str:
    """Return how many of the requests of a journal that was cut off have an answer, in words."""
    events = Counter(line.event for line in journal)
    without = events["arrival"] - events["done"]
    if not without:
        return f"all {events['arrival']:,} requests that had come are answered"
    return f"{without:,} of {events['arrival']:,} requests have no answer"


def _error(result: Verification, key: str) -> str:
    off = result.off(key)
    if off is None:
        return "0" if result.simulated[key] == result.live[key] == 0 else "-"
    return f"{100 * off:+.2f} points" if key == "hit_rate" else f"{100 * off:+.1f} %"
