"""``demo``: the main job, on bundled inputs, in about a minute.

It records live sessions under a budget that is too small, verifies the journal, and simulates the same
requests. Then it compares eviction policies, and the offline optimum, on a longer trace.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from vramlab.analysis.plots import latency_distribution
from vramlab.analysis.timelines import residency_timeline
from vramlab.cli.comparison_tables import plot_load_costs, show_comparison
from vramlab.cli.live import show_verification
from vramlab.cli.output import out, save_plot
from vramlab.cli.profiling import profile_bar
from vramlab.config.bundled import ROOT
from vramlab.config.loading import load_config, load_inventory
from vramlab.config.units import bytes_to_mib
from vramlab.experiments.case import Case
from vramlab.experiments.comparison import DEFAULT_POLICIES, Comparison, compare
from vramlab.experiments.verification import Verification, verify
from vramlab.traces.files import read_trace

SCENARIO = ROOT / "config" / "scenarios" / "tight.yaml"
MODELS = ROOT / "config" / "model_config.yaml"
WORKLOAD = ROOT / "traces" / "live_workload.csv"
TRACE = ROOT / "traces" / "forty_models.csv.gz"
COMPARED = ROOT / "config" / "scenarios" / "forty_models.yaml"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("demo")(demo_command)


def demo_command(
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the run and the plots; what is in it is replaced.")
    ] = Path("results/demo"),
    device: Annotated[str, typer.Option("--device", help="auto, cuda or cpu-emulated.")] = "auto",
) -> None:
    """Record live, verify, simulate, compare: the main job in about a minute.

    Example: vramlab demo
    """
    verification = _live(folder, device)
    comparison = _compared()
    _plot(verification, comparison, folder)
    _next(folder)


def _live(folder: Path, device: str) -> Verification:
    # here, as they load ONNX Runtime, which other commands do not need
    from vramlab.experiments.recording import record_run
    from vramlab.live.profiler import profile
    from vramlab.live.stand_ins import with_stand_ins

    config = load_config(SCENARIO)
    out.rule("1  live sessions on a budget that is too small")
    inventory = with_stand_ins(load_inventory(MODELS))
    size_mb = sum(spec.vram_size_mb for spec in inventory.values())
    out.print(
        f"{len(inventory)} ONNX stand-ins of the specification's sizes, {size_mb:,.0f} MB in all; "
        f"room for {bytes_to_mib(config.budget_bytes):,.0f} MB"
    )
    with profile_bar(len(inventory)) as done:
        inventory, found = profile(config, inventory, device, loads=3, runs=5, done=done)
    case = Case(read_trace(WORKLOAD), config, inventory, profile=found.frame())
    trace, run = case.trace, folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    with tqdm(total=len(trace), desc="record", unit="request", disable=None, leave=False) as bar:
        figures = record_run(case, run, device, done=bar.update)
    out.print(
        f"{figures['requests']:,} requests served in {trace.duration_s:.0f} s on backend "
        f"{figures['backend']}: {figures['loads']} loads, {figures['evictions']} evictions"
    )
    out.rule("2  the same requests in the simulator")
    verification = verify(run)
    show_verification(verification)
    return verification


def _compared() -> Comparison:
    out.rule("3  which eviction policy?")
    trace = read_trace(TRACE)
    with tqdm(total=len(DEFAULT_POLICIES) + 1, desc="compare", unit="run", disable=None, leave=False) as bar:
        comparison = compare(trace, COMPARED, done=bar.update)
    title = (
        f"{len(trace):,} requests of {TRACE.relative_to(ROOT)}, simulated under {COMPARED.relative_to(ROOT)}"
    )
    show_comparison(comparison, title)
    return comparison


def _plot(verification: Verification, comparison: Comparison, folder: Path) -> None:
    out.rule("4  plots")
    live, simulated = verification.live_records, verification.simulated_records
    backend = verification.live["backend"]
    latencies_s = {f"live ({backend})": live.latency_s, "simulated": simulated.latency_s}
    drawn = {
        "latency_live_and_simulated": latency_distribution(
            latencies_s, title="Does the simulator tell the truth?"
        ),
        "live_residency": residency_timeline(live, title=f"Who was resident, live ({backend})"),
        "load_cost_by_policy": plot_load_costs(comparison, "Which eviction policy? (simulated)"),
    }
    for name, ax in drawn.items():
        path = folder / f"{name}.png"
        save_plot(ax, path)
        out.print(f"  {_shown(path)}")


def _next(folder: Path) -> None:
    out.rule("next")
    out.print(f"""\
  vramlab notebooks --out lab      # 01_record_and_replay.ipynb tells this story with plots
  vramlab verify {_shown(folder / "run")}
  vramlab compare traces/forty_models.csv.gz --config config/scenarios/forty_models.yaml --policies all
  vramlab replay YOUR_TRACE.csv --config config/vram_config.yaml --models YOUR_MODELS.yaml""")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
