"""``fidelity``: how true the simulator is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vramlab.cli.inputs import JsonOption, SeedOption
from vramlab.cli.live import DeviceOption, plot_latencies
from vramlab.cli.output import log, milliseconds, percent, print_json, print_table, save_plot

if TYPE_CHECKING:
    from vramlab.experiments.fidelity import Fidelity

FOLDER = Path(__file__).parents[2] / "results" / "fidelity"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("fidelity")(fidelity_command)


def fidelity_command(
    folder: Annotated[
        Path,
        typer.Option("--folder", help="config.yaml, models.yaml and workloads/*.yaml; gets the results."),
    ] = FOLDER,
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Folder for the recorded runs; FOLDER/runs without it.")
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Profile, record each workload live, simulate it, and show how far the simulation is off.

    Takes a minute per workload and one for the profile, and wants a machine with nothing else to do. Exit
    status 1 if an error is larger than what we call true. Example: vramlab fidelity
    """
    from vramlab.experiments.fidelity import fidelity, write_fidelity  # load ONNX Runtime

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
    """Print live beside simulated, one row per workload."""
    header = [
        "workload", "requests", "evictions", "hit rate", "p50", "p95", "p99", "errors", "other cores", "",
    ]  # fmt: skip
    rows = []
    for name, verification in found.verifications.items():
        live, simulated, errors = verification.live, verification.simulated, verification.errors()
        relative = (errors[f"latency_{p}_relative"] for p in ("p50", "p95", "p99"))
        shares = ", ".join("-" if error is None else f"{100 * error:+.1f} %" for error in relative)
        others = verification.run.environment.get("other_cores")
        rows.append(
            (
                name,
                f"{live['requests']:,}",
                f"{live['evictions']:,}",
                f"{percent(live['hit_rate'])} / {percent(simulated['hit_rate'])}",
                *(
                    f"{milliseconds(live[f'latency_{p}_s'])} / {milliseconds(simulated[f'latency_{p}_s'])}"
                    for p in ("p50", "p95", "p99")
                ),
                f"{errors['hit_rate_points']:+.2f} points, {shares}",
                "-" if others is None else f"{others:.2f}",
                ", ".join(found.missed(name)) or "within",
            )
        )
    print_table("live / simulated", header, rows)
