"""Event loops: a coroutine run to its end from ordinary code (also in a notebook), and one turn of a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from types import coroutine
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


@coroutine
def one_turn() -> Generator[None, None, None]:
    """Let the event loop do all else that is ready; what `asyncio.sleep(0)` does, without its detour."""
    yield
