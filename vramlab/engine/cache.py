"""The result cache of the specification (``caching``): answers by model and input key, for a time."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from vramlab.config.schema import CachingConfig
from vramlab.config.units import mib_to_bytes
from vramlab.engine.requests import Request

MISS: Final = object()
"""What :meth:`ResultCache.get` gives where nothing is kept."""

_Key = tuple[str, str]


@dataclass(slots=True, frozen=True, eq=False)
class Kept:
    """An answer as a driver hands it in to be kept, and gets it back: nobody else writes into it.

    Copies are the driver's business, outside its lock. One that is too large to be kept is none.
    """

    outputs: Any
    size_bytes: int


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
        self._kept: OrderedDict[_Key, Any] = OrderedDict()  # least recently asked for first
        self._until_s: OrderedDict[_Key, float] = OrderedDict()  # the first to end first
        self._first_end_s = math.inf  # none ends before

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, request: Request, now_s: float) -> Any:
        """The kept answer, or :data:`MISS`."""
        if request.input_key is None:
            return MISS
        key = request.model, request.input_key
        answer = self._kept.get(key, MISS)
        if answer is MISS or now_s >= self._until_s[key]:
            return MISS
        self._kept.move_to_end(key)
        return answer

    def put(self, request: Request, answer: Any, now_s: float) -> None:
        """Keep an answer, if the request says what it is an answer to."""
        if request.input_key is None:
            return
        key, kept = (request.model, request.input_key), self._kept
        if now_s >= self._first_end_s:
            self._drop_ended(now_s)
        if answer is not None and _size_of(answer) > self.limit_bytes:
            return
        if key in kept:
            kept.move_to_end(key)
            self._until_s.move_to_end(key)
            self.held_bytes -= _size_of(kept[key])
        elif len(kept) >= self._size:
            self._drop_first()
        kept[key] = answer
        until_s = self._until_s[key] = now_s + self._ttl_s
        if until_s < self._first_end_s:  # it is the only one
            self._first_end_s = until_s
        if answer is not None:
            self.held_bytes += _size_of(answer)
            while self.held_bytes > self.limit_bytes:
                self._drop_first()

    def forget(self, model: str) -> None:
        """Drop all answers of a model: another file has its name now."""
        for key in [key for key in self._kept if key[0] == model]:
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        del self._until_s[key]
        self.held_bytes -= _size_of(self._kept.pop(key))

    def _drop_first(self) -> None:
        """Drop what has not been asked for longest."""
        key, answer = self._kept.popitem(last=False)
        del self._until_s[key]
        if answer is not None:
            self.held_bytes -= _size_of(answer)

    def _drop_ended(self, now_s: float) -> None:
        """Drop what has been kept long enough."""
        until_s = self._until_s
        while until_s and until_s[key := next(iter(until_s))] <= now_s:
            self._drop(key)
        self._first_end_s = next(iter(until_s.values()), math.inf)


def _size_of(answer: Any) -> int:
    if isinstance(answer, Kept):
        return answer.size_bytes
    return answer if isinstance(answer, int) else 0
