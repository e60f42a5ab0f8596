"""The memory of this process that sessions on the CPU take: what is private to it, and when it goes back.

glibc gives a large block back to the system at once if it was mapped by itself, and keeps it for later use if
it came from the heap. Which of the two a block is depends on a threshold that rises with each large block
that is freed. So a reload goes now into kept memory, now into fresh pages, and takes several times as long;
and freed models stay with the process. ``serving.heap`` fixes that, one way or the other.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from pathlib import Path
from typing import Literal

_LOG = logging.getLogger(__name__)
_STATUS = Path("/proc/self/status")
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # malloc.h
_MIB = 2**20
_SETTINGS = {
    "returned": {_MMAP_THRESHOLD: _MIB, _TRIM_THRESHOLD: _MIB, _TOP_PAD: 0, _MMAP_MAX: 65_536},
    "kept": {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * _MIB},
}

_in_force = "default"  # of the whole process, as the C library's settings are

Heap = Literal["returned", "kept", "default"]


def set_heap(heap: Heap) -> str:
    """Say what the C library does with freed memory, for the whole process, from now on.

    Parameters
    ----------
    heap : str
        ``returned``: blocks of 1 MiB and more go back to the system when they are freed, smaller ones when a
        model has been loaded or has left. ``kept``: nothing goes back. ``default``: the C library decides;
        nothing is changed.

    Returns
    -------
    str
        What is in force: `heap`; what was set before, for ``default``; ``default`` where the C library is not
        glibc.
    """
    global _in_force
    settings = _SETTINGS.get(heap)
    if settings is None:
        return _in_force  # as it was set before in this process, if it was
    mallopt = _c_function("mallopt")
    if mallopt is None or not all(mallopt(key, value) for key, value in settings.items()):
        _LOG.info("the C library takes no settings of its heap: it stays as it is")
        return "default"
    _in_force = heap
    return heap


def settle_heap() -> None:
    """Hand small freed blocks back after a load or an unload, where that is the setting."""
    if _in_force == "returned":
        trim_heap()


def trim_heap() -> None:
    """Hand freed heap memory back to the system; does nothing where the C library is not glibc."""
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)


def private_bytes() -> int | None:
    """Memory that this process shares with nobody, in bytes (RssAnon); None where the system does not say.

    Files that are mapped do not count: each session of one file with external weights maps it anew.
    """
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return None


def _c_function(name: str) -> ctypes._NamedFuncPointer | None:
    """A function of the C library that this process runs with, if it is Linux's and has it."""
    if sys.platform != "linux":
        return None
    found: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), name, None)
    return found
