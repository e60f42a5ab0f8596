"""Idle time-outs (``rules.keep_alive_s``): a model that nobody has used for so long leaves, room or no room.

As servers have it: Ollama's ``keep_alive`` (300 s, from the end of the last run; fb30760,
``server/sched.go``), llama-swap's ``ttl`` (0bdb372), vramd's idle unload (120 s, looked at every 15 s;
d70128c, ``idle_evictor.py``), LM Studio's idle TTL (60 min, its documentation), all read in August 2026.
Time runs from the end of the last run, or of the load. Models that are pinned, in use, or waited for stay.

The story sleeps until the first time-out that can end; a model that becomes idle with a shorter one wakes it.
"""

from __future__ import annotations

import math

from vramlab.allocator.facts import Model
from vramlab.allocator.states import RESIDENT
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Story, Wait
from vramlab.engine.gates import Gate
from vramlab.engine.loading import Loading

NAME = "keep_alive"
_SOON_S = 1e-6  # a sleep that is rounded down must not be slept again and again


class KeepAlive:
    """The time-outs of one engine.

    Parameters
    ----------
    desk, loading
        Of the engine whose models leave.
    """

    def __init__(self, desk: Desk, loading: Loading) -> None:
        rules = desk.config.rules
        self._allocator, self._loading = desk.allocator, loading
        self._every_s = rules.keep_alive_every_s
        self._models = [model for model in desk.allocator.models.values() if not model.critical]
        self._idle_since: dict[Model, float] = {}
        self._gate = Gate(desk.ready)
        self._next_s = math.inf  # when the story looks again

    def idle(self, model: Model, now_s: float) -> None:
        """A run has ended, and nobody else runs the model."""
        self._idle_since[model] = now_s
        if self._on_grid(now_s + model.keep_alive_s, 0.0) < self._next_s:
            self._gate.open()

    def story(self, now_s: float) -> Story:
        """Send away who has been idle for too long, and sleep until that may be so; never ends by itself."""
        start_s = now_s
        while True:
            now_s = yield from self._send_away(now_s)
            ends_s = (self._ends_s(model) for model in self._models if model.state is RESIDENT)
            first_s = min((end_s for end_s in ends_s if end_s > now_s + _SOON_S), default=math.inf)
            self._next_s = self._on_grid(first_s, start_s)
            timeout_s = None if math.isinf(self._next_s) else max(self._next_s - now_s, 0.0)
            now_s, _ = yield Wait(self._gate, timeout_s)

    def _ends_s(self, model: Model) -> float:
        return max(self._idle_since.get(model, -math.inf), model.loaded_at_s) + model.keep_alive_s

    def _on_grid(self, time_s: float, start_s: float) -> float:
        if not self._every_s or math.isinf(time_s):
            return time_s
        return start_s + math.ceil((time_s - start_s) / self._every_s) * self._every_s

    def _send_away(self, now_s: float) -> Story:
        for model in self._models:
            if model.state is RESIDENT and model.wanted is None and self._ends_s(model) <= now_s + _SOON_S:
                self._allocator.unload(model.name, now_s)
                why = f"idle for {model.keep_alive_s:g} s"
                now_s = yield from self._loading.send_away(model.name, now_s, "keep_alive", why)
        return now_s


def keep_alive_of(desk: Desk, loading: Loading) -> KeepAlive | None:
    """The time-outs of an engine; None where its settings have none."""
    rules = desk.config.rules
    timeouts = (rules.keep_alive_s, *rules.keep_alive_by_model.values())
    return KeepAlive(desk, loading) if any(timeout_s is not None for timeout_s in timeouts) else None
