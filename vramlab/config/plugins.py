"""What other installed packages add: policies, predictors and importers, by entry point.

A package says in its ``pyproject.toml``

.. code-block:: toml

    [project.entry-points."vramlab.policies"]
    costly_stay = "its_package.policies:costly_stay"

and the name works wherever a name of ours does. Listing names imports nothing of the package; it is imported
when its name is asked for. No package may take a name of ours: what is called ``lru`` in a result is ours.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Literal

from vramlab.config.errors import InputError

Group = Literal["vramlab.orders", "vramlab.policies", "vramlab.predictors", "vramlab.importers"]


@cache
def _installed(group: Group) -> EntryPoints:
    """Return the entry points of all installed packages; it takes milliseconds, so once is enough."""
    return entry_points(group=group)


def plugin_names(group: Group, ours: Collection[str] = ()) -> list[str]:
    """Return the names that packages add to `group`, sorted, without `ours`; import none of them."""
    return sorted({entry.name for entry in _installed(group)} - set(ours))


def load_plugin(group: Group, name: str, ours: Collection[str] = ()) -> Any | None:
    """Return what an installed package offers under a name; None if none does.

    Parameters
    ----------
    group : str
        The kind of thing.
    name : str
        As in the package's entry point.
    ours : collection of str
        Names that vramlab has itself.

    Raises
    ------
    InputError
        Naming the packages, if two of them use the name, one uses a name of ours, or it cannot be imported.
    """
    found = _installed(group).select(name=name)
    # an editable installation can be seen twice, once for its folder and once for its record
    offers = {(_package(entry), entry.value): entry for entry in found}
    if not offers:
        return None
    packages = " and ".join(sorted({package for package, _ in offers}))
    if name in ours:
        expected = "a name that vramlab does not use: rename it there, or uninstall that package"
        raise InputError(group, name, f"an entry point of {packages}", expected)
    if len(offers) > 1:
        what = ", ".join(sorted(f"{package} ({value})" for package, value in offers))
        expected = "one; name the one you want as package.module:name, or uninstall the other package"
        raise InputError(group, name, f"{len(offers)} entry points, of {what}", expected)
    (entry,) = offers.values()
    try:
        return entry.load()
    except Exception as error:  # whatever an import of somebody else's package may raise
        found_text = f"{entry.value} of the package {packages}, which fails: {type(error).__name__}: {error}"
        raise InputError(group, name, found_text, "a package that can be imported") from error


def imported(name: str, source: str, key: str) -> Any:
    """Import what ``package.module:name`` names.

    Parameters
    ----------
    source, key : str
        Where the name stands, for the message.

    Raises
    ------
    InputError
        If the module cannot be imported, or lacks the name.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # TypeError: a relative name, as in `..:x`
        expected = "a module that can be imported (is its folder in PYTHONPATH?)"
        raise InputError(source, key, f"{name!r}, {error}", expected) from error
    except Exception as error:  # whatever somebody else's module may raise
        found = f"{name!r}, {type(error).__name__}: {error}"
        raise InputError(source, key, found, "a module that can be imported") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        expected = f"a function or class of {module_name}"
        raise InputError(source, key, f"{name!r}, {error}", expected) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown package"
