"""Whether the core runs compiled: the allocator decides the same either way."""

from __future__ import annotations


def compiled() -> bool:
    """Return whether the core (the allocator) is machine code, of which this file is a part."""
    return not __file__.endswith((".py", ".pyc"))
