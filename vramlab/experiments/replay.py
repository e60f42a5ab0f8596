"""One replay of a trace: its records, and the figures that the command line promises."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from vramlab import __version__
from vramlab.analysis.metrics import binding_text, metrics
from vramlab.config.errors import check_choice
from vramlab.config.faults import FaultPlan, check_faults
from vramlab.config.loading import fingerprint
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.journal import Journal
from vramlab.experiments.html import replay_html
from vramlab.experiments.inputs import check_seed, profile_beside, resolve_faults, resolve_inputs
from vramlab.runs.records import Records
from vramlab.runs.samples import read_samples
from vramlab.simulation.choosing import Times, choose_times
from vramlab.simulation.decide import decide
from vramlab.simulation.replaying import simulate
from vramlab.traces.trace import Trace

Mode = Literal["simulate", "decide"]


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

    def frame(self) -> pd.DataFrame:
        """The figures as one row, without those per zone and per model."""
        return pd.DataFrame([flat(self.figures)])

    def _repr_html_(self) -> str:
        return replay_html(self.figures)


def replay(
    trace: Trace | Path | str,
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    mode: Mode = "simulate",
    seed: int = 0,
    journal: bool = False,
    overrides: Sequence[str] = (),
    service_times: Times = "spec",
    profile: pd.DataFrame | Path | str | None = None,
    faults: FaultPlan | None = None,
) -> Replay:
    """Replay a trace under one configuration.

    Parameters
    ----------
    trace : Trace, Path or str
        Requests, or their file.
    config, models, overrides
        Settings and inventory, or their files, and ``dotted.key=value`` changes; see
        :func:`~vramlab.experiments.inputs.resolve_settings`.
    mode : str
        ``simulate``: the engine on simulated time, with queues and service times. ``decide``: the allocator
        alone, every load instant.
    seed : int
        Of whatever is random in the run.
    journal : bool
        Keep the journal (``simulate`` only).
    service_times : str
        How long effects take (``simulate`` only): see :mod:`vramlab.simulation.choosing`.
    profile : DataFrame, Path or str, optional
        Measurements for the service times. By default those beside the inventory's file.
    faults : FaultPlan, optional
        What goes wrong (``simulate`` only). By default what the scenario file says.

    Raises
    ------
    InputError
        For bad input, with file, key, what was found and what was expected.
    """
    check_mode(mode)
    check_seed(seed)
    check_choice("service_times", "", service_times, get_args(Times))
    if profile is None and service_times != "spec":
        profile = profile_beside(config, models, overrides)
    if isinstance(profile, Path | str):
        profile = read_samples(profile)
    plan = resolve_faults(config, faults, overrides) if mode == "simulate" else FaultPlan()
    trace, config, inventory = resolve_inputs(trace, config, models, overrides)
    check_faults(plan, inventory, "scenario")
    book = Journal() if journal else None
    begin = time.perf_counter()
    if mode == "simulate":
        times = choose_times(service_times, config, inventory, profile, np.random.default_rng(seed))
        # what goes wrong is drawn apart from the times: a plan changes no draw of theirs
        records = simulate(trace, config, inventory, times, book, plan, np.random.default_rng([seed, 1]))
    else:
        records = decide(trace, config, inventory)
    wall_s = time.perf_counter() - begin
    figures = metrics(records, config, inventory)
    figures |= {
        "mode": mode,
        "backend": "simulated" if mode == "simulate" else "decide",
        "policy": config.scoring.policy,
        "order": config.serving.order if mode == "simulate" else None,
        "service_times": service_times if mode == "simulate" else None,
        "seed": seed,
        "wall_s": wall_s,
        "requests_per_s": len(trace) / wall_s,
        "config_sha256": fingerprint(config),
        "models_sha256": fingerprint(inventory),
        "faults_sha256": fingerprint(plan) if plan else None,
        "trace_sha256": trace.sha256,
        "version": __version__,
    }
    return Replay(records, figures, book)


def check_mode(mode: object) -> None:
    """Refuse a mode that there is none of, before a study begins: any other text would mean one of them."""
    check_choice("mode", "", mode, get_args(Mode))


def flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures without those per zone, per model and per loss: one row of a table; ``binding`` as a line."""
    row = {key: value for key, value in figures.items() if not isinstance(value, dict | list)}
    return row | {"binding": binding_text(figures.get("binding", {}))}
