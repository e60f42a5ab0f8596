"""Answers as their callers get them, and those that the result cache keeps, copied outside the driver's lock.

An answer belongs to its caller, who may write into it, and the arrays that a session gives hold that
session's memory, though it may have been evicted long ago. So what is kept is a copy, and so is what is given
of it.
"""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

import numpy as np

from vramlab.engine.cache import Kept
from vramlab.engine.requests import Answer

_LARGE_BYTES = 1 << 20  # beyond, copying would be seen on an event loop


class RequestRefused(RuntimeError):
    """A request was not served: no room for a model that may not run on the CPU, or a full queue."""


class RequestFailed(RuntimeError):
    """A request's model could not be loaded, or raised while it ran."""


def to_keep(outputs: Any, limit_bytes: int) -> Kept:
    """What the engine is given in place of outputs that it may keep."""
    size_bytes = size_of(outputs)
    return Kept(_copied(outputs) if size_bytes <= limit_bytes else outputs, size_bytes)


def owned(answer: Answer, limit_bytes: int) -> Answer:
    """An answer as its caller gets it, whose arrays nobody else has."""
    kept = answer.outputs
    if type(kept) is not Kept:
        return answer
    return answer._replace(outputs=_copied(kept.outputs) if kept.size_bytes <= limit_bytes else kept.outputs)


async def owned_soon(answer: Answer, limit_bytes: int) -> Answer:
    """As :func:`owned`, for an event loop: large ones are copied by another thread."""
    kept = answer.outputs
    if type(kept) is Kept and _LARGE_BYTES < kept.size_bytes <= limit_bytes:
        return await asyncio.to_thread(owned, answer, limit_bytes)
    return owned(answer, limit_bytes)


def size_of(outputs: Any) -> int:
    """Bytes of outputs or inputs, as far as they are arrays, texts, and lists and maps of these."""
    if isinstance(outputs, np.ndarray):
        size = int(outputs.nbytes)
        return size + sum(map(size_of, outputs.flat)) if outputs.dtype.hasobject else size
    if isinstance(outputs, list | tuple):
        return sum(map(size_of, outputs))
    if isinstance(outputs, dict):
        return sum(map(size_of, outputs.values())) + sum(map(size_of, outputs))
    return len(outputs) if isinstance(outputs, str | bytes) else 8


def _copied(outputs: Any) -> Any:
    if isinstance(outputs, np.ndarray):
        return outputs.copy()
    if type(outputs) is list:
        return [_copied(output) for output in outputs]
    return deepcopy(outputs)
