"""One replay of a case: its records, and the figures that the command line promises."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vramlab import __version__
from vramlab.analysis.metrics import binding_text, metrics
from vramlab.config.compiled import compiled
from vramlab.config.faults import FaultPlan
from vramlab.config.fingerprints import fingerprint
from vramlab.engine.journal import Journal
from vramlab.experiments.case import Case, ConfigLike, Mode, ModelsLike, TraceLike, resolve_case
from vramlab.experiments.html import replay_html
from vramlab.runs.records import Records
from vramlab.simulation.choosing import Times, choose_times
from vramlab.simulation.decide import decide
from vramlab.simulation.replaying import simulate


@dataclass(frozen=True, eq=False)
class Replay:
    """What came of one replay.

    Parameters
    ----------
    records : Records
        Per request, load and eviction.
    figures : dict
        The keys of ``vramlab replay --json``.
    journal : Journal or None
        Everything that happened, where it was asked for.
    """

    records: Records
    figures: dict[str, Any]
    journal: Journal | None = None

    def __repr__(self) -> str:
        figures = self.figures
        what = f"{figures['requests']:,} requests, {figures['policy']}, {figures['backend']}"
        return f"Replay({what}, hit rate {figures['hit_rate']:.2%})"

    def frame(self) -> pd.DataFrame:
        """Return the figures as one row, without those per zone and per model."""
        return pd.DataFrame([flat(self.figures)])

    def _repr_html_(self) -> str:
        return replay_html(self.figures)


# Users call it by keyword, so its parameters are those of `resolve_case`, one by one.
def replay(
    trace: TraceLike,
    config: ConfigLike = None,
    models: ModelsLike = None,
    mode: Mode = "simulate",
    seed: int = 0,
    journal: bool = False,
    overrides: Sequence[str] = (),
    service_times: Times | None = None,
    profile: pd.DataFrame | Path | str | None = None,
    faults: FaultPlan | None = None,
) -> Replay:
    """Replay a trace under one configuration.

    Parameters
    ----------
    trace : Trace, Path or str
        Requests, or their file.
    config, models, overrides
        Settings and inventory, or their files (of a live run, its own by default), and ``dotted.key=value``
        changes; see :func:`~vramlab.experiments.case.resolve_settings`.
    mode : str
        ``simulate``: the engine on simulated time, with queues and service times. ``decide``: the allocator
        alone, every load instant.
    seed : int
        Of whatever is random in the run.
    journal : bool
        Keep the journal (``simulate`` only).
    service_times : str, optional
        How long effects take (``simulate`` only): see :mod:`vramlab.simulation.choosing`. By default
        ``recorded`` for the folder of a live run, else ``spec``.
    profile : DataFrame, Path or str, optional
        Measurements for the service times. By default those beside the inventory's file.
    faults : FaultPlan, optional
        What goes wrong (``simulate`` only). By default what the scenario file says.

    Raises
    ------
    InputError
        For bad input, with file, key, what was found and what was expected.
    """
    case = resolve_case(
        trace, config, models, overrides,
        mode=mode, seed=seed, service_times=service_times, profile=profile, faults=faults,
    )  # fmt: skip
    return run(case, journal)


def run(case: Case, journal: bool = False) -> Replay:
    """Replay a case.

    Parameters
    ----------
    case : Case
        What is replayed.
    journal : bool
        Keep the journal (``simulate`` only).
    """
    trace, config, inventory, simulated = case.trace, case.config, case.inventory, case.mode == "simulate"
    plan = case.faults if simulated else FaultPlan()
    profile = case.measurements() if case.service_times != "spec" else None
    book = Journal() if journal else None
    begin = time.perf_counter()
    if simulated:
        times = choose_times(case.service_times, config, inventory, profile, np.random.default_rng(case.seed))
        # what goes wrong is drawn apart from the times: a plan changes no draw of theirs
        records = simulate(trace, config, inventory, times, book, plan, np.random.default_rng([case.seed, 1]))
    else:
        records = decide(trace, config, inventory)
    wall_s = time.perf_counter() - begin
    figures = metrics(records, config, inventory) | {
        "card_bytes": config.total_bytes,
        "capacity_bytes": config.capacity_bytes,
        "mode": case.mode,
        "backend": "simulated" if simulated else "decide",
        "policy": config.scoring.policy,
        "order": config.serving.order if simulated else None,
        "server": config.server,
        "service_times": case.service_times if simulated else None,
        "seed": case.seed,
        "wall_s": wall_s,
        "requests_per_s": len(trace) / wall_s,
        "config_sha256": fingerprint(config),
        "models_sha256": fingerprint(inventory),
        "faults_sha256": fingerprint(plan) if plan else None,
        "trace_sha256": trace.sha256,
        "version": __version__,
        "compiled": compiled(),
    }
    return Replay(records, figures, book)


def flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures as one row of a table: without those per zone, model and loss; ``binding`` as a line."""
    row = {key: value for key, value in figures.items() if not isinstance(value, dict | list)}
    return row | {"binding": binding_text(figures.get("binding") or {})}
