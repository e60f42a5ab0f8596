"""Bytes and seconds inside, MB (= MiB) and milliseconds at the edges: the conversions, once."""

from __future__ import annotations

import math
import re

MIB = 1024 * 1024


def mib_to_bytes(size_mb: float) -> int:
    """Return the bytes of `size_mb` MiB, rounded up so that a ledger holds no less than a model takes."""
    return math.ceil(size_mb * MIB)


def bytes_to_mib(size_bytes: float) -> float:
    """Return MiB of `size_bytes`, for tables that people read."""
    return size_bytes / MIB


def ms_to_s(milliseconds: float) -> float:
    """Return the seconds of `milliseconds`."""
    return milliseconds / 1000.0


_UNITS_MB = {"": 1.0, "mb": 1.0, "mib": 1.0, "gb": 1024.0, "gib": 1024.0}


def size_mb(text: str) -> float | None:
    """MB of ``8GB``, ``8192MB`` or ``8192``, as cards are sold: a GB is 1024 MB; None if it is no size."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    if found is None or found[2] not in _UNITS_MB or not float(found[1]):
        return None
    return float(found[1]) * _UNITS_MB[found[2]]
