"""What can go wrong with a model on a device: one exception hierarchy for files, loads and runs.

onnxruntime's exceptions share no base but ``Exception``, and say "out of memory" only in their text
(:mod:`vramlab.live.failure_texts`); whoever drives sessions catches :class:`SessionError` and looks at its
``kind``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from vramlab.config.errors import InputError
from vramlab.live.failure_texts import Kind, Meaning, meaning_of


class SessionError(Exception):
    """A load or a run failed for a reason that is neither memory nor the model's file.

    Attributes
    ----------
    lacking_bytes : int or None
        Where memory ran out: how much more there should have been, as far as it is known.
    """

    kind: ClassVar[Kind] = "failed"
    lacking_bytes: int | None = None


class OutOfMemory(SessionError):
    """The device had no room for the weights, or for the workspace of a run."""

    kind: ClassVar[Kind] = "out of memory"


class OwnLimit(OutOfMemory):
    """The session's arena may not grow further; the device may have room."""

    kind = "own limit"


class NonsenseSize(OutOfMemory):
    """More was asked for than the device has in all: a bug, and no demand."""

    kind = "nonsense size"


class DeviceLost(SessionError):
    """The device fails every call of this process from now on."""

    kind = "device lost"


class DeviceFailed(SessionError):
    """The run failed on the device, for no fault of its inputs; the CPU may do it."""

    kind = "device failed"


class CorruptModel(SessionError):
    """The file is no model that onnxruntime can load; trying again will not help."""

    kind = "corrupt"


class BadModelFile(CorruptModel, InputError):
    """The file was refused before onnxruntime saw it; names file, key, found and expected."""


_BY_KIND: dict[Kind, type[SessionError]] = {
    error.kind: error for error in (OutOfMemory, OwnLimit, NonsenseSize, DeviceLost, DeviceFailed)
}
RESTART = "the device is lost to this process: restart it"
# onnxruntime's exception classes for files that it cannot make a session of. `Fail` is what it raises for
# anything else, while loading nearly always a broken graph; so it counts as corrupt then, and not in a run.
_CORRUPT = {
    "InvalidProtobuf",
    "InvalidGraph",
    "NoModel",
    "NoSuchFile",
    "NotImplemented",
    "InvalidArgument",
    "Fail",
}


@contextmanager
def translated(doing: str, *, loading: bool = False, total_bytes: int | None = None) -> Iterator[None]:
    """Turn whatever onnxruntime raises inside the block into a :class:`SessionError`.

    Parameters
    ----------
    doing : str
        Begins the message, such as ``"loading arcface_r100.onnx"``.
    loading : bool
        Whether a broken model is what most failures mean.
    total_bytes : int, optional
        Memory of the device; by default that of the host. A larger size is nonsense.

    Raises
    ------
    SessionError
        Of the class that the text stands for, with the original exception as the cause.
    """
    try:
        yield
    except SessionError:
        raise
    except Exception as error:
        raise translation(error, doing, loading, total_bytes) from error


def translation(
    error: Exception, doing: str, loading: bool = False, total_bytes: int | None = None
) -> SessionError:
    """As :func:`translated` would raise it; for a path that is too short for a context manager."""
    said = str(error)
    text = f"{doing}: {' '.join(said.split())}"  # onnxruntime's have line breaks
    found = meaning_of(said, host_bytes() if total_bytes is None else total_bytes)
    if found is None and isinstance(error, MemoryError):
        found = Meaning("out of memory")
    if found is not None:
        if found.kind == "device lost":
            text = f"{text} ({RESTART})"
        failure = _BY_KIND[found.kind](text)
        failure.lacking_bytes = found.lacking_bytes
        return failure
    if loading and type(error).__name__ in _CORRUPT and "execution provider" not in said.lower():
        return CorruptModel(text)
    return SessionError(text)


def host_bytes() -> int | None:
    """Memory of this machine; None where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
