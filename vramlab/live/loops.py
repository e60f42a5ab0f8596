"""Running a coroutine to its end from ordinary code, also where an event loop runs already (a notebook)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def run_to_end(coroutine: Coroutine[Any, Any, _Value]) -> _Value:
    """Run `coroutine` on an event loop of its own and return its value; blocks.

    Where this thread has a running loop, the new one gets a thread of its own.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1, thread_name_prefix="vramlab-loop") as pool:
        return pool.submit(asyncio.run, coroutine).result()
