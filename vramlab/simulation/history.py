"""What has run so far on a machine, as far as it tells how long the next effect takes.

Asked alike of the effects of a journal and of those of a simulation (:mod:`vramlab.simulation.seen`,
:mod:`vramlab.simulation.machine`), so that what was measured in one situation is drawn in the same.
"""

from __future__ import annotations

from typing import Any

from vramlab.engine.effects import Infer, Load, Target

AT_ONCE, QUEUED, AFTER_LOAD = "run at once", "run from a queue", "run after a load"
"""How a run begins: as its request comes, as another effect ends, or as its model's load does."""


class History:
    """Effects under way, in the order in which they began, and when which session ran last."""

    def __init__(self) -> None:
        self.running: list[Any] = []
        self._ended: Any = None  # the last effect that did
        self._last_s: dict[tuple[str, Target], float] = {}  # when a session ran last, or was made
        self._last_run_s: dict[Target, float] = {}  # of any session

    def begin(self, effect: Any) -> None:
        """Note that an effect begins, as the last of those that run."""
        self.running.append(effect)

    def end(self, place: int, now_s: float) -> Any:
        """Note that the effect at that place has ended; those behind it move up. Returns it."""
        effect = self._ended = self.running.pop(place)
        kind = type(effect)
        if kind is Infer or kind is Load:  # a load ends with its session having run, or about to
            self._last_s[effect.model, effect.target] = now_s
        if kind is Infer:
            self._last_run_s[effect.target] = now_s
        return effect

    def is_first(self, load: Load) -> bool:
        """Whether there has been no session of the model on that target yet."""
        return (load.model, load.target) not in self._last_s

    def pause_s(self, run: Infer, now_s: float) -> float | None:
        """Return for how long the session has not run; None if it never has."""
        last_s = self._last_s.get((run.model, run.target))
        return None if last_s is None else now_s - last_s

    def silence_s(self, target: Target, now_s: float) -> float | None:
        """Return for how long nothing has run there; None if nothing ever has."""
        for effect in self.running:
            if type(effect) is Infer and effect.target is target:
                return 0.0
        last_s = self._last_run_s.get(target)
        return None if last_s is None else now_s - last_s

    def how(self, reporting: bool) -> str:
        """Return how a run begins now; `reporting`: the end of an effect lets it."""
        if not reporting:
            return AT_ONCE
        return AFTER_LOAD if type(self._ended) is Load else QUEUED
