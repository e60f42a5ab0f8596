"""Reading and writing the YAML files: configuration, inventory and scenarios.

A *scenario* is a configuration file that also says what it belongs to. Its top-level ``scenario`` section may
name a base configuration that it extends, and an inventory (paths beside the file). Its ``faults`` section
says what goes wrong in a simulated run (:mod:`vramlab.config.faults`). What it does not name it takes from
its base, section by section and key by key. Every error is one :class:`~vramlab.config.errors.InputError`
with file, key, found and expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from vramlab.config.bundled import there
from vramlab.config.collecting import collecting_rarely
from vramlab.config.errors import InputError, nearest
from vramlab.config.faults import FaultPlan
from vramlab.config.fields import Priority
from vramlab.config.files import replacing
from vramlab.config.models import Inventory, ModelSpec
from vramlab.config.schema import VramConfig, with_order, zone_of
from vramlab.config.units import bytes_to_mib, mib_to_bytes
from vramlab.config.validation import described, validated
from vramlab.config.yaml_files import parsed, read_yaml


class ScenarioHeader(BaseModel):
    """The ``scenario`` section of a scenario file; paths are relative to the file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    title: str = ""
    extends: str | None = None
    models: str | None = None


@dataclass(frozen=True)
class Scenario:
    """A configuration and, where the file names them, inventory and faults that belong to it."""

    config: VramConfig
    title: str
    models_path: Path | None
    source: str
    faults: FaultPlan = field(default_factory=FaultPlan)


def load_scenario(path: Path | str, overrides: Iterable[str] = ()) -> Scenario:
    """Read a configuration or scenario file and apply ``KEY=VALUE`` overrides.

    Parameters
    ----------
    path : Path or str
        YAML file with ``vram_management`` and, optionally, ``scenario`` and ``faults``.
    overrides : iterable of str
        ``dotted.key=value`` below ``vram_management``; values are YAML.

    Raises
    ------
    InputError
        Naming file, key, found and expected.
    """
    path = there(path)
    data = _merged_with_base(path, seen=())
    header = validated(ScenarioHeader, data.get("scenario", {}), str(path), "scenario")
    section = data.get("vram_management") or {}
    config = _config_from(section, str(path), overrides)
    beside = path.parent
    return Scenario(
        config=config,
        title=header.title or path.stem,
        models_path=beside / header.models if header.models else None,
        source=str(path),
        faults=validated(FaultPlan, data.get("faults") or {}, str(path), "faults"),
    )


def load_config(path: Path | str | None = None, overrides: Iterable[str] = ()) -> VramConfig:
    """Return the configuration of a file, or the specification's defaults where `path` is None."""
    if path is None:
        return _config_from({}, "default configuration", overrides)
    return load_scenario(path, overrides).config


def with_overrides(config: VramConfig, overrides: Iterable[str]) -> VramConfig:
    """Copy of `config` with ``dotted.key=value`` settings applied and checked against the schema."""
    return _config_from(config.model_dump(mode="json"), "--set", overrides)


def _config_from(section: object, source: str, overrides: Iterable[str]) -> VramConfig:
    config = validated(VramConfig, section, source, "vram_management")
    if isinstance(overrides, str):  # a text is an iterable of texts too: its letters
        raise InputError("--set", "", repr(overrides), "a list of KEY=VALUE texts")
    overrides = list(overrides)
    if overrides:
        data = config.model_dump(mode="json")
        for override in overrides:
            _apply_override(data, override)
        config = validated(VramConfig, data, "--set", "")
        source = f"{source} with --set"
    _check_config(config, source)
    return config


@collecting_rarely()
def load_inventory(path: Path | str) -> Inventory:
    """Read a model inventory: groups of models under ``models``.

    A relative ``path`` of a model is taken relative to the file.

    Raises
    ------
    InputError
        Naming file, key, found and expected; also for a model name that stands in two groups.
    """
    path = there(path)
    data = read_yaml(path)
    _check_top_keys(path, data, {"models"})
    groups = data.get("models")
    if not isinstance(groups, dict) or not groups:
        raise InputError(path, "models", described(groups), "a mapping of groups of models")
    inventory: Inventory = {}
    alike: dict[str, ModelSpec] = {}  # of models of which the file says the same
    for group, models in groups.items():
        if not isinstance(models, dict):
            raise InputError(path, f"models.{group}", described(models), "a mapping of model names")
        for name, values in models.items():
            key, name = f"models.{group}.{name}", str(name)
            if name in inventory:
                raise InputError(path, key, "the model name a second time", "each model in one group")
            said = repr(values)
            if said not in alike:
                alike[said] = _beside(validated(ModelSpec, values, str(path), key), path.parent)
            inventory[name] = alike[said]
    if not inventory:
        raise InputError(path, "models", "only empty groups", "at least one model")
    return inventory


