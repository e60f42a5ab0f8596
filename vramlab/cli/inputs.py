"""Options that several commands share, and reading what they name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vramlab.config.errors import InputError
from vramlab.config.loading import Scenario, check_fit, load_inventory, load_scenario, with_overrides
from vramlab.config.schema import Inventory, ModelSpec, Priority, VramConfig
from vramlab.config.units import MIB
from vramlab.traces.files import read_trace
from vramlab.traces.trace import Trace

TraceArgument = Annotated[Path, typer.Argument(help="Trace file: .parquet or .csv, each also with .gz.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration or scenario file; the specification's values without it."),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", help="Inventory of models; the scenario's own, else config/model_config.yaml."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting below vram_management; may be repeated."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of whatever is random.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="Eviction policy; the configuration's without it.")
]

_DEFAULT_INVENTORY = Path("config/model_config.yaml")


def read_setting(
    config: Path | None,
    models: Path | None,
    overrides: list[str] | None = None,
    policy: str | None = None,
    of_files: Sequence[Path] = (),
) -> tuple[VramConfig, Inventory]:
    """Configuration and inventory that belong together; `of_files` are models in the inventory's place.

    Raises
    ------
    InputError
        For bad files or settings, or if there is no inventory.
    """
    changes = list(overrides or [])
    if policy is not None:
        changes.append(f"scoring.policy={policy}")
    scenario: Scenario | None = load_scenario(config, changes) if config is not None else None
    settings = scenario.config if scenario is not None else with_overrides(VramConfig(), changes)
    if of_files:
        return settings, inventory_of_files(of_files)
    models = models or (scenario.models_path if scenario is not None else None)
    if models is None and _DEFAULT_INVENTORY.exists():
        models = _DEFAULT_INVENTORY
    if models is None:
        raise InputError("--models", "", "no inventory", "--models FILE, or a scenario that names one")
    inventory = load_inventory(models)
    check_fit(settings, inventory, str(config or "default configuration"), str(models))
    return settings, inventory


def inventory_of_files(files: Sequence[Path]) -> Inventory:
    """An inventory of ONNX files of which nothing is known yet but their size.

    Raises
    ------
    InputError
        If a file is missing.
    """
    for file in files:
        if not file.is_file():
            raise InputError(file, "", "no such file", "an ONNX file")
    return {
        file.name: ModelSpec(
            priority=Priority.MEDIUM,
            vram_size_mb=math.ceil(file.stat().st_size / MIB),
            load_time_ms=0,
            path=str(file.resolve()),
        )
        for file in files
    }


def read_inputs(
    trace: Path,
    config: Path | None,
    models: Path | None,
    overrides: list[str] | None = None,
    policy: str | None = None,
) -> tuple[Trace, VramConfig, Inventory]:
    """Trace, configuration and inventory."""
    settings, inventory = read_setting(config, models, overrides, policy)
    return read_trace(trace), settings, inventory
