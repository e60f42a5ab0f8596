"""The CPU as second best: a bounded queue of workers, and sessions that are made once and stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramlab.engine.effects import Cancelled, EffectFailed, Infer, Load, Story, Target, Wait
from vramlab.engine.gates import Gate
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request

if TYPE_CHECKING:
    from vramlab.engine.serving import Engine


class Fallback:
    """What runs on the CPU.

    Parameters
    ----------
    engine : Engine
        Whose requests these are.
    queue_size : int
        How many may wait for a worker; those beyond are refused.
    load_timeout_s : float
        A load that takes longer has failed.
    item_s : dict of str to float
        How long an item of each model takes on the CPU, as far as the inventory knows, seconds.

    Attributes
    ----------
    work_s : float
        Runs that wait or are under way, seconds.
    """

    def __init__(
        self, engine: Engine, queue_size: int, load_timeout_s: float, item_s: dict[str, float]
    ) -> None:
        self._item_s, self.work_s = item_s, 0.0
        self._engine = engine
        self._workers = engine.cpu
        self._wait_worker = Wait(engine.cpu)
        self._queue_size = queue_size
        self._load_timeout_s = load_timeout_s
        self._sessions: dict[str, Gate | None] = {}  # gate while it loads, None once it is there

    @property
    def loading(self) -> bool:
        """Whether a session is being made."""
        return any(gate is not None for gate in self._sessions.values())

    @property
    def room(self) -> int:
        """How many more may come, to run or to wait for a worker."""
        return self._workers.free + self._queue_size - len(self._workers.waiters)

    def made(self, name: str) -> bool:
        """Whether the CPU session of a model is there."""
        return self._sessions.get(name, self) is None

    def run(self, number: int, request: Request, now_s: float, why: str) -> Story:
        """Queue for a CPU worker, make the CPU session if there is none yet, run. The value is the answer."""
        engine, workers = self._engine, self._workers
        if not workers.free and len(workers.waiters) >= self._queue_size:
            return engine.answer(number, now_s, Outcome.REFUSED, None, "the fallback queue is full")
        work_s = self._item_s[request.model] * request.items
        self.work_s += work_s
        try:
            return (yield from self._run(number, request, now_s, why))
        finally:
            self.work_s -= work_s

    def _run(self, number: int, request: Request, now_s: float, why: str) -> Story:
        engine, workers = self._engine, self._workers
        if workers.free:
            workers.free -= 1
        else:
            now_s, _ = yield self._wait_worker
        outcome, outputs = Outcome.FALLBACK, None
        try:
            now_s = yield from self._session(request.model, now_s)
            now_s, outputs = yield Infer(request.model, Target.CPU, request.items)
        except EffectFailed as failure:
            now_s, outcome, why = failure.now_s, Outcome.FAILED, str(failure)
        except Cancelled as cancelled:
            self._release(cancelled.now_s)
            raise
        self._release(now_s)
        if outcome is Outcome.FALLBACK and engine.cache is not None:
            engine.cache.put(request, outputs, now_s)
        return engine.answer(number, now_s, outcome, outputs, why)

    def _release(self, now_s: float) -> None:
        """Give a worker back; who waits for the GPU may want it."""
        self._workers.release()
        if self._engine.scheduler is not None:
            self._engine.scheduler.changed(now_s)

    def _session(self, name: str, now_s: float) -> Story:
        """Make sure that the CPU session is there; it is made once and stays. The value is the time."""
        sessions = self._sessions
        while name not in sessions or sessions[name] is not None:
            gate = sessions.get(name)
            if gate is not None:
                now_s, _ = yield Wait(gate)
                continue
            gate = sessions[name] = Gate(self._engine.ready)
            try:
                now_s, loaded = yield Load(name, Target.CPU, None, self._load_timeout_s)
                self._engine.note_loaded(name, loaded)
                sessions[name] = None
            except (EffectFailed, Cancelled):
                del sessions[name]
                raise
            finally:
                gate.open()
        return now_s
