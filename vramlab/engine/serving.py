"""The story of one request, from arrival to answer.

Everything here is policy and bookkeeping; time and the outcomes of effects come from a driver
(:mod:`vramlab.engine.effects`). Read :meth:`Serving.serve` from top to bottom: it is what happens to a
request. What it may set in motion is told elsewhere: loads and unloads in :mod:`.loading`, the CPU as second
best in :mod:`.fallback`, runs that fail in :mod:`.cures`. Who is served next is decided late, in
view of all who wait (:mod:`.scheduler`), or on arrival (:mod:`.arrival`).
"""

from __future__ import annotations

from typing import Any

from vramlab.allocator.states import IN_USE, RESIDENT
from vramlab.engine.cache import MISS
from vramlab.engine.cures import Cures
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Cancelled, EffectFailed, Infer, Result, Story, Target
from vramlab.engine.fallback import Fallback
from vramlab.engine.keep_alive import KeepAlive
from vramlab.engine.limits import Limits
from vramlab.engine.outcomes import CACHE_HIT, FAILED, FALLBACK, HIT, REFUSED
from vramlab.engine.preloading import Preloading
from vramlab.engine.requests import Request


class Serving:
    """Serves the requests of one engine.

    Parameters
    ----------
    desk, fallback, cures
        Of the engine.
    preloading : Preloading, optional
        Watches what is asked for.
    keep_alive : KeepAlive, optional
        Is told which models become idle.
    limits : Limits, optional
        Say who is turned away.
    """

    def __init__(
        self,
        desk: Desk,
        fallback: Fallback,
        cures: Cures,
        preloading: Preloading | None,
        keep_alive: KeepAlive | None,
        limits: Limits | None,
    ) -> None:
        self._desk, self._notes, self._allocator = desk, desk.notes, desk.allocator
        self._gpu, self._room, self._cache = desk.gpu, desk.room, desk.cache
        self._decider, self._pending = desk.decider, desk.decider.pending
        self._fallback, self._cures, self._preloading = fallback, cures, preloading
        self._keep_alive, self._limits = keep_alive, limits
        self._run_one = {name: Infer(name, Target.GPU, 1) for name in desk.allocator.models}

    def serve(self, number: int, request: Request, now_s: float) -> Story:
        """Serve one request: result cache, allocation, waiting, running, release.

        Its number is that of the records, and `now_s` the time of arrival in seconds. The value of the story
        is an :class:`~vramlab.engine.requests.Answer`.
        """
        name, notes = request.model, self._notes
        cache = None if request.input_key is None else self._cache
        if cache is not None:
            kept = cache.get(request, now_s)
            if kept is not MISS:
                return notes.answer(number, now_s, CACHE_HIT, kept)
        if self._preloading is not None:
            self._preloading.asked(name, now_s)
        gpu, allocator = self._gpu, self._allocator
        model = allocator.models.get(name) or allocator.model(name)
        if self._limits is not None and (full := self._limits.refusal(model)):
            return notes.answer(number, now_s, REFUSED, None, full)
        state = model.state
        outcome = HIT
        why: Any = ""  # a text, or what a run with others has given
        if (
            (state is IN_USE or state is RESIDENT)
            and gpu.free
            and (not self._pending or self._decider.may_pass())
        ):
            gpu.free -= 1
            decision = allocator.request(name, now_s, request.priority)
            if notes.journal is not None:
                notes.journal.put(now_s, number, decision, None)
        else:
            now_s, outcome, why = yield from self._decider.obtain(number, request, now_s)
            if outcome is FALLBACK:
                return (yield from self._fallback.run(number, request, now_s, why))
            if outcome is REFUSED or outcome is FAILED:
                return notes.answer(number, now_s, outcome, None, why)
            if why:  # it has run, joined with others
                if cache is not None:
                    cache.put(request, why.outputs, now_s)
                return notes.answer(number, now_s, outcome, why.outputs)
        failed: EffectFailed | None = None
        run = self._run_one[name] if request.items == 1 else Infer(name, Target.GPU, request.items)
        try:
            ended: Result = yield run
            now_s, outputs = ended
        except EffectFailed as failure:
            failed = failure
        except Cancelled as cancelled:
            gpu.release()
            self._desk.withdraw(name, cancelled.now_s)
            raise
        gpu.release()
        if failed is not None:
            self._decider.freed(failed.now_s)
            return (yield from self._cures.run(number, request, outcome, failed))
        idle = model.unpin()
        if idle and self._keep_alive is not None:
            self._keep_alive.idle(model, now_s)
        if idle and self._room.waiters:
            self._room.decide(now_s)
        if self._pending:
            self._decider.run_ended(model, now_s)
        if cache is not None:
            cache.put(request, outputs, now_s)
        yield notes.answer(number, now_s, outcome, outputs, why)
