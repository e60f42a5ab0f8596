"""A run that found no room for its workspace: room is made for the next one, and it runs once more.

What is learned from it is told in :mod:`vramlab.engine.learning`.
"""

from __future__ import annotations

from vramlab.allocator.policies.own import PolicyError
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Cancelled, EffectFailed, Infer, Story, Target
from vramlab.engine.fallback import Fallback
from vramlab.engine.learning import WHY, Learning, read_available
from vramlab.engine.loading import Loading
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request


class Shortage:
    """Runs that find no memory.

    Parameters
    ----------
    desk, loading, fallback, learning
        Of one engine.
    """

    def __init__(self, desk: Desk, loading: Loading, fallback: Fallback, learning: Learning) -> None:
        self._desk, self._loading, self._fallback, self._learning = desk, loading, fallback, learning

    def run(self, number: int, request: Request, outcome: Outcome, failure: EffectFailed) -> Story:
        """Make room; run on the CPU, or once more.

        The model is pinned, and the stream is given back. The value is the answer.
        """
        desk, name = self._desk, request.model
        model = desk.allocator.models[name]
        now_s = yield from self._make_room(number, name, failure)
        if model.may_run_on_cpu:
            desk.withdraw(name, now_s)
            return (yield from self._fallback.run(number, request, now_s, str(failure)))
        try:
            now_s, outputs, failed = yield from self.run_again(request, now_s)
        except Cancelled as cancelled:
            desk.withdraw(name, cancelled.now_s)
            raise
        desk.withdraw(name, now_s)
        if failed is not None:
            return desk.notes.answer(number, now_s, Outcome.FAILED, None, str(failed))
        if desk.cache is not None:
            desk.cache.put(request, outputs, now_s)
        return desk.notes.answer(number, now_s, outcome, outputs, str(failure))

    def _make_room(self, number: int, name: str, failure: EffectFailed) -> Story:
        """Learn from the failure, and send models away for the next run. The value is the time."""
        desk, loading = self._desk, self._loading
        now_s, available = yield from read_available(failure.now_s)
        needed = self._learning.from_run(number, name, now_s, available, failure.lacking_bytes)
        try:
            victims = loading.relieve(needed, now_s)
        except PolicyError:
            desk.withdraw(name, now_s)
            raise
        for victim in victims:
            desk.notes.notice(now_s, number, "unload", victim, desk.allocator.models[victim].bytes, WHY)
            now_s = yield from loading.unload(victim, now_s, WHY)
        return now_s

    def run_again(self, request: Request, now_s: float, shrink: bool = False) -> Story:
        """Run on the GPU, as a request does; the model is pinned. The value is (now_s, outputs, failure)."""
        gpu = self._desk.gpu
        if not gpu.take():
            now_s, _ = yield gpu
        outputs, failed = None, None
        try:
            now_s, outputs = yield Infer(request.model, Target.GPU, request.items, shrink)
        except EffectFailed as failure:
            now_s, failed = failure.now_s, failure
        finally:
            gpu.release()
        return now_s, outputs, failed
