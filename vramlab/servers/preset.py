"""What a preset is, its options, and how it is put over somebody's card and models."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import Inventory, ModelSpec, Priority, VramConfig, of_models
from vramlab.config.validation import validated

SERVERS = (
    "ollama", "llama-swap", "localai", "lemonade", "llama-cpp", "vramd", "modelmesh", "triton", "lm-studio",
)  # fmt: skip
POOL = "flexible"
FOR_EVER_MS = 1e12

Settings = dict[str, Any]

_FROM_SERVING = (
    "gpu_streams", "load_channels", "cpu_workers", "unload_time_ms", "load_timeout_ms", "warm_up", "heap",
)  # fmt: skip
# What a configuration says of the card and the study. Zones are said by the card's memory; that their sizes
# go unread is told in the guide, as people set both alike.
_OF_THE_CARD = (
    "server", "total_memory_mb", "overhead", "zones", "placement", "study", "scoring.priority_weights",
    *(f"serving.{name}" for name in _FROM_SERVING),
)  # fmt: skip


@dataclass(frozen=True)
class Card:
    """What a server finds: the memory, the models, and what the configuration says of the machine."""

    config: VramConfig
    inventory: Inventory

    @property
    def fits(self) -> int:
        """How many models fit, whichever they are; what people set where a server counts models."""
        largest = max((spec.footprint_bytes for spec in self.inventory.values()), default=1)
        return max(1, self.config.budget_bytes // largest)


@dataclass(frozen=True)
class Server:
    """A preset.

    Parameters
    ----------
    name, title : str
        As asked for, and for people.
    version, source : str
        Commit or release, and the files that were read; `read` says when.
    read : str
        Date of the reading.
    options : mapping of str to object
        Defaults of the options that it takes.
    approximations : tuple of str
        Where the preset is not the server, a sentence each.
    settings : callable
        ``settings(options, card)``: sections of the configuration, put over :func:`base`.
    keeps_priorities : bool
        Whether priorities of models mean something to it.
    """

    name: str
    title: str
    version: str
    source: str
    read: str
    options: Mapping[str, Any]
    approximations: tuple[str, ...]
    settings: Callable[[Mapping[str, Any], Card], Settings]
    keeps_priorities: bool = False


def server_names() -> list[str]:
    """Names of all presets."""
    return list(SERVERS)


def server_of(text: str, source: str = "server") -> tuple[Server, dict[str, Any]]:
    """The preset that ``NAME`` or ``NAME:option=value+option=value`` asks for, and its options.

    Raises
    ------
    InputError
        For an unknown server, option, or a value that is none.
    """
    name, _, rest = text.partition(":")
    if name not in SERVERS:
        raise InputError(source, "", repr(name), f"one of {', '.join(SERVERS)}{nearest(name, SERVERS)}")
    module = importlib.import_module(f"vramlab.servers.{name.replace('-', '_')}")
    server: Server = module.SERVER
    options, given = dict(server.options), set()
    for part in re.split(r"\+(?=\w+=)", rest) if rest else ():
        key, separator, value = part.partition("=")
        if not separator or key not in options:
            known = ", ".join(options) or "none"
            raise InputError(source, name, repr(part), f"an option: {known}{nearest(key, options)}")
        if key in given:
            raise InputError(source, f"{name}:{key}", "two values", "one")
        given.add(key)
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(source, f"{name}:{key}", repr(value), "a value as in YAML") from error
        _check_kind(source, f"{name}:{key}", key, options[key], server.options[key])
    return server, options


# What an option is that is not there by default, where YAML would let anything stand.
_LISTS = ("matrix", "models", "pinned")
_MAPPINGS = ("concurrency_groups", "evict_costs", "groups", "keep_alive_by_model", "ttl_by_model")
_FOR_EVER = ("keep_alive",)  # takes -1


def _check_kind(source: str, key: str, option: str, value: Any, default: Any) -> None:
    """Refuse a word where a number is meant, or a switch; a number where it is a list or a mapping."""
    if isinstance(default, bool):
        right, expected = isinstance(value, bool), "true or false"
    elif default is not None:
        right, expected = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif option in _LISTS:
        right, expected = value is None or isinstance(value, list), "a list, as in [a, b]"
    else:
        right, expected = value is None or isinstance(value, dict), "a mapping, as in {a: 5}"
    if not right:
        raise InputError(source, key, repr(value), expected)
    if option not in _FOR_EVER and isinstance(value, int | float) and value < 0:
        raise InputError(source, key, repr(value), "0 or more")


def as_server(text: str, config: VramConfig, inventory: Inventory) -> tuple[VramConfig, Inventory]:
    """Settings and inventory as a server of today would have them on this card.

    The card (memory, overhead), streams, load times and the limit on a load are the configuration's; all else
    is the server's.

    Raises
    ------
    InputError
        For an unknown server or option, and a value that the server does not take.
    """
    server, options = server_of(text)
    plain = of_models(inventory, lambda spec: _plain(spec, server.keeps_priorities))
    settings = base(config) | {"server": text}
    for section, values in server.settings(options, Card(config, plain)).items():
        known = settings.get(section)
        settings[section] = known | values if isinstance(known, dict) else values
    return validated(VramConfig, settings, "server", text), plain


def as_asked(config: VramConfig, inventory: Inventory) -> tuple[VramConfig, Inventory]:
    """Settings and inventory under the server that ``server`` names, or as they are where it names none."""
    return (config, inventory) if config.server is None else as_server(config.server, config, inventory)


def base(config: VramConfig) -> Settings:
    """One pool with all the card's memory and nobody to fall back on, first come, first served."""
    serving = config.serving
    return {
        "total_memory_mb": config.total_memory_mb,
        "overhead": config.overhead.model_dump(),
        "zones": pool(config),
        "scoring": {"policy": "lru", "priority_weights": config.scoring.priority_weights.model_dump()},
        "admission_by_priority": {"low": None},
        "placement": config.placement,
        "fallback": {"cpu_fallback_enabled": False},
        "caching": {"enable_result_caching": False},
        "optimization": {"monitor": False},
        "serving": {
            **{name: getattr(serving, name) for name in _FROM_SERVING},
            "release_timeout_ms": FOR_EVER_MS,
            "max_wait_s": FOR_EVER_MS,
        },
        "rules": {"waited_for": "in_use"},
        "study": config.study.model_dump(),
    }