def _beside(spec: ModelSpec, folder: Path) -> ModelSpec:
    """Return a spec whose relative paths are below `folder`."""
    found: dict[str, Any] = {}
    if spec.custom_ops:
        found["custom_ops"] = tuple(str(folder / library) for library in spec.custom_ops)
    if spec.path is not None:
        found["path"] = str(folder / spec.path)
    if isinstance(spec.inputs, str):
        found["inputs"] = str(folder / spec.inputs)
    return spec.model_copy(update=found) if found else spec


def check_fit(config: VramConfig, inventory: Inventory, source: str, models_source: str) -> None:
    """Check that a configuration and an inventory can work together.

    Raises
    ------
    InputError
        For an unknown zone, a model of a rule that the inventory lacks, a reserved model that it lacks or
        places elsewhere or that two zones reserve, critical models that do not fit their zone or, together,
        the budget, a shared workspace that takes all of that, and batching where no model was shown to allow
        it.
    """
    if config.serving.batching and not any(spec.joins for spec in inventory.values()):
        expected = f"a model of {models_source} with splits: true (`vramlab profile`), batch_size above 1"
        raise InputError(source, "vram_management.serving.batching", "true", expected)
    for model, key in config.rules.models().items():
        if model not in inventory:
            expected = f"a model of {models_source}{nearest(model, inventory)}"
            raise InputError(source, f"vram_management.rules.{key}", repr(model), expected)
    shared = config.shared_bytes(inventory) or 0
    if shared >= config.budget_bytes:
        found = f"shared, which takes {bytes_to_mib(shared):.1f} MB for the largest model of {models_source}"
        expected = f"less than the {bytes_to_mib(config.budget_bytes):.1f} MB of the budget"
        raise InputError(source, "vram_management.workspace", found, expected)
    reserved: dict[str, str] = {}
    for zone_name, zone in config.zones.items():
        key = f"vram_management.zones.{zone_name}.reserved_models"
        for model in zone.reserved_models:
            if model not in inventory:
                expected = f"a model of {models_source}{nearest(model, inventory)}"
                raise InputError(source, key, repr(model), expected)
            elsewhere = inventory[model].zone or reserved.get(model)
            if elsewhere not in (None, zone_name):
                raise InputError(source, key, repr(model), f"no model that belongs to zone {elsewhere}")
            reserved[model] = zone_name
    needed: dict[str, int] = {}
    for name, spec in config.held(inventory).items():
        if spec.zone is not None and spec.zone not in config.zones:
            expected = f"one of {', '.join(config.zones)}{nearest(spec.zone, config.zones)}"
            raise InputError(models_source, f"models.{name}.zone", repr(spec.zone), expected)
        if spec.priority is Priority.CRITICAL:
            zone_name = zone_of(spec, config, name)
            needed[zone_name] = needed.get(zone_name, 0) + spec.footprint_bytes
            free = config.zones[zone_name].size_bytes
            if needed[zone_name] > free:
                _refuse_critical(models_source, name, f"zone {zone_name}", needed[zone_name], free)
            room = config.room_bytes(inventory)
            if sum(needed.values()) > room:
                _refuse_critical(models_source, name, "the budget", sum(needed.values()), room)


def _refuse_critical(source: str, name: str, place: str, needed: int, room: int) -> None:
    found = f"{bytes_to_mib(needed):.1f} MB of critical models up to here"
    expected = f"at most {bytes_to_mib(room):.1f} MB, as critical models never leave {place}"
    raise InputError(source, f"models.{name}", found, expected)


def write_config(config: VramConfig, path: Path | str, comment: str = "") -> None:
    """Write a complete ``vram_config.yaml``, with `comment` lines on top."""
    _write_yaml({"vram_management": config.model_dump(mode="json")}, path, comment)


def write_inventory(
    inventory: Inventory,
    path: Path | str,
    group: str = "models",
    comment: str = "",
    groups: Mapping[str, str] | None = None,
) -> None:
    """Write an inventory in the format of ``config/model_config.yaml``, without keys at their default.

    Parameters
    ----------
    groups : mapping of str to str, optional
        Group of a model where it is not `group`.
    """
    grouped: dict[str, dict[str, Any]] = {}
    for name, spec in inventory.items():
        its = grouped.setdefault((groups or {}).get(name, group), {})
        its[name] = spec.model_dump(mode="json", exclude_defaults=True)
    _write_yaml({"models": grouped or {group: {}}}, path, comment)


