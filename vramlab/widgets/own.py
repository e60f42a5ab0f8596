"""Policies and orders of one's own by name, whether they were given as names or as what the names mean."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from vramlab.config.errors import InputError

Own = str | Callable[..., Any]
"""``package.module:name``, or the function or class itself."""


def name_of(thing: Own, what: str) -> str:
    """Name a policy or an order, so that a configuration can hold it.

    What was defined in a notebook is found there again each time it is used: after its cell has run once
    more, the new definition counts.

    Parameters
    ----------
    thing : str, function or class
        Its name, or itself.
    what : str
        ``policy`` or ``order``, for messages.

    Raises
    ------
    InputError
        For what cannot be found again by its name: a lambda, something defined inside a function, an object.
    """
    if isinstance(thing, str):
        return thing
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    expected = f"a function or class at the top of a module or notebook, or its name: package.module:{what}"
    if module is None or name is None:
        raise InputError(what, "", f"{type(thing).__name__} {thing!r}", expected)
    if getattr(importlib.import_module(module), name, None) is not thing:
        raise InputError(what, "", f"{name} of {module}, which its name does not lead to", expected)
    return f"{module}:{name}"


def label_of(name: str) -> str:
    """Label of a name in a list: what it is called first, where it is from after it."""
    module, colon, own = name.partition(":")
    if not colon:
        return name
    return f"{own} (this notebook)" if module == "__main__" else f"{own} ({module})"


def leaves_with_us(names: list[str]) -> list[str]:
    """Those of `names` that nobody else can find, as they were defined in this notebook."""
    return [name.partition(":")[2] for name in names if name.startswith("__main__:")]
