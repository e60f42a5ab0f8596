"""``fidelity``: how true the simulator is on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vramlab.cli.inputs import DeviceOption, JsonOption, SeedOption
from vramlab.cli.live import plot_latencies
from vramlab.cli.output import count, log, milliseconds, out, percent, print_json, print_table, save_plot
from vramlab.config.bundled import ROOT

if TYPE_CHECKING:
    from vramlab.experiments.fidelity import Fidelity

FOLDER = Path("results/fidelity")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("fidelity")(fidelity_command)


def fidelity_command(
    folder: Annotated[
        Path,
        typer.Option(
            "--folder",
            help="config.yaml, models.yaml and workloads/*.yaml, else the bundled ones; gets the results.",
        ),
    ] = FOLDER,
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Folder for the recorded runs; FOLDER/runs without it.")
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Profile, record each workload live, simulate it, and show how far the simulation is off.

    Takes four minutes per workload and one for the first profile, and wants a machine with nothing else to
    do. Exit status 1 if an error is larger than what we call true. Example: vramlab fidelity
    """
    from vramlab.experiments.fidelity import fidelity, write_fidelity  # load ONNX Runtime

    if not folder.exists():
        shutil.copytree(ROOT / "results" / "fidelity", folder)
    found = fidelity(folder, runs or folder / "runs", device, seed, log.print)
    write_fidelity(found, folder)
    for name, verification in found.verifications.items():
        save_plot(plot_latencies(verification, f"{name}: live and simulated"), folder / f"{name}.png")
    log.print(f"written to {folder}")
    if as_json:
        print_json(found.document())
    else:
        show_fidelity(found)
    if any(found.missed(name) for name in found.verifications):
        raise typer.Exit(1)


def show_fidelity(found: Fidelity) -> None:
    """Print live beside simulated, a table per workload, and which errors are too large."""
    from vramlab.experiments.fidelity import TOLERANCES  # here, for it loads ONNX Runtime

    for name, verification in found.verifications.items():
        live, simulated, errors = verification.live, verification.simulated, verification.errors()
        missed = found.missed(name)
        others = verification.run.environment.get("other_cores")
        beside = "" if others is None else f", other processes on {others:.2f} cores"
        title = (
            f"{name}: {count(live['requests'])} requests, {count(live['evictions'])} evictions{beside}; "
            f"runs took {_relative(found.drifts[name])} after it"
        )
        rows = [
            (
                label,
                show(live[key]),
                show(simulated[key]),
                difference(errors[error]),
                difference(TOLERANCES[error]).removeprefix("+"),
                "too large" if error in missed else "within",
            )
            for label, key, error, show, difference in _FIGURES
        ]
        print_table(title, ["", "live", "simulated", "error", "at most", ""], rows)
    too_large = [f"{name} {key}" for name in found.verifications for key in found.missed(name)]
    out.print(
        f"too large: {', '.join(too_large)}" if too_large else "all errors are within what we call true"
    )


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f} points"


def _relative(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f} %"


_FIGURES: tuple[tuple[str, str, str, Callable[[Any], str], Callable[[float | None], str]], ...] = (
    ("hit rate", "hit_rate", "hit_rate_points", percent, _points),
    *(
        (f"latency {p}", f"latency_{p}_s", f"latency_{p}_relative", milliseconds, _relative)
        for p in ("p50", "p95", "p99")
    ),
)