def _write_yaml(data: dict[str, Any], path: Path | str, comment: str) -> None:
    header = "".join(f"# {line}\n" for line in comment.splitlines())
    with replacing(path) as temporary:
        temporary.write_text(header + yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


# -- overrides, and what a file extends ----------------------------------------------------------------


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise InputError("--set", override, "no value", "KEY=VALUE")
    value = parsed(text, "--set", key, "a YAML value")
    *parents, last = key.strip().removeprefix("vram_management.").split(".")
    if (*parents, last) == ("serving", "queue"):
        last, value = "order", with_order({"queue": value})["order"]
    _make_way(data, parents, last, value)
    node: Any = data
    for depth, part in enumerate([*parents, last]):
        if not isinstance(node, dict) or part not in node:
            expected = f"a key of the configuration{nearest(key, _dotted_keys(data))}"
            raise InputError("--set", key, "an unknown key", expected)
        if depth < len(parents):
            node = node[part]
    node[last] = value


def _make_way(data: dict[str, Any], parents: list[str], last: str, value: Any) -> None:
    """Drop options of a policy that is no longer asked for, and those that are set anew by their old key."""
    scoring = data["scoring"]
    if parents == ["scoring"] and last == "policy" and value != scoring["policy"]:
        scoring["policy_options"] = {}
    elif parents in (["scoring"], ["scoring", "weights"]):
        scoring["policy_options"].pop(last, None)


def _dotted_keys(data: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for name, value in data.items():
        keys.append(prefix + name)
        if isinstance(value, dict):
            keys += _dotted_keys(value, f"{prefix}{name}.")
    return keys


def _merged_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    data = read_yaml(path)
    _check_top_keys(path, data, {"vram_management", "scenario", "faults"})
    if not isinstance(data.get("scenario", {}), dict):
        raise InputError(path, "scenario", described(data["scenario"]), "a mapping")
    if data.get("vram_management") is not None and not isinstance(data["vram_management"], dict):
        raise InputError(path, "vram_management", described(data["vram_management"]), "a mapping")
    if data.get("faults") is not None and not isinstance(data["faults"], dict):
        raise InputError(path, "faults", described(data["faults"]), "a mapping")
    _rename_queue(data, path)
    base_name = data.get("scenario", {}).get("extends")
    if base_name is None:
        return data
    if not isinstance(base_name, str):
        raise InputError(path, "scenario.extends", described(base_name), "a file name")
    base_path = (path.parent / base_name).resolve()
    if base_path in seen:
        raise InputError(path, "scenario.extends", repr(base_name), "a file that does not extend this one")
    base = _merged_with_base(base_path, (*seen, path.resolve()))
    base_section = base.get("vram_management") or {}
    validated(VramConfig, base_section, str(base_path), "vram_management")  # its errors under its own name
    base_header = validated(ScenarioHeader, base.get("scenario", {}), str(base_path), "scenario")
    models = base_header.models
    inherited = {"models": str(base_path.parent / models)} if models else {}
    section = _deep_merge(base_section, data.get("vram_management") or {})
    faults = {**(base.get("faults") or {}), **(data.get("faults") or {})}
    return {"vram_management": section, "scenario": {**inherited, **data["scenario"]}, "faults": faults}


def _rename_queue(data: dict[str, Any], path: Path) -> None:
    """Let a file say ``order``, so that one which extends it may say another."""
    serving = (data.get("vram_management") or {}).get("serving")
    if not isinstance(serving, dict):
        return
    try:
        data["vram_management"] = data["vram_management"] | {"serving": with_order(serving)}
    except ValueError as error:
        key = "vram_management.serving"
        raise InputError(path, key, "two orders, order and queue", str(error)) from None


def _deep_merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = (
            _deep_merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def _check_top_keys(path: Path, data: dict[str, Any], known: set[str]) -> None:
    for key in data:
        if key not in known:
            expected = f"only {' and '.join(sorted(known))}{nearest(str(key), known)}"
            raise InputError(path, key, "an unknown key", expected)


def _check_config(config: VramConfig, source: str) -> None:
    if config.budget_bytes <= 0:
        key = "vram_management.overhead"
        found = f"{config.overhead.total_mb:g} MB in all"
        raise InputError(source, key, found, f"less than total_memory_mb ({config.total_memory_mb:g})")
    for name, zone in config.zones.items():
        if mib_to_bytes(zone.size_mb) > config.total_bytes:
            key = f"vram_management.zones.{name}.size_mb"
            expected = f"at most total_memory_mb ({config.total_memory_mb:g})"
            raise InputError(source, key, f"{zone.size_mb:g}", expected)
