"""The CPU as second best: a bounded queue of workers, and sessions that are made once and stay."""

from __future__ import annotations

from vramlab.config.schema import Inventory, of_models
from vramlab.config.units import ms_to_s
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Cancelled, EffectFailed, Infer, Load, Story, Target
from vramlab.engine.gates import Gate
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request


class Fallback:
    """What runs on the CPU.

    Parameters
    ----------
    desk : Desk
        Whose requests these are.
    inventory : dict of str to ModelSpec
        How long runs take.

    Attributes
    ----------
    work_s : float
        Runs that wait or are under way, seconds.
    """

    def __init__(self, desk: Desk, inventory: Inventory) -> None:
        self._desk, self._workers = desk, desk.cpu
        ratio = desk.config.fallback.cpu_performance_ratio
        self._item_s = of_models(inventory, lambda spec: spec.cpu_inference_s(ratio))
        self.work_s = 0.0
        self._load_timeout_s = ms_to_s(desk.config.serving.load_timeout_ms)
        self._sessions: dict[str, Gate | None] = {}  # gate while it loads, None once it is there

    @property
    def loading(self) -> bool:
        """Whether a session is being made."""
        return any(gate is not None for gate in self._sessions.values())

    def made(self, name: str) -> bool:
        """Whether the CPU session of a model is there."""
        return self._sessions.get(name, self) is None

    def run(self, number: int, request: Request, now_s: float, why: str) -> Story:
        """Queue for a CPU worker, make the CPU session if there is none yet, run. The value is the answer."""
        if self._workers.room <= 0:
            return self._desk.notes.answer(number, now_s, Outcome.REFUSED, None, "the fallback queue is full")
        work_s = self._item_s[request.model] * request.items
        self.work_s += work_s
        try:
            return (yield from self._run(number, request, now_s, why))
        finally:
            self.work_s -= work_s

    def _run(self, number: int, request: Request, now_s: float, why: str) -> Story:
        desk = self._desk
        if not self._workers.take():
            now_s, _ = yield self._workers
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
        # with fewer digits on the GPU, the two answers are not one
        if outcome is Outcome.FALLBACK and desk.cache is not None and not desk.config.serving.tf32:
            desk.cache.put(request, outputs, now_s)
        return desk.notes.answer(number, now_s, outcome, outputs, why)

    def _release(self, now_s: float) -> None:
        """Give a worker back; a request that waits for the GPU may want it."""
        self._workers.release()
        self._desk.decider.freed(now_s)

    def _session(self, name: str, now_s: float) -> Story:
        """Make sure that the CPU session is there; it is made once and stays. The value is the time."""
        sessions = self._sessions
        while name not in sessions or sessions[name] is not None:
            gate = sessions.get(name)
            if gate is not None:
                now_s, _ = yield gate
                continue
            gate = sessions[name] = Gate(self._desk.ready)
            try:
                now_s, loaded = yield Load(name, Target.CPU, None, self._load_timeout_s)
                self._desk.loaded(name, loaded)
                sessions[name] = None
            except (EffectFailed, Cancelled):
                del sessions[name]
                raise
            finally:
                gate.open()
        return now_s
