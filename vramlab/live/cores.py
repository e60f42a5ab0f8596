"""Which processor cores do what on the emulated device: some are the device, the others are the host.

A GPU computes while the host loads. Where its sessions run on the CPU that is so only if they have cores of
their own: one per stream, the last of those that this process may use. Loads and sessions on the CPU have the
rest. Where there are too few, or the system does not let a thread choose (all but Linux), every thread runs
wherever the system puts it; so does a run in its caller's own thread, or on the event loop's, at all times.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Cores(NamedTuple):
    """Numbers of the cores of the device's runs, and of all else; None: whichever."""

    device: frozenset[int] | None = None
    host: frozenset[int] | None = None


def shared_out(streams: int) -> Cores:
    """The cores of this process, shared out between a device of that many streams and the host."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) <= streams:
        return Cores()
    return Cores(frozenset(cores[-streams:]), frozenset(cores[:-streams]))


def keep_to(cores: frozenset[int] | None) -> None:
    """Let the calling thread, and those that it starts, run on these cores only."""
    if cores is not None:
        os.sched_setaffinity(0, cores)
