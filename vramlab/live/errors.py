"""What can go wrong with a model on a device: one exception hierarchy for files, loads and runs.

onnxruntime's exceptions share no base but ``Exception``, and say "out of memory" only in their text; whoever
drives sessions catches :class:`SessionError` and looks at its ``kind``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

from vramlab.config.errors import InputError

Kind = Literal["out of memory", "corrupt", "failed"]


class SessionError(Exception):
    """A load or a run failed for a reason that is neither memory nor the model's file."""

    kind: ClassVar[Kind] = "failed"


class OutOfMemory(SessionError):
    """The device had no room for the weights, or for the workspace of a run."""

    kind = "out of memory"


class CorruptModel(SessionError):
    """The file is no model that onnxruntime can load; trying again will not help."""

    kind = "corrupt"


class BadModelFile(CorruptModel, InputError):
    """The file was refused before onnxruntime saw it; names file, key, found and expected."""


# What a full arena (bfc_arena.cc), CUDA, cuBLAS and cuDNN say.
_OUT_OF_MEMORY = re.compile(
    r"failed to allocate memory|available memory of \d+ is smaller|out of memory|bad_alloc"
    r"|ALLOC_FAILED|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)
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
_DEVICE_TROUBLE = re.compile(r"CUDA|CUDNN|CUBLAS|execution ?provider", re.IGNORECASE)


@contextmanager
def translated(doing: str, *, loading: bool = False) -> Iterator[None]:
    """Turn whatever onnxruntime raises inside the block into a :class:`SessionError`.

    Parameters
    ----------
    doing : str
        Begins the message, such as ``"loading arcface_r100.onnx"``.
    loading : bool
        Whether a broken model is what most failures mean.

    Raises
    ------
    OutOfMemory, CorruptModel, SessionError
        With the original exception as the cause.
    """
    try:
        yield
    except SessionError:
        raise
    except Exception as error:
        raise translation(error, doing, loading) from error


def translation(error: Exception, doing: str, loading: bool = False) -> SessionError:
    """As :func:`translated` would raise it; for a path that is too short for a context manager."""
    text = f"{doing}: {' '.join(str(error).split())}"  # onnxruntime's have line breaks
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        return OutOfMemory(text)
    if loading and type(error).__name__ in _CORRUPT and not _DEVICE_TROUBLE.search(str(error)):
        return CorruptModel(text)
    return SessionError(text)
