"""The story of one request, from arrival to answer, and of what it sets in motion.

Everything here is policy and bookkeeping; time and the outcomes of effects come from a driver
(:mod:`vramlab.engine.effects`). Read :meth:`Engine.serve` from top to bottom: it is what happens to a
request.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from vramlab.allocator import Allocator, Decision, Kind
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.config.units import ms_to_s
from vramlab.engine import monitor
from vramlab.engine.cache import MISS, ResultCache
from vramlab.engine.effects import TIMED_OUT, EffectFailed, Infer, Load, Story, Target, Unload, Wait
from vramlab.engine.effects import Spawn as SpawnEffect
from vramlab.engine.gates import Gate, Ready, Slots
from vramlab.engine.journal import Journal
from vramlab.engine.records import EvictionRecord, LoadRecord, Outcome, Recorder
from vramlab.engine.waiting import Line

GPU, CPU = Target.GPU, Target.CPU
ENDLESS = frozenset({monitor.NAME})
"""Stories that go on for ever: a run is over when nothing else is under way."""


class Answer(NamedTuple):
    """What became of a request: how it ended, the outputs if it ran, and why if it did not."""

    outcome: Outcome
    outputs: Any = None
    why: str = ""


class Engine:
    """The serving engine: the allocator, the queues, and the stories.

    Parameters
    ----------
    config : VramConfig
        All settings.
    inventory : dict of str to ModelSpec
        All models that may be asked for.
    recorder : Recorder
        Where outcomes, loads and evictions are written down.
    journal : Journal, optional
        Where decisions are written down.
    """

    def __init__(
        self, config: VramConfig, inventory: Inventory, recorder: Recorder, journal: Journal | None = None
    ) -> None:
        serving = config.serving
        self.config = config
        self.allocator = Allocator(config, inventory)
        self.recorder = recorder
        self._zones = list(self.allocator.zones.values())
        self.journal = journal
        self.ready: Ready = deque()
        self.gpu = Slots(self.ready, serving.gpu_streams)
        self.channel = Slots(self.ready, serving.load_channels)
        self.cpu = Slots(self.ready, serving.cpu_workers)
        self.cache = ResultCache(config.caching) if config.caching.enable_result_caching else None
        self._fallback_queue = config.fallback.fallback_queue_size
        self._answer_while_loading = serving.on_miss == "cpu_while_loading"
        self._release_timeout_s = ms_to_s(serving.release_timeout_ms)
        self._loads: dict[str, Gate] = {}  # of models being loaded: opens with "" or the failure
        self._claims: dict[str, Gate] = {}  # of loads that wait for their victims' bytes
        self._cpu_sessions: dict[str, Gate | None] = {}  # gate while it loads, None once it is there
        max_skips = serving.max_skips if serving.queue == "affinity" else 0
        self._line = Line(self.allocator, self.ready, self._note_decision, max_skips)
        self._waiting = self._line.queue  # looked at on every request
        self.memory_taken = Gate(self.ready)  # opens when models have taken or given back memory
        self._run_one = {name: Infer(name, GPU, 1) for name in inventory}
        self._wait_gpu, self._wait_cpu = Wait(self.gpu), Wait(self.cpu)
        self._wait_channel = Wait(self.channel)

    # -- a request ---------------------------------------------------------------------------------------

    def serve(
        self,
        number: int,
        name: str,
        now_s: float,
        items: int = 1,
        priority: Priority | None = None,
        input_key: str | None = None,
    ) -> Story:
        """One request: result cache, allocation, waiting, running, release.

        Parameters
        ----------
        number : int
            Of the request, as in the records.
        name : str
            Model that is asked for.
        now_s : float
            Time of arrival, seconds.
        items : int
            Along the batch axis.
        priority : Priority, optional
            Where it differs from the model's.
        input_key : str, optional
            Requests of one model with equal keys have equal answers.

        Returns
        -------
        generator
            Of effects; its value is an :class:`Answer`.
        """
        cache = self.cache if input_key is not None else None
        if cache is not None:
            kept = cache.get(name, input_key, now_s)  # type: ignore[arg-type]
            if kept is not MISS:
                return self._answer(number, now_s, Outcome.CACHE_HIT, kept)
        if self._waiting and self._line.must_wait(name):
            now_s, decision = yield from self._wait_in_line(number, name, now_s, priority, asked=False)
        else:
            decision = self.allocator.request(name, now_s, priority)
            if self.journal is not None:
                self._note_decision(number, now_s, decision)
            if decision.kind is Kind.WAIT:
                now_s, decision = yield from self._wait_in_line(number, name, now_s, priority, asked=True)
        if decision.kind is Kind.HIT:
            outcome, why = Outcome.HIT, ""
        else:
            now_s, outcome, why = yield from self._obtain(number, decision, now_s)
        if outcome is Outcome.FALLBACK:
            return (yield from self._run_on_cpu(number, name, now_s, items, input_key, why))
        if outcome is Outcome.REFUSED or outcome is Outcome.FAILED:
            return self._answer(number, now_s, outcome, None, why)
        gpu = self.gpu
        if gpu.free:
            gpu.free -= 1
        else:
            now_s, _ = yield self._wait_gpu
        try:
            now_s, outputs = yield self._run_one[name] if items == 1 else Infer(name, GPU, items)
        except EffectFailed as failure:
            now_s, outputs = failure.now_s, None
            outcome, why = Outcome.FAILED, str(failure)
        gpu.release()
        if self.allocator.released(name) and self._waiting:
            self._line.decide(now_s)
        if cache is not None and outcome is not Outcome.FAILED:
            cache.put(name, input_key, outputs, now_s)  # type: ignore[arg-type]
        return self._answer(number, now_s, outcome, outputs, why)

    def story(self, name: str, now_s: float, model: str | None = None) -> Story:
        """One of the engine's own stories, by its name: ``start`` or ``monitor``."""
        return {"start": self._start, monitor.NAME: monitor.Monitor(self).story}[name](now_s)

    def _start(self, now_s: float) -> Story:
        """Load what is always loaded, one after the other."""
        for name in self.allocator.always_loaded():
            decision = self.allocator.reserve(name, now_s)
            if decision is not None:
                self._note_decision("start", now_s, decision)
                now_s, _ = yield from self._load(decision, now_s, "start")
        return now_s

    # -- its way to the GPU ------------------------------------------------------------------------------

    def _wait_in_line(
        self, number: int, name: str, now_s: float, priority: Priority | None, asked: bool
    ) -> Story:
        """Wait for models in use, behind those who wait already. The value is (now_s, decision)."""
        entry = self._line.enter(number, name, priority, asked)
        now_s, decision = yield Wait(entry.gate, self._release_timeout_s)
        if decision is TIMED_OUT:
            self._line.leave(entry, now_s)
            kind = Kind.CPU if self.allocator.models[name].may_run_on_cpu else Kind.REFUSE
            decision = Decision(kind, name, reason="waited too long for models in use")
        return now_s, decision

    def _obtain(self, number: int, decision: Decision, now_s: float) -> Story:
        """See a decision other than a hit through, to where the request may run or must go elsewhere.

        The value is (now_s, outcome, why); with COLD_START and WAIT the model is pinned.
        """
        kind, name = decision.kind, decision.model
        if kind is Kind.CPU:
            return now_s, Outcome.FALLBACK, decision.reason
        if kind is Kind.REFUSE:
            return now_s, Outcome.REFUSED, decision.reason
        may_use_cpu = self.allocator.models[name].may_run_on_cpu
        if self._answer_while_loading and may_use_cpu:
            if kind is Kind.LOAD:
                yield SpawnEffect(f"load for {number}", self._load_beside(decision, now_s))
            else:
                self.allocator.models[name].pins -= 1
            return now_s, Outcome.FALLBACK, "answered while it loads"
        if kind is Kind.LOAD:
            now_s, error = yield from self._load(decision, now_s, "request")
            outcome = Outcome.COLD_START
        else:
            now_s, error = yield Wait(self._loads[name])
            outcome = Outcome.WAIT
        if not error:
            return now_s, outcome, ""
        return now_s, Outcome.FALLBACK if may_use_cpu else Outcome.FAILED, error

    def _load_beside(self, decision: Decision, now_s: float) -> Story:
        """A load that no request waits for: the one that caused it is answered by the CPU."""
        self.allocator.models[decision.model].pins -= 1
        yield from self._load(decision, now_s, "request")

    def _load(self, decision: Decision, now_s: float, reason: str) -> Story:
        """Unload the victims, wait for their bytes and for the load channel, load.

        The value is (now_s, error), with an empty error if the load ended well.
        """
        name = decision.model
        allocator, recorder = self.allocator, self.recorder
        model = allocator.models[name]
        gate = self._loads[name] = Gate(self.ready)
        self._note_usage(now_s)
        for victim in decision.victims:
            now_s = yield from self._unload(victim, now_s, "eviction")
        error = ""
        if model.claiming:
            claim = self._claims[name] = Gate(self.ready)
            now_s, given_up = yield Wait(claim)
            error = given_up or ""
        if not error:
            if self.channel.free:
                self.channel.free -= 1
            else:
                now_s, _ = yield self._wait_channel
        started_s = now_s
        if not error:
            try:
                now_s, _ = yield Load(name, GPU)
            except EffectFailed as failure:
                now_s, error = failure.now_s, str(failure)
            self.channel.release()
        del self._loads[name]
        zone = model.zone.name
        if error:
            self.claims_met(allocator.load_failed(name), now_s)
        else:
            allocator.loaded(name, now_s)
        recorder.loads.append(LoadRecord(started_s, now_s, name, zone, model.bytes, reason, error))
        gate.open(error)
        if self._waiting and (error or not model.pins):
            self._line.decide(now_s)
        return now_s, error

    def send_away(self, name: str, now_s: float, reason: str, why: str) -> Story:
        """Take off the device what the allocator sends away without a newcomer. The value is the time."""
        model = self.allocator.models[name]
        self.note_action(now_s, f"unload: {reason}", name, model.zone.name, model.bytes, why)
        return (yield from self._unload(name, now_s, reason))

    def _unload(self, name: str, now_s: float, reason: str) -> Story:
        """Take a model that the allocator has sent away off the device. The value is the time."""
        model = self.allocator.models[name]
        now_s, _ = yield Unload(name)
        self.recorder.evictions.append(EvictionRecord(now_s, name, model.zone.name, model.bytes, reason))
        self.claims_met(self.allocator.unloaded(name), now_s)
        if self._waiting:
            self._line.decide(now_s)
        return now_s

    def give_up(self, name: str, why: str) -> bool:
        """End a load that waits for its bytes, as failed. Returns whether it does wait."""
        gate = self._claims.pop(name, None)
        if gate is None:
            return False
        gate.open(why)
        return True

    def claims_met(self, names: list[str], now_s: float) -> None:
        """Let the loads go on that have got their bytes."""
        for name in names:
            gate = self._claims.pop(name, None)
            if gate is not None:
                gate.open()
        self._note_usage(now_s)

    # -- the CPU as second best --------------------------------------------------------------------------

    def _run_on_cpu(
        self, number: int, name: str, now_s: float, items: int, input_key: str | None, why: str
    ) -> Story:
        """Queue for a CPU worker, make the CPU session if there is none yet, run."""
        cpu = self.cpu
        if cpu.free:
            cpu.free -= 1
        elif len(cpu.waiters) >= self._fallback_queue:
            return self._answer(number, now_s, Outcome.REFUSED, None, "the fallback queue is full")
        else:
            now_s, _ = yield self._wait_cpu
        outcome, outputs = Outcome.FALLBACK, None
        try:
            now_s = yield from self._cpu_session(name, now_s)
            now_s, outputs = yield Infer(name, CPU, items)
        except EffectFailed as failure:
            now_s, outcome, why = failure.now_s, Outcome.FAILED, str(failure)
        cpu.release()
        if outcome is Outcome.FALLBACK and input_key is not None and self.cache is not None:
            self.cache.put(name, input_key, outputs, now_s)
        return self._answer(number, now_s, outcome, outputs, why)

    def _cpu_session(self, name: str, now_s: float) -> Story:
        """Make sure that the CPU session is there; it is made once and stays. The value is the time."""
        while name not in self._cpu_sessions or self._cpu_sessions[name] is not None:
            gate = self._cpu_sessions.get(name)
            if gate is not None:
                now_s, _ = yield Wait(gate)
                continue
            gate = self._cpu_sessions[name] = Gate(self.ready)
            try:
                now_s, _ = yield Load(name, CPU)
                self._cpu_sessions[name] = None
            except EffectFailed:
                del self._cpu_sessions[name]
                raise
            finally:
                gate.open()
        return now_s

    # -- writing down ------------------------------------------------------------------------------------

    def _answer(self, number: int, now_s: float, outcome: Outcome, outputs: Any, why: str = "") -> Answer:
        recorder = self.recorder
        recorder.outcomes[number] = outcome
        recorder.finish_s[number] = now_s
        if self.journal is not None:
            duration_s = now_s - recorder.arrival_s[number]
            self.journal.write(now_s, "done", number, None, outcome.name, None, None, duration_s, why or None)
        return Answer(outcome, outputs, why)

    def cancelled(self, task: int | str, now_s: float) -> Answer | None:
        """A story has ended because nobody wanted it any more: a request's answer, if it was one."""
        return self._answer(task, now_s, Outcome.CANCELLED, None) if isinstance(task, int) else None

    def _note_decision(self, task: int | str, now_s: float, decision: Decision) -> None:
        if self.journal is None:
            return
        kind, name, zone, victims, reason = decision
        detail = {"victims": list(victims)} if victims else None
        size = self.allocator.models[name].bytes if kind is Kind.LOAD else None
        self.journal.write(
            now_s, "decision", task, name, kind.value, zone, size, None, reason or None, detail
        )

    def note_action(
        self,
        now_s: float,
        what: str,
        model: str | None = None,
        zone: str | None = None,
        size_bytes: int | None = None,
        why: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Write down what the monitor does."""
        if self.journal is not None:
            self.journal.write(
                now_s, "action", monitor.NAME, model, what, zone, size_bytes, None, why, detail
            )

    def _note_usage(self, now_s: float) -> None:
        if self.memory_taken.waiters:
            self.memory_taken.open()
        self.recorder.usage.append((now_s, tuple([zone.held for zone in self._zones])))
