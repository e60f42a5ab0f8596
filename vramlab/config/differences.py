"""In which settings two configurations differ."""

from __future__ import annotations

from typing import Any

from vramlab.config.schema import VramConfig


def config_differences(first: VramConfig, second: VramConfig) -> list[tuple[str, Any, Any]]:
    """Return each dotted key that differs, with the value in `first` and in `second`; None where absent."""
    ours, theirs = flat_settings(first), flat_settings(second)
    keys = dict.fromkeys([*ours, *theirs])
    return [(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)]


def flat_settings(config: VramConfig) -> dict[str, Any]:
    """Return all settings by dotted key; lists are values."""
    return _flat(config.model_dump(mode="json"), "")


def _flat(section: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
