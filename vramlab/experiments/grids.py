"""Grids of settings: ``KEY=V1,V2,...``, multiplied out, and checked before the first run.

A key is a dotted path below ``vram_management``. Several keys joined by ``+`` take the same value together
(``total_memory_mb+zones.flexible.size_mb=16384,24576``). Values are YAML.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from vramlab.allocator import Allocator
from vramlab.config.errors import InputError
from vramlab.config.loading import check_fit, with_overrides
from vramlab.config.schema import Inventory, VramConfig
from vramlab.servers.preset import as_asked

Grid = Mapping[str, Sequence[Any]]
Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Point:
    """One run of a study.

    Parameters
    ----------
    number : int
        Its place in the study.
    trace : int
        Which of the study's traces.
    settings : tuple of (str, value)
        Dotted keys and their values, in the order of the grid.
    seed : int
        Of whatever is random.
    """

    number: int
    trace: int
    settings: Settings
    seed: int


def parse_grid(texts: Iterable[str], source: str = "--grid") -> dict[str, list[Any]]:
    """Return axes from ``KEY=V1,V2,...`` texts, in their order.

    Raises
    ------
    InputError
        For a text without values, values that are no YAML, and a key given twice.
    """
    axes: dict[str, list[Any]] = {}
    for text in texts:
        key, separator, values = text.partition("=")
        key = key.strip()
        if not separator or not values.strip():
            raise InputError(source, text, "no values", "KEY=VALUE,VALUE,...")
        if key in axes:
            raise InputError(source, key, "the key a second time", "each key once")
        try:
            axes[key] = [_number(value) for value in yaml.safe_load(f"[{values}]")]
        except yaml.YAMLError as error:
            raise InputError(source, key, repr(values), "YAML values with commas between") from error
    return axes


def _number(value: Any) -> Any:
    """Read ``1e-5`` as a number, which YAML takes for a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def points(grid: Grid, traces: int = 1, seeds: Sequence[int] = (0,)) -> list[Point]:
    """Return every combination: traces outermost, then the axes in their order, then seeds."""
    axes = [[(key, value) for value in values] for key, values in grid.items()]
    combinations = itertools.product(range(traces), itertools.product(*axes), seeds)
    return [
        Point(number, trace, tuple(settings), seed)
        for number, (trace, settings, seed) in enumerate(combinations)
    ]


def override_texts(settings: Iterable[tuple[str, Any]]) -> list[str]:
    """Return settings as ``key=value`` texts for :func:`~vramlab.config.loading.with_overrides`."""
    texts = []
    for keys, value in settings:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("...\n").rstrip("\n")
        texts += [f"{key.strip()}={text}" for key in keys.split("+")]
    return texts


def settled(
    config: VramConfig, inventory: Inventory, settings: Iterable[tuple[str, Any]], source: str = "--grid"
) -> VramConfig:
    """Return `config` with `settings`, checked as a run of it would be.

    Raises
    ------
    InputError
        Naming the key.
    """
    try:
        changed = with_overrides(config, override_texts(settings))
        check_fit(*as_asked(changed, inventory), source, "inventory")
        Allocator(changed, {})
    except InputError as error:
        raise InputError(source, error.key, error.found, error.expected) from error
    return changed


def check(
    chosen: Sequence[Point], config: VramConfig, inventory: Inventory, source: str = "--grid"
) -> dict[Settings, VramConfig | InputError]:
    """Return the configuration of each combination of settings, or why it cannot be.

    A value that goes with nothing else is an error here and now (a wrong key always is one); a combination
    that cannot be is one run of the study that fails.

    Raises
    ------
    InputError
        For the first value of which no combination can be.
    """
    found: dict[Settings, VramConfig | InputError] = {}
    possible: dict[tuple[str, str], InputError | None] = {}
    for point in chosen:
        if point.settings in found:
            continue
        problem: InputError | None = None
        try:
            found[point.settings] = settled(config, inventory, point.settings, source)
        except InputError as error:
            found[point.settings] = problem = error
        for key, value in point.settings:
            place = key, repr(value)
            if problem is None or place not in possible:
                possible[place] = problem
    for problem in possible.values():
        if problem is not None:
            raise problem
    return found
