"""How true is the simulator here? Profile, record workloads that nothing was fitted to, simulate, compare.

Each recording is simulated from the profiles right before and right after it: a machine's speed drifts by the
minute (clocks, a host's other guests). How much it did stands beside the errors.

A folder holds the inputs (``config.yaml``, ``models.yaml``, ``workloads/*.yaml``) and gets the results:
``fidelity.csv`` (one row per workload), ``fidelity.json`` (all figures, with the environment of each run) and
one picture per workload. The recorded runs stay in a folder of their own, as they are large.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_inventory
from vramlab.experiments.case import Case
from vramlab.experiments.recording import record_run
from vramlab.experiments.replay import flat
from vramlab.experiments.verification import Verification, verify
from vramlab.live.profiler import profile
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.run_folder import write_json
from vramlab.runs.samples import samples_path, write_samples
from vramlab.traces.generate import generate
from vramlab.traces.spec import load_spec

TOLERANCES = {
    "hit_rate_points": 1.0,
    "latency_p50_relative": 0.10,
    "latency_p95_relative": 0.15,
    "latency_p99_relative": 0.25,
}
"""The largest errors with which we call the simulator true."""

WARM_UP_S = 15.0
"""Seconds of each run that are left out of its figures: the process has its memory still to come."""

Announce = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class Fidelity:
    """One verification per workload, by its name, and how much slower the machine was after its recording."""

    verifications: dict[str, Verification]
    drifts: dict[str, float]

    def frame(self) -> pd.DataFrame:
        """Return one row per workload: live, simulated, errors, drift, and how busy others kept us."""
        rows = []
        for name, found in self.verifications.items():
            row: dict[str, Any] = {"workload": name, "lockstep_differences": len(found.lockstep.differences)}
            for side, figures in (("live", found.live), ("simulated", found.simulated)):
                row |= {f"{key}_{side}": figures[key] for key in _SHOWN}
            row |= {key: found.errors()[key] for key in TOLERANCES}
            row["drift_relative"] = self.drifts[name]
            row["other_cores"] = found.run.environment.get("other_cores")
            row["within"] = not self.missed(name)
            rows.append(row)
        return pd.DataFrame(rows)

    def missed(self, name: str) -> list[str]:
        """Return which of :data:`TOLERANCES` a workload does not keep."""
        errors = self.verifications[name].errors()
        return [
            key for key, most in TOLERANCES.items() if (error := errors[key]) is None or abs(error) > most
        ]

    def document(self) -> dict[str, Any]:
        """Return all figures, in plain values."""
        return {
            name: {
                "environment": found.run.environment,
                "lockstep": {
                    "decisions": found.lockstep.decisions,
                    "differences": len(found.lockstep.differences),
                },
                "live": flat(found.live),
                "simulated": flat(found.simulated),
                "error": found.errors(),
                "drift_relative": self.drifts[name],
                "missed": self.missed(name),
            }
            for name, found in self.verifications.items()
        }


_SHOWN = (
    "requests", "hit_rate", "cold_starts", "fallbacks", "evictions", "latency_p50_s", "latency_p95_s",
    "latency_p99_s",
)  # fmt: skip


def fidelity(
    folder: Path, runs: Path, device: str = "auto", seed: int = 0, announce: Announce = print
) -> Fidelity:
    """Record every workload of `folder` live and simulate it from the profile; minutes.

    Parameters
    ----------
    folder : Path
        Inputs, as the module describes.
    runs : Path
        Where the recorded runs go; what is in it is replaced.
    device : str
        ``auto``, ``cuda`` or ``cpu-emulated``.
    seed : int
        For inputs and service times.
    announce : callable, optional
        Told what begins.

    Raises
    ------
    InputError
        If inputs are missing or malformed.
    """
    specs = sorted((folder / "workloads").glob("*.yaml"))
    if not specs:
        raise InputError(folder / "workloads", "", "no *.yaml", "specs of workloads")
    config = load_config(folder / "config.yaml")
    inventory = with_stand_ins(load_inventory(folder / "models.yaml"))
    traces = {spec.stem: generate(load_spec(spec)) for spec in specs}
    shutil.rmtree(runs, ignore_errors=True)
    announce(f"profile of {len(inventory)} models")
    profiled, found = profile(config, inventory, device)
    before = found.frame()
    verifications, drifts = {}, {}
    for name, trace in traces.items():
        announce(f"{name}: {len(trace):,} requests in {trace.duration_s:.0f} s, and another profile")
        run = runs / name
        record_run(Case(trace, config, profiled, seed=seed, profile=before), run, device)
        profiled, found = profile(config, inventory, device)
        after = found.frame()
        write_samples(pd.concat([before, after], ignore_index=True), samples_path(run / "models.yaml"))
        verifications[name], drifts[name] = verify(run, seed, warm_up_s=WARM_UP_S), drift(before, after)
        before = after
    return Fidelity(verifications, drifts)


def drift(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """Return how much longer runs take than before, relative: the median over what was timed.

    Parameters
    ----------
    before, after : DataFrame
        Measurements of one machine, as :func:`vramlab.runs.samples.read_samples` gives them.
    """

    def medians_s(frame: pd.DataFrame) -> pd.Series:
        runs = frame[(frame.what == "infer") & (frame.beside == "")]
        return runs.groupby(["model", "target", "items", "pause_s"]).seconds.median()

    return float((medians_s(after) / medians_s(before)).median()) - 1


def write_fidelity(found: Fidelity, folder: Path) -> None:
    """Write table and figures into `folder`."""
    found.frame().to_csv(folder / "fidelity.csv", index=False, float_format="%.6g")
    write_json(found.document(), folder / "fidelity.json")
