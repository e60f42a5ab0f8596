"""Bytes and seconds inside, MB (= MiB) and milliseconds at the edges: the conversions, once."""

from __future__ import annotations

import math

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
