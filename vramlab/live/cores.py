"""Which processor cores do what on the emulated device: some are the device, the others are the host.

A GPU computes while the host loads. Where its sessions run on the CPU that is so only if they have cores of
their own: one per stream, the last of those that this process may use. Loads and sessions on the CPU have the
rest. Where there are too few, or the system does not let a thread choose (all but Linux), every thread runs
wherever the system puts it; so does a run in its caller's own thread, or on the event loop's, at all times.
"""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

_log = logging.getLogger(__name__)


class Cores(NamedTuple):
    """Numbers of the cores of the device's runs, and of all else; None: whichever."""

    device: frozenset[int] | None = None
    host: frozenset[int] | None = None


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use, in order; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def shared_out(streams: int) -> Cores:
    """The cores of this process, shared out between a device of that many streams and the host."""
    cores = usable_cores()
    if len(cores) <= streams:
        return Cores()
    try:
        os.sched_setaffinity(0, cores)  # changes nothing, but sandboxes may forbid even that
    except OSError as error:
        _log.info("the emulated device gets no cores of its own: %s", error)
        return Cores()
    return Cores(frozenset(cores[-streams:]), frozenset(cores[:-streams]))


def keep_to(cores: frozenset[int] | None) -> None:
    """Let the calling thread, and those that it starts, run on these cores only."""
    if cores is None:
        return
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:  # cores can be taken away from a process; its threads run on then
        _log.warning("a thread does not keep to cores %s: %s", sorted(cores), error)
