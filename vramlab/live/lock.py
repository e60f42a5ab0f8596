"""The driver's lock."""

from __future__ import annotations

import threading
from typing import Any

_RLock: Any = type(threading.RLock())  # threading.RLock is a function


class Lock(_RLock):  # type: ignore[misc]
    """The driver's lock, which knows its owner: who comes from inside is told so, and waits not for ever."""

    def refuse_reentry(self) -> None:
        """Raise RuntimeError if this thread has the lock."""
        if self._is_owned():
            raise RuntimeError(
                "called from inside a decision (a policy, a predictor or an order): "
                "the runtime cannot be asked from there"
            )

    def locked(self) -> bool:
        """Whether anybody has it."""
        if self._is_owned():
            return True
        if self.acquire(blocking=False):
            self.release()
            return False
        return True