def unread(overrides: Iterable[str]) -> list[str]:
    """Keys of ``dotted.key=value`` changes that a preset does not read, as the server has its own."""
    keys = [text.partition("=")[0].strip() for text in overrides]
    return [key for key in keys if not any(f"{key}.".startswith(f"{kept}.") for kept in _OF_THE_CARD)]


def pool(config: VramConfig, **rules: Any) -> Settings:
    """The one zone."""
    size_mb = config.total_memory_mb
    zone = {"size_mb": size_mb, "max_models": None, "min_retention_time": 0, "borrowers": ()}
    return {POOL: {**zone, "eviction_policy": "aggressive_lru", **rules}}


def order(name: str) -> str:
    """An order of :mod:`vramlab.servers.orders`."""
    return f"vramlab.servers.orders:{name}"


def policy(name: str) -> str:
    """A policy of :mod:`vramlab.servers.victims`."""
    return f"vramlab.servers.victims:{name}"


def _plain(spec: ModelSpec, keeps_priority: bool) -> ModelSpec:
    """A model as a server knows it: in the one pool, and of high or medium priority."""
    high = keeps_priority and spec.priority in (Priority.CRITICAL, Priority.HIGH)
    priority = Priority.HIGH if high else Priority.MEDIUM
    return spec.model_copy(update={"zone": POOL, "priority": priority, "always_loaded": False})
