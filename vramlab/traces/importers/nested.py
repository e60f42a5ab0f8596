"""Columns of nested JSON: a path such as ``data.tags.name`` leads through objects, and lists give rows.

Lists of objects on the way to the time are rows, one in the other: of
``{"host": "a", "calls": [{"at": 1}, {"at": 2}]}`` the time ``calls.at`` gives two, and ``host`` is the same
in both. A list of ``{"key": ..., "value": ...}`` is an object (OpenTelemetry's attributes), and a text that
is JSON, also in base64, is what it says.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

OPENED = "\0"
"""In the place of a key: what stands there is a text that is an object."""

_ROWS_LOOKED_AT = 10  # of each list: lists may stand in lists

Scopes = dict[str, Any]
"""Prefix of a path to the object that the row is in there; ``""`` is the record."""


def rows_along(record: Any, path: str) -> Iterator[Scopes]:
    """Return the rows of a record: an element of each list on the way along `path`."""
    return _rows(record, path, "", {"": record})


def path_getter(path: str, time_path: str) -> Callable[[Scopes], Any]:
    """Get the value at `path` of a row of ``rows_along(record, time_path)``."""

    def get(scopes: Scopes) -> Any:
        if len(scopes) == 1:
            return value_at(scopes[""], path)
        prefix = max((known for known in scopes if _leads(known, path)), key=len)
        return value_at(scopes[prefix], path[len(prefix) :].lstrip("."))

    return get


def first_value(record: Any, path: str) -> Any:
    """Return the value at a path in the first row along it."""
    return path_getter(path, path)(next(rows_along(record, path)))


def value_at(value: Any, path: str) -> Any:
    """Return the value at a path, None where there is none; keys may have dots in them."""
    value = opened(value)
    if isinstance(value, list):
        value = {str(place): element for place, element in enumerate(value, 1)}
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    for place, sign in enumerate(path):
        if sign == "." and path[:place] in value:
            found = value_at(value[path[:place]], path[place + 1 :])
            if found is not None:
                return found
    return None


def plain_keys(record: Any, path: str) -> tuple[str, ...] | None:
    """Return keys that lead from object to object to the value at a path; None where it takes more than that.

    :data:`OPENED` stands for no key: there a text is an object.
    """
    if isinstance(record, str):
        inside = opened(record)
        rest = None if inside is record else plain_keys(inside, path)
        return None if rest is None else (OPENED, *rest)
    if not isinstance(record, dict):
        return None
    if path in record:
        return (path,)
    for place, sign in enumerate(path):
        if sign == "." and path[:place] in record:
            rest = plain_keys(record[path[:place]], path[place + 1 :])
            if rest is not None:
                return (path[:place], *rest)
    return None


def paths_of(value: Any, before: str = "") -> list[str]:
    """Return paths to the leaves; of rows those of the first few, as one may lack what others have."""
    value = opened(value)
    if _is_rows(value):
        rows = value[:_ROWS_LOOKED_AT]
        return list(dict.fromkeys(path for row in rows for path in paths_of(row, before)))
    if isinstance(value, list) and not before:
        return [str(place) for place in range(1, len(value) + 1)]
    if not isinstance(value, dict):
        return [before] if before else []
    return [path for key, inner in value.items() for path in paths_of(inner, f"{before}.{key}".lstrip("."))]


def is_record(value: Any) -> bool:
    """Return whether it has columns."""
    return isinstance(value, dict | list)


def as_text(value: object) -> str:
    """Return a value of JSON or Parquet as a table would have it."""
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, default=str)
    return str(value)


def _rows(value: Any, path: str, prefix: str, scopes: Scopes) -> Iterator[Scopes]:
    if _is_rows(value):
        for element in value:
            yield from _rows(element, path, prefix, {**scopes, prefix: element})
        return
    value = opened(value)
    if isinstance(value, dict) and path not in value:
        heads = [path[:place] for place, sign in enumerate(path) if sign == "." and path[:place] in value]
        if heads:
            head = heads[-1]
            yield from _rows(value[head], path[len(head) + 1 :], f"{prefix}.{head}".lstrip("."), scopes)
            return
    yield scopes


def _leads(prefix: str, path: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}.")


def _is_rows(value: Any) -> bool:
    """Return whether a list is rows, of objects or lists; not keys with values, nor a row of plain cells."""
    if not (isinstance(value, list) and value and isinstance(value[0], dict | list)):
        return False
    return not _is_keyed(value)


def _is_keyed(value: list[Any]) -> bool:
    return all(isinstance(element, dict) and set(element) == {"key", "value"} for element in value)


def opened(value: Any) -> Any:
    """Return a list of keys and values, or a text that is JSON, as the object that it stands for."""
    if isinstance(value, list) and value and _is_keyed(value):
        return {element["key"]: _bare(element["value"]) for element in value}
    if isinstance(value, str) and value[:1] in "{e":
        try:
            # Go writes bytes, such as the body of a request, in base64; there an object begins so
            return json.loads(b64decode(value, validate=True) if value[:3] == "eyJ" else value)
        except ValueError:
            return value
    return value


def _bare(value: Any) -> Any:
    """Return x for ``{"stringValue": "x"}``, as OpenTelemetry writes it."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)).endswith("Value"):
        return next(iter(value.values()))
    return value
