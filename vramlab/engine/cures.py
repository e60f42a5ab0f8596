"""A run that failed on the device: each kind of failure has its own cure.

- *out of memory*: the device is full. Room is made for what was lacking (:mod:`vramlab.engine.shortage`).
- *own limit*: the arena of the model's session may not grow further, which is no other model's fault and is
  not mended by evicting one. Regions that smaller batches have left are given back, and the run is tried
  again: the first try shrinks the arena though it fails, the second has it to itself. If that does not do,
  the model is loaded anew with a larger limit, into room that is free. What all share is full as a device is.
- *nonsense size*: a bug of the model or of its inputs. The request fails, and nothing is learned.
- *device lost*: nothing is begun there any more; what may run on the CPU does, and all else is refused.
- *device failed*: what may run on the CPU does.

What the CPU would fail at just so (inputs that do not fit) fails the request.
"""

from __future__ import annotations

from vramlab.allocator.states import PRESENT
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Cancelled, EffectFailed, Failure, Story
from vramlab.engine.fallback import Fallback
from vramlab.engine.learning import Learning
from vramlab.engine.loading import Loading
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Ran, Request
from vramlab.engine.shortage import Shortage

WHY_LARGER = "larger limit"
_TRIES = 2  # with the arena shrunk after each
_RELOADS = 3  # of one request; each has a quarter more, or more


class Cures:
    """What becomes of runs that failed.

    Parameters
    ----------
    desk, loading, fallback, learning, shortage
        Of one engine.
    """

    def __init__(
        self, desk: Desk, loading: Loading, fallback: Fallback, learning: Learning, shortage: Shortage
    ) -> None:
        self._desk, self._loading, self._fallback = desk, loading, fallback
        self._learning, self._shortage = learning, shortage
        self._allocator = desk.allocator
        self._shares = desk.config.workspace == "shared"

    def run(
        self, number: int, request: Request, outcome: Outcome, failure: EffectFailed, reloads: int = 0
    ) -> Story:
        """Cure a failed run, if it can be.

        The model is pinned, and the stream is given back. The value is the answer.
        """
        kind = failure.kind
        if kind is Failure.OUT_OF_MEMORY:
            return (yield from self._shortage.run(number, request, outcome, failure))
        if kind is Failure.OWN_LIMIT:
            return (yield from self._shrink(number, request, outcome, failure, reloads))
        now_s = failure.now_s
        if kind is Failure.DEVICE_LOST:
            now_s = yield from self._give_device_up(number, request.model, failure)
        else:
            self._desk.withdraw(request.model, now_s)
        if kind is Failure.DEVICE_LOST or kind is Failure.DEVICE_FAILED:
            return (yield from self._elsewhere(number, request, failure, now_s))
        return self._desk.notes.answer(number, now_s, Outcome.FAILED, None, str(failure))

    def _elsewhere(self, number: int, request: Request, failure: EffectFailed, now_s: float) -> Story:
        """Run on the CPU if the model may; it is not pinned any more. The value is the answer."""
        if self._allocator.models[request.model].may_run_on_cpu:
            return (yield from self._fallback.run(number, request, now_s, str(failure)))
        return self._desk.notes.answer(number, now_s, Outcome.FAILED, None, str(failure))

    # -- its own limit -----------------------------------------------------------------------------------

    def _shrink(
        self, number: int, request: Request, outcome: Outcome, failure: EffectFailed, reloads: int
    ) -> Story:
        """Try again in a shrunk arena, and then in a larger one. The value is the answer."""
        desk, name = self._desk, request.model
        lacking, now_s = failure.lacking_bytes or 0, failure.now_s
        desk.notes.notice(now_s, number, "shrink", name, lacking, Failure.OWN_LIMIT.value)
        for _ in range(_TRIES):
            try:
                now_s, outputs, failed = yield from self._shortage.run_again(request, now_s, shrink=True)
            except Cancelled as cancelled:
                desk.withdraw(name, cancelled.now_s)
                raise
            if failed is None:
                desk.withdraw(name, now_s)
                return self._answered(number, request, outcome, outputs, now_s)
            if failed.kind is not Failure.OWN_LIMIT:
                return (yield from self.run(number, request, outcome, failed, reloads))
            failure = failed
        if self._shares:
            return (yield from self._shortage.run(number, request, outcome, failure))
        return (yield from self._reload(number, request, outcome, failure, reloads))

    def _reload(
        self, number: int, request: Request, outcome: Outcome, failure: EffectFailed, reloads: int
    ) -> Story:
        """Load the model with a larger limit, evicting nobody, and run it. The value is the answer."""
        desk, allocator, name = self._desk, self._allocator, request.model
        now_s = failure.now_s
        grown = self._learning.from_own_limit(number, name, now_s, failure.lacking_bytes)
        if not grown or reloads >= _RELOADS or allocator.models[name].pins > 1:
            desk.withdraw(name, now_s)
            return (yield from self._elsewhere(number, request, failure, now_s))
        allocator.withdraw(name)  # nobody is to run it before it has left
        allocator.unload(name, now_s)
        now_s = yield from self._loading.unload(name, now_s, WHY_LARGER)
        decision = allocator.reserve(name, now_s)
        if decision is not None:
            desk.notes.decision(number, now_s, decision)
            now_s, failed = yield from self._loading.load_for(
                number, decision, now_s, WHY_LARGER, pinned=False
            )
            if failed is None and allocator.models[name].state in PRESENT:
                allocator.use(allocator.models[name], now_s, loaded_for=True)
                return (yield from self._run(number, request, outcome, now_s, reloads + 1))
        if allocator.models[name].may_run_on_cpu:
            return (yield from self._elsewhere(number, request, failure, now_s))
        # As any request for a model of its new size: it has to be served by the GPU.
        now_s, outcome, why = yield from desk.decider.obtain(number, request, now_s)
        if outcome is Outcome.REFUSED or outcome is Outcome.FAILED:
            return desk.notes.answer(number, now_s, outcome, None, why)
        if isinstance(why, Ran):
            return self._answered(number, request, outcome, why.outputs, now_s)
        desk.gpu.release()
        return (yield from self._run(number, request, outcome, now_s, reloads + 1))

    def _run(self, number: int, request: Request, outcome: Outcome, now_s: float, reloads: int) -> Story:
        """Run a model that is pinned. The value is the answer."""
        try:
            now_s, outputs, failed = yield from self._shortage.run_again(request, now_s)
        except Cancelled as cancelled:
            self._desk.withdraw(request.model, cancelled.now_s)
            raise
        if failed is not None:
            return (yield from self.run(number, request, outcome, failed, reloads))
        self._desk.withdraw(request.model, now_s)
        return self._answered(number, request, outcome, outputs, now_s)

    def _answered(
        self, number: int, request: Request, outcome: Outcome, outputs: object, now_s: float
    ) -> object:
        if self._desk.cache is not None:
            self._desk.cache.put(request, outputs, now_s)
        return self._desk.notes.answer(number, now_s, outcome, outputs)

    # -- a lost device -----------------------------------------------------------------------------------

    def _give_device_up(self, number: int, name: str, failure: EffectFailed) -> Story:
        """Let nothing run there any more, and take all off it that nobody uses. The value is the time."""
        now_s = failure.now_s
        self._learning.device_lost(number, now_s, failure.message)
        self._allocator.withdraw(name)
        idle = [
            model.name
            for model in self._allocator.models.values()
            if self._allocator.unload(model.name, now_s) is not None
        ]
        for one in idle:
            now_s = yield from self._loading.unload(one, now_s, Failure.DEVICE_LOST.value)
        self._desk.changed(now_s)
        return now_s
