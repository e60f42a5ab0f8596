"""Whether the core runs compiled: what it decides is the same either way."""

from __future__ import annotations


def compiled() -> bool:
    """Return whether the core (allocator, engine, simulated driver) is machine code, as this file is then."""
    return not __file__.endswith((".py", ".pyc"))
