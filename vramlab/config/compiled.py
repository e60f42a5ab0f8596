"""Whether the core runs compiled: what it decides is the same either way."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def compiled() -> bool:
    """Return whether the core (allocator, engine, drivers) is machine code, as this file is then."""
    return not __file__.endswith((".py", ".pyc"))


def outdated() -> list[Path]:
    """Return the machine code that is older than its source: Python takes it all the same."""
    suffixes = tuple(EXTENSION_SUFFIXES)
    found = []
    for path in sorted(Path(__file__).parents[1].rglob("*")):
        source = path.with_name(path.name.partition(".")[0] + ".py")
        if path.name.endswith(suffixes) and (
            not source.exists() or path.stat().st_mtime < source.stat().st_mtime
        ):
            found.append(path)
    return found
