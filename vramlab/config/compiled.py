"""Whether the core runs compiled: allocator, engine and simulated driver decide the same either way."""

from __future__ import annotations


def compiled() -> bool:
    """Return whether the core is machine code, of which this file is a part."""
    return not __file__.endswith((".py", ".pyc"))
