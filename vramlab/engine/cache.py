"""The result cache of the specification (``caching``): answers by model and input key, for a time."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from typing import Any

from vramlab.config.schema import CachingConfig
from vramlab.engine.requests import Request

MISS = object()
"""What :meth:`ResultCache.get` gives where nothing is kept."""

_Key = tuple[str, str]


class ResultCache:
    """The last `result_cache_size` answers that were asked for, each kept for `cache_ttl` seconds.

    On the time that is handed in, which never decreases. All are kept equally long, so those that are kept
    longest end first: two orders, and nothing is ever searched. (``cachetools.TTLCache`` does the same, as a
    test holds, but took more time than all the rest of a simulated request.)

    What is kept is a copy, and so is what is given: an answer belongs to its caller, who may write into it,
    and the arrays that a session gives hold that session's memory, though it may have been evicted long ago.
    """

    def __init__(self, config: CachingConfig) -> None:
        self._size, self._ttl_s = config.result_cache_size, config.cache_ttl
        self._kept: OrderedDict[_Key, Any] = OrderedDict()  # least recently asked for first
        self._until_s: OrderedDict[_Key, float] = OrderedDict()  # the first to end first

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
        return deepcopy(answer) if answer is not None else None

    def put(self, request: Request, answer: Any, now_s: float) -> None:
        """Keep an answer, if the request says what it is an answer to."""
        if request.input_key is None:
            return
        key, kept, until_s = (request.model, request.input_key), self._kept, self._until_s
        while until_s:
            oldest = next(iter(until_s))
            if now_s < until_s[oldest]:
                break
            del until_s[oldest], kept[oldest]
        if key in kept:
            kept.move_to_end(key)
            until_s.move_to_end(key)
        elif len(kept) >= self._size:
            leaving, _ = kept.popitem(last=False)
            del until_s[leaving]
        kept[key] = deepcopy(answer) if answer is not None else None
        until_s[key] = now_s + self._ttl_s
