"""Gates: what tasks wait for. Plain data, no threads.

Opening a gate resumes nobody by itself: it moves the tasks that wait into ``ready``, the engine's one queue
of tasks to be resumed, which the driver empties in order after each step. So the order in which tasks go on
is the engine's, and the same under every driver.
"""

from __future__ import annotations

from collections import deque
from collections.abc import MutableSequence
from typing import Any

Ready = deque[tuple[Any, Any]]
"""Tasks to be resumed, each with the value it gets; what a task is, is the driver's business."""


class Gate:
    """Something that tasks wait for; `open` lets all through that wait at that moment."""

    __slots__ = ("_ready", "waiters")

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self.waiters: MutableSequence[Any] = []  # a deque takes ten times as much, and thousands may wait

    def open(self, value: object = None) -> None:
        """Let everybody through who waits, in the order of their coming."""
        for task in self.waiters:
            self._ready.append((task, value))
        self.waiters.clear()
