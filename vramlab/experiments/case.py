"""The case: what a study replays, given as objects or as files, and resolved once.

Trace, configuration, inventory, faults, mode, seed and service times are read and checked together by
:func:`resolve_case`. Everything else (replay, comparison, sweep, tuning, bounds, explorer, command line) is
handed the :class:`Case` and reads no scenario file again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pandas as pd

from vramlab.config.bundled import there
from vramlab.config.errors import InputError, check_choice
from vramlab.config.faults import FaultPlan, check_faults
from vramlab.config.loading import check_fit, load_inventory, load_scenario, with_overrides
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.orders import check_order
from vramlab.experiments.recorded_samples import recorded_samples
from vramlab.runs.run_folder import is_live_run, read_requests, read_run
from vramlab.runs.samples import read_samples, samples_path
from vramlab.servers.preset import as_asked
from vramlab.simulation.choosing import Times
from vramlab.traces.files import read_trace
from vramlab.traces.trace import Trace, check_models, check_times

Mode = Literal["simulate", "decide"]

TraceLike = Trace | Path | str
ConfigLike = VramConfig | Path | str | None
ModelsLike = Inventory | Path | str | None

DEFAULT_INVENTORY = Path("config/model_config.yaml")


@dataclass(frozen=True, eq=False)
class Case:
    """What is replayed, and how.

    Parameters
    ----------
    trace : Trace
        Requests.
    config : VramConfig
        Settings.
    inventory : dict of str to ModelSpec
        Models; it has all of the trace's, and fits the configuration.
    faults : FaultPlan
        What goes wrong (``simulate`` only).
    mode : str
        ``simulate``: the engine on simulated time, with queues and service times. ``decide``: the allocator
        alone, every load instant.
    seed : int
        Of whatever is random.
    service_times : str
        How long effects take (``simulate`` only), see :mod:`vramlab.simulation.choosing`.
    profile : DataFrame, Path or None
        Measurements for the service times, or the file beside the inventory that holds them.
    models_source : str
        What messages call the inventory.
    """

    trace: Trace
    config: VramConfig
    inventory: Inventory
    faults: FaultPlan = field(default_factory=FaultPlan)
    mode: Mode = "simulate"
    seed: int = 0
    service_times: Times = "spec"
    profile: pd.DataFrame | Path | None = None
    models_source: str = "the inventory"

    @cached_property
    def times_key(self) -> str:
        """What tells the service times from others; empty for those of the inventory."""
        frame = None if self.service_times == "spec" else self.measurements()
        if frame is None:
            return ""
        return f"{self.service_times} {pd.util.hash_pandas_object(frame, index=False).sum()}"

    def under(self, config: VramConfig) -> Case:
        """Return the case under another configuration.

        Raises
        ------
        InputError
            If the models do not fit it, or its order of serving cannot be had.
        """
        config, inventory = as_asked(config, self.inventory)
        check_fit(config, inventory, "configuration", self.models_source)
        check_order(config.serving.order)
        return replace(self, config=config, inventory=inventory)

    def changed(self, overrides: Iterable[str]) -> Case:
        """Return the case under its configuration with ``dotted.key=value`` changes."""
        return self.under(with_overrides(self.config, overrides))

    def as_server(self, text: str) -> Case:
        """Return the case as a model server of today would have it, as in ``ollama:keep_alive=600``.

        Raises
        ------
        InputError
            For an unknown server or option.
        """
        return self.under(self.config.model_copy(update={"server": text}))

    def on(self, trace: TraceLike) -> Case:
        """Return the case with another trace.

        Raises
        ------
        InputError
            If it cannot be read, or asks for a model that the inventory lacks.
        """
        other = _read(trace)
        check_models(other, self.inventory, self.models_source)
        return replace(self, trace=other)

    def measurements(self) -> pd.DataFrame | None:
        """Read the measurements; None where there are none."""
        return read_samples(self.profile) if isinstance(self.profile, Path) else self.profile


# Users name these by keyword; this is the one place where they are taken one by one.
def resolve_case(
    trace: TraceLike,
    config: ConfigLike = None,
    models: ModelsLike = None,
    overrides: Iterable[str] = (),
    *,
    mode: Mode = "simulate",
    seed: int = 0,
    service_times: Times | None = None,
    profile: pd.DataFrame | Path | str | None = None,
    faults: FaultPlan | None = None,
) -> Case:
    """Read and check everything that a study replays.

    Parameters
    ----------
    trace : Trace, Path or str
        Requests, their file, or the folder of a live run, whose settings, inventory and service times
        are those of the case where no others are given.
    config, models, overrides
        As for :func:`resolve_settings`.
    mode, seed
        As in :class:`Case`.
    service_times : str, optional
        As in :class:`Case`. By default ``recorded`` for the folder of a run, else ``spec``.
    profile : DataFrame, Path or str, optional
        Measurements, or their file. By default those beside the inventory's file.
    faults : FaultPlan, optional
        What goes wrong. By default what the scenario file says.

    Raises
    ------
    InputError
        For bad input, with file, key, what was found and what was expected.
    """
    check_choice("mode", "", mode, get_args(Mode))
    check_seed(seed)
    if isinstance(profile, Path | str):
        profile = read_samples(profile)
    run = read_run(trace) if isinstance(trace, Path | str) and is_live_run(trace) else None
    service_times = service_times or ("spec" if run is None or mode != "simulate" else "recorded")
    check_choice("service_times", "", service_times, get_args(Times))
    if run is None and service_times == "recorded" and isinstance(trace, Path | str):
        raise InputError("--service-times", "recorded", trace, "the folder of a run, which has its own")
    if run is None:
        requests, settings = _read(trace), _resolve(config, models, overrides)
    else:
        requests, settings = run.trace, _resolve(config or run.config, models, overrides, run.inventory)
        check_times(requests)
        if service_times == "recorded":
            beside = read_samples(settings.samples) if profile is None and settings.samples else profile
            profile = recorded_samples(run, profile=beside)
        elif profile is None:
            profile = settings.samples or run.profile
    check_models(requests, settings.inventory, settings.models_source)
    plan = settings.faults if faults is None else faults
    if mode == "simulate":
        check_faults(plan, settings.inventory, "scenario")
    return Case(
        requests, settings.config, settings.inventory, plan, mode, seed, service_times,
        settings.samples if profile is None else profile, settings.models_source,
    )  # fmt: skip


def resolve_settings(
    config: ConfigLike = None, models: ModelsLike = None, overrides: Iterable[str] = ()
) -> tuple[VramConfig, Inventory]:
    """Read a configuration and an inventory that belong together.

    Parameters
    ----------
    config : VramConfig, Path, str or None
        Configuration or scenario file; None for the specification's values.
    models : dict of str to ModelSpec, Path, str or None
        Inventory; None for the one that the scenario names, else ``config/model_config.yaml`` in the current
        folder, else the bundled one.
    overrides : iterable of str
        ``dotted.key=value`` below ``vram_management``.

    Raises
    ------
    InputError
        For bad files or settings, settings that do not go together, or if there is no inventory.
    """
    settings = _resolve(config, models, overrides)
    return settings.config, settings.inventory


class _Settings(NamedTuple):
    """A scenario, read once; ``samples`` is the file of measurements beside the inventory, if it is there."""

    config: VramConfig
    inventory: Inventory
    faults: FaultPlan
    models_source: str
    samples: Path | None


def _resolve(
    config: ConfigLike, models: ModelsLike, overrides: Iterable[str], of_run: Inventory | None = None
) -> _Settings:
    """Read settings; `of_run`: the inventory where neither the caller nor the scenario names one."""
    source, beside, faults = "configuration", None, FaultPlan()
    if isinstance(config, str | Path):
        scenario = load_scenario(config, overrides)
        settings, source, beside, faults = scenario.config, str(config), scenario.models_path, scenario.faults
    else:
        settings = with_overrides(config or VramConfig(), overrides)
    samples: Path | None = None
    if models is None and beside is None and of_run is not None:
        models = of_run
    if isinstance(models, dict):
        inventory, models_source = models, "the inventory"
    else:
        path = models or beside or DEFAULT_INVENTORY
        inventory, models_source = load_inventory(path), str(path)
        samples = samples_path(there(path))
    settings, inventory = as_asked(settings, inventory)
    check_fit(settings, inventory, source, models_source)
    check_order(settings.serving.order)
    return _Settings(
        settings, inventory, faults, models_source, samples if samples and samples.exists() else None
    )


def _read(trace: TraceLike) -> Trace:
    # a run's folder or journal has a path; what is none is refused as any trace is
    read = read_requests if isinstance(trace, Path | str) else read_trace
    resolved = trace if isinstance(trace, Trace) else read(trace)
    check_times(resolved)
    return resolved


def check_seed(seed: object) -> None:
    """Refuse what no generator can be seeded with."""
    if not isinstance(seed, Integral) or int(seed) < 0:
        raise InputError("seed", "", repr(seed), "a whole number from 0 on")


def names_of(names: Iterable[str]) -> list[str]:
    """Return several names, or one by itself: Python would take that for its letters."""
    return [names] if isinstance(names, str) else list(names)
