"""Values against the schema: what does not fit is one error that names the key in the words of the files."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vramlab.config.errors import InputError, nearest

_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], data: object, source: str, prefix: str) -> _Model:
    """Return `data` as a section; what does not fit is an InputError whose key starts with `prefix`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # an unknown key first: a required one that is missing is often the same, misspelt
        problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        path = [str(part) for part in problem["loc"] if part not in _NO_KEYS]
        key = ".".join([prefix, *path] if prefix else path)
        more = len(error.errors()) - 1
        suffix = f" (and {more} more error{'s' if more > 1 else ''})" if more else ""
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model, data, path[:-1])
            expected = f"a known key{nearest(path[-1], known)}"
            raise InputError(source, key, "an unknown key", expected + suffix) from None
        if problem["type"] == "missing":
            raise InputError(source, key, "nothing", "a value, the key is required" + suffix) from None
        raise InputError(source, key, described(problem["input"]), in_words(problem) + suffix) from None


_NO_KEYS = {"[key]", "[file]", "[samples]"}  # that pydantic puts between those of the file


def in_words(problem: ErrorDetails) -> str:
    """Return what pydantic expected, as the files call it, with the nearest word that may stand there."""
    context = problem.get("ctx", {})
    match problem["type"]:
        case "enum" | "literal_error":
            known = re.findall("'([^']*)'", context["expected"])
            return f"{context['expected']}{nearest(str(problem['input']), known)}"
        case "too_short":
            return f"at least {context['min_length']} in it"
        case kind if kind in _KINDS:
            return _KINDS[kind]
    return problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")


_KINDS = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "a text",
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
}


def _known_keys(model: type[BaseModel], data: object, path: list[str]) -> list[str]:
    """Return the keys that the schema knows at `path`, walking sections and mappings of sections."""
    kind: Any = model
    for part in path:
        field = (
            kind.model_fields.get(part) if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        )
        if field is not None:
            kind = field.annotation
            if getattr(kind, "__origin__", None) is dict:
                kind = kind.__args__[1]
        # a mapping's own key (a zone's name) leads to the section below it
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def described(value: object) -> str:
    """Say what a value is, for the part of a message that tells what was found."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    kind = {str: "text", bool: "a switch"}.get(type(value))
    return f"{value!r} ({kind})" if kind else repr(value)
