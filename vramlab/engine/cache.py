"""The result cache of the specification (``caching``): answers by model and input key, for a time."""

from __future__ import annotations

from typing import Any

from cachetools import TTLCache

from vramlab.config.schema import CachingConfig
from vramlab.engine.requests import Request

MISS = object()
"""What :meth:`ResultCache.get` gives where nothing is kept."""


class ResultCache:
    """The last `result_cache_size` answers, each kept for `cache_ttl` seconds.

    On the time that is handed in, so that it works the same on simulated time.
    """

    def __init__(self, config: CachingConfig) -> None:
        self._now_s = 0.0
        self._kept: TTLCache[tuple[str, str], Any] = TTLCache(
            config.result_cache_size, config.cache_ttl, timer=lambda: self._now_s
        )

    def get(self, request: Request, now_s: float) -> Any:
        """The kept answer, or :data:`MISS`."""
        if request.input_key is None:
            return MISS
        self._now_s = now_s
        return self._kept.get((request.model, request.input_key), MISS)

    def put(self, request: Request, answer: Any, now_s: float) -> None:
        """Keep an answer, if the request says what it is an answer to."""
        if request.input_key is not None:
            self._now_s = now_s
            self._kept[request.model, request.input_key] = answer
