"""The result cache of the specification (``caching``): answers by model and input key, for a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from vramlab.config.schema import CachingConfig
from vramlab.config.units import mib_to_bytes
from vramlab.engine.requests import Request

MISS: Final = object()
"""What :meth:`ResultCache.get` gives where nothing is kept."""


@dataclass(slots=True, frozen=True, eq=False)
class Kept:
    """An answer as a driver hands it in to be kept, and gets it back: nobody else writes into it.

    Copies are the driver's business, outside its lock. One that is too large to be kept is none.
    """

    outputs: Any
    size_bytes: int


class _Entry:
    """A kept answer among the others, in two rings: in the order of asking, and in that of ending."""

    __slots__ = (
        "answer",
        "asked_after",
        "asked_before",
        "ends_after",
        "ends_before",
        "key",
        "model",
        "until_s",
    )

    def __init__(self, model: str, key: str, answer: Any, until_s: float) -> None:
        self.model, self.key, self.answer, self.until_s = model, key, answer, until_s
        self.asked_before = self.asked_after = self.ends_before = self.ends_after = self


class ResultCache:
    """The last `result_cache_size` answers that were asked for, each kept for `cache_ttl` seconds.

    On the time that is handed in, which never decreases. All are kept equally long, so those that are kept
    longest end first: two orders, and nothing is ever searched. (``cachetools.TTLCache`` does the same, as a
    test holds, but took more time than all the rest of a simulated request.)

    Together they have at most `result_cache_mb`: as many leave as must, the longest not asked for first.
    Sizes are what a live driver says (:class:`Kept`) or its journal (a number of bytes); a simulation's
    answers have none.
    """

    def __init__(self, config: CachingConfig) -> None:
        self._size, self._ttl_s = config.result_cache_size, config.cache_ttl
        self.limit_bytes = mib_to_bytes(config.result_cache_mb)
        self.held_bytes = 0
        self._count = 0
        self._kept: dict[str, dict[str, _Entry]] = {}  # by model and input key
        self._ring = _Entry("", "", None, math.inf)  # nobody's: both rings begin and end here

    def __len__(self) -> int:
        return self._count

    def get(self, request: Request, now_s: float) -> Any:
        """The kept answer, or :data:`MISS`."""
        key = request.input_key
        if key is None:
            return MISS
        of_model = self._kept.get(request.model)
        entry = None if of_model is None else of_model.get(key)
        if entry is None or now_s >= entry.until_s:
            return MISS
        self._asked_last(entry)
        return entry.answer

    def put(self, request: Request, answer: Any, now_s: float) -> None:
        """Keep an answer, if the request says what it is an answer to."""
        key, ring = request.input_key, self._ring
        if key is None:
            return
        while ring.ends_after.until_s <= now_s:
            self._drop(ring.ends_after)
        size_bytes = _size_of(answer)
        if size_bytes > self.limit_bytes:
            return
        of_model = self._kept.get(request.model)
        if of_model is None:
            of_model = self._kept[request.model] = {}
        old = of_model.get(key)
        if old is not None:
            self._drop(old)
        elif self._count >= self._size:
            self._drop(ring.asked_after)
        entry = of_model[key] = _Entry(request.model, key, answer, now_s + self._ttl_s)
        self._asked_last(entry)
        last = ring.ends_before
        entry.ends_before, entry.ends_after = last, ring
        last.ends_after = ring.ends_before = entry
        self._count += 1
        self.held_bytes += size_bytes
        while self.held_bytes > self.limit_bytes:
            self._drop(ring.asked_after)

    def forget(self, model: str) -> None:
        """Drop all answers of a model: another file has its name now."""
        for entry in list(self._kept.get(model, {}).values()):
            self._drop(entry)

    def _asked_last(self, entry: _Entry) -> None:
        """Put an entry last in the order of asking: out of its place, which a new one has by itself."""
        before, after, ring = entry.asked_before, entry.asked_after, self._ring
        before.asked_after, after.asked_before = after, before
        last = ring.asked_before
        entry.asked_before, entry.asked_after = last, ring
        last.asked_after = ring.asked_before = entry

    def _drop(self, entry: _Entry) -> None:
        before, after = entry.asked_before, entry.asked_after
        before.asked_after, after.asked_before = after, before
        before, after = entry.ends_before, entry.ends_after
        before.ends_after, after.ends_before = after, before
        del self._kept[entry.model][entry.key]
        self._count -= 1
        self.held_bytes -= _size_of(entry.answer)


def _size_of(answer: Any) -> int:
    if answer is None:
        return 0
    if isinstance(answer, Kept):
        return answer.size_bytes
    return answer if isinstance(answer, int) else 0
