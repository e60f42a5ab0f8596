"""Trace, configuration and inventory of an experiment: given as objects, or as the files that hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path

from vramlab.config.bundled import there
from vramlab.config.errors import InputError
from vramlab.config.faults import FaultPlan
from vramlab.config.loading import check_fit, load_inventory, load_scenario, with_overrides
from vramlab.config.schema import Inventory, ModelSpec, Priority, VramConfig
from vramlab.config.units import MIB
from vramlab.engine.orders import check_order
from vramlab.runs.samples import samples_path
from vramlab.traces.files import read_trace
from vramlab.traces.trace import Trace, check_models, check_times

DEFAULT_INVENTORY = Path("config/model_config.yaml")


def names_of(names: Iterable[str]) -> list[str]:
    """Several names, or one by itself: Python would take that for its letters."""
    return [names] if isinstance(names, str) else list(names)


def check_seed(seed: object) -> None:
    """Refuse what no generator can be seeded with."""
    if not isinstance(seed, Integral) or int(seed) < 0:
        raise InputError("seed", "", repr(seed), "a whole number from 0 on")


def resolve_trace(trace: Trace | Path | str) -> Trace:
    """A trace, read if it is a path."""
    resolved = trace if isinstance(trace, Trace) else read_trace(trace)
    check_times(resolved)
    return resolved


def resolve_settings(
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    overrides: Iterable[str] = (),
) -> tuple[VramConfig, Inventory]:
    """Configuration and inventory that belong together.

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
    settings, inventory, _ = _resolve(config, models, overrides)
    check_order(settings.serving.order)
    return settings, inventory


def resolve_inputs(
    trace: Trace | Path | str,
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    overrides: Iterable[str] = (),
) -> tuple[Trace, VramConfig, Inventory]:
    """Trace, configuration and inventory that belong together.

    Parameters are those of :func:`resolve_trace` and :func:`resolve_settings`.

    Raises
    ------
    InputError
        As these, and for a model of the trace that the inventory lacks, naming the inventory's file.
    """
    trace = resolve_trace(trace)
    settings, inventory, source = _resolve(config, models, overrides)
    check_models(trace, inventory, source)
    check_order(settings.serving.order)
    return trace, settings, inventory


def _resolve(
    config: VramConfig | Path | str | None, models: Inventory | Path | str | None, overrides: Iterable[str]
) -> tuple[VramConfig, Inventory, str]:
    """Configuration and inventory, and what messages call the inventory."""
    source, beside = "configuration", None
    if isinstance(config, str | Path):
        scenario = load_scenario(config, overrides)
        settings, source, beside = scenario.config, str(config), scenario.models_path
    else:
        settings = with_overrides(config or VramConfig(), overrides)
    if isinstance(models, dict):
        inventory, models_source = models, "the inventory"
    else:
        path = models or beside or DEFAULT_INVENTORY
        inventory, models_source = load_inventory(path), str(path)
    check_fit(settings, inventory, source, models_source)
    return settings, inventory, models_source


def resolve_faults(
    config: VramConfig | Path | str | None = None,
    faults: FaultPlan | None = None,
    overrides: Iterable[str] = (),
) -> FaultPlan:
    """What goes wrong: as given, else as the scenario file says, else nothing."""
    if faults is not None or not isinstance(config, str | Path):
        return faults or FaultPlan()
    return load_scenario(config, overrides).faults


def profile_beside(
    config: VramConfig | Path | str | None = None,
    models: Inventory | Path | str | None = None,
    overrides: Iterable[str] = (),
) -> Path | None:
    """The measurements that stand beside the inventory's file (:func:`resolve_settings`), if they do."""
    if isinstance(models, dict):
        return None
    if not models and isinstance(config, str | Path):
        models = load_scenario(config, overrides).models_path
    path = samples_path(there(models or DEFAULT_INVENTORY))
    return path if path.exists() else None


def inventory_of_files(files: Sequence[Path]) -> Inventory:
    """An inventory of ONNX files of which nothing is known yet but their size, external data included.

    Models have the names of their files; where two files have the same name, those of their folders as well.

    Raises
    ------
    InputError
        If a file is missing, or given twice.
    """
    for place, file in enumerate(files):
        if not file.is_file():
            raise InputError(file, "", "no such file", "an ONNX file")
        if file.resolve() in [other.resolve() for other in files[:place]]:
            raise InputError(file, "", "a file that was given before", "each file once")
    return {
        name: ModelSpec(
            priority=Priority.MEDIUM,
            vram_size_mb=max(1, math.ceil(_size_bytes(file) / MIB)),
            load_time_ms=0,
            path=str(file.resolve()),
        )
        for name, file in zip(_names_of(files), files, strict=True)
    }


def _size_bytes(file: Path) -> int:
    from vramlab.live.model_files import check_model_file  # knows ONNX, which most commands need not load

    try:
        return check_model_file(file).size_bytes
    except InputError:  # its measurement says what is wrong with it
        return file.stat().st_size


def _names_of(files: Sequence[Path]) -> list[str]:
    """The shortest ends of the files' paths that tell them apart: ``model.onnx``, ``ocr/model.onnx``."""
    parts = [file.resolve().parts for file in files]
    names = []
    for own in parts:
        length = 1
        while sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names
