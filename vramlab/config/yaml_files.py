"""Reading YAML strictly: no key twice, no number that people read as another, one error for all faults."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from vramlab.config.errors import InputError
from vramlab.config.plain_yaml import read_plainly
from vramlab.config.validation import described

_TEXT = "tag:yaml.org,2002:str"
_LONG = 50_000  # characters from which on C reads in time what Python would not
_PROBLEMS = (ValueError, OverflowError, TypeError, LookupError, AttributeError)  # of values, by constructors


def _key(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    """Read a key as it is written: no `1.10` becomes `1.1`, and no `no` becomes False."""
    plain = isinstance(node, yaml.ScalarNode) and node.tag != _TEXT
    if plain and node.tag.rpartition(":")[2] in ("int", "float", "bool", "null", "timestamp"):
        if node.value.isdigit() and str(int(node.value)) == node.value:
            return loader.construct_object(node, deep=True)
        node.tag = _TEXT
    return loader.construct_object(node, deep=True)


def _mapping_without_duplicates(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Read a mapping; refuse a key that stands twice, where YAML would silently keep the last."""
    keys: dict[Any, yaml.Node] = {}
    merges = False
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            merges = True  # what << brings in may be overridden
            continue
        key = key_node.value if _is_text(key_node) else _key(loader, key_node)
        if not isinstance(key, Hashable):
            problem = f"{described(key)} as a key"
        elif key in keys:
            problem = f"key {key!r} a second time"
        else:
            keys[key] = value_node
            continue
        raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
    if merges:
        return loader.construct_mapping(node, deep=True)
    return {
        key: one.value if _is_text(one) else loader.construct_object(one, deep=True)
        for key, one in keys.items()
    }


def _is_text(node: yaml.Node) -> bool:
    """Whether a node is plainly a text: most are, and an inventory of thousands of models has many."""
    return node.tag == _TEXT and type(node) is yaml.ScalarNode


def _number_as_it_is_read(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    """Read a number; refuse what people read otherwise: YAML 1.1 takes 0777 for 511, 1:30 for 90."""
    text = node.value.replace("_", "").lstrip("+-")
    if ":" in text or (text.isdigit() and len(text) > 1 and text.startswith("0")):
        is_float = node.tag.endswith("float")
        value = loader.construct_yaml_float(node) if is_float else loader.construct_yaml_int(node)
        problem = f"{node.value}, which YAML takes for the number {value}: write that, or quote it"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return (
        loader.construct_yaml_float(node) if node.tag.endswith("float") else loader.construct_yaml_int(node)
    )


def _strict(base: type[Any]) -> Any:
    """Return a safe loader that reads as people do."""
    loader: Any = type(f"Strict{base.__name__}", (base,), {})
    loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
    for kind in ("int", "float"):
        loader.add_constructor(f"tag:yaml.org,2002:{kind}", _number_as_it_is_read)
    return loader


_LOADER = _strict(yaml.SafeLoader)
# the same in C, where PyYAML was built with it
_IN_C = _strict(yaml.CSafeLoader) if yaml.__with_libyaml__ else None


def parsed(text: str, source: object, key: str, expected: str) -> Any:
    """Return the value of a YAML text.

    Raises
    ------
    InputError
        Whatever PyYAML raises for it: dates that do not exist and deep nesting are none of its own errors.
    """
    if len(text) > _LONG and (plain := read_plainly(text)) is not None:
        return plain
    if _IN_C is not None and len(text) > _LONG:
        with suppress(*_PROBLEMS, yaml.YAMLError, RecursionError):  # said below, as of a short text
            return yaml.load(text, _IN_C)
    try:
        return yaml.load(text, _LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        if key:  # of one value, which is its own place
            raise InputError(source, key, repr(text), expected) from error
        where = f"line {mark.line + 1}" if mark else ""
        raise InputError(source, where, problem, expected) from error
    except RecursionError as error:
        raise InputError(source, key, "values nested too deeply", expected) from error
    except _PROBLEMS as error:
        raise InputError(source, key, error, expected) from error


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Return the top-level mapping of a YAML file.

    Raises
    ------
    InputError
        If the file cannot be read, is no YAML, has a key twice, or is no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        found = str(error.strerror).lower() if isinstance(error, OSError) else "bytes that are not UTF-8"
        raise InputError(path, "", found, "a readable YAML file") from error
    data = parsed(text, path, "", "valid YAML")
    if not isinstance(data, dict):
        raise InputError(path, "", described(data), "a mapping")
    return data
