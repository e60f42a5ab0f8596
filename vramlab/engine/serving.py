"""The story of one request, from arrival to answer, and of what it sets in motion.

Everything here is policy and bookkeeping; time and the outcomes of effects come from a driver
(:mod:`vramlab.engine.effects`). Read :meth:`Engine.serve` from top to bottom: it is what happens to a
request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from vramlab.allocator import Allocator, Decision, Kind, make_allocator
from vramlab.allocator.placement import PlacedAllocator
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.config.units import ms_to_s
from vramlab.engine import commands, defragmentation, monitor, shortage
from vramlab.engine.cache import MISS, ResultCache
from vramlab.engine.effects import (
    TIMED_OUT,
    Cancelled,
    EffectFailed,
    Failure,
    Infer,
    Load,
    Spawn,
    Story,
    Target,
    Unload,
    Wait,
)
from vramlab.engine.gates import Gate, Ready, Slots
from vramlab.engine.journal import Journal
from vramlab.engine.records import EvictionRecord, LoadRecord, LossRecord, Outcome, Recorder
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
    mapped : bool
        Keep the map of the memory even where it decides nothing (placement ``paged``).
    """

    def __init__(
        self,
        config: VramConfig,
        inventory: Inventory,
        recorder: Recorder,
        journal: Journal | None = None,
        mapped: bool = True,
    ) -> None:
        serving = config.serving
        self.config = config
        self.allocator: Allocator = (
            make_allocator(config, inventory) if mapped else make_allocator(config, inventory, mapped=False)
        )
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
        self._load_timeout_s = ms_to_s(serving.load_timeout_ms)
        self._loads: dict[str, Gate] = {}  # of models being loaded: opens with the failure, or None
        self._claims: dict[str, Gate] = {}  # of loads that wait for their victims' bytes
        self._cpu_sessions: dict[str, Gate | None] = {}  # gate while it loads, None once it is there
        max_skips = serving.max_skips if serving.queue == "affinity" else 0
        self._line = Line(self.allocator, self.ready, self.note_decision, max_skips)
        self._waiting = self._line.queue  # looked at on every request
        self.on_notice: Callable[[str, str | None, int, str], None] | None = None  # for a driver that logs
        self.memory_taken = Gate(self.ready)  # opens when models have taken or given back memory
        self._run_one = {name: Infer(name, GPU, 1) for name in inventory}
        self._wait_gpu, self._wait_cpu = Wait(self.gpu), Wait(self.cpu)
        self._wait_channel = Wait(self.channel)

    @property
    def placed(self) -> PlacedAllocator:
        """The allocator, where it keeps a map of the memory."""
        if not isinstance(self.allocator, PlacedAllocator):
            raise TypeError("this engine keeps no map of the memory")
        return self.allocator

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
            now_s, decision = yield from self.wait_in_line(number, name, now_s, priority, asked=False)
        else:
            decision = self.allocator.request(name, now_s, priority)
            if self.journal is not None:
                self.note_decision(number, now_s, decision)
            if decision.kind is Kind.WAIT:
                now_s, decision = yield from self.wait_in_line(number, name, now_s, priority, asked=True)
        if decision.kind is Kind.HIT:
            outcome, why = Outcome.HIT, ""
        else:
            now_s, outcome, why = yield from self._obtain(number, decision, now_s, priority)
        if outcome is Outcome.FALLBACK:
            return (yield from self._run_on_cpu(number, name, now_s, items, input_key, why))
        if outcome is Outcome.REFUSED or outcome is Outcome.FAILED:
            return self._answer(number, now_s, outcome, None, why)
        gpu = self.gpu
        if gpu.free:
            gpu.free -= 1
        else:
            try:
                now_s, _ = yield self._wait_gpu
            except Cancelled as cancelled:
                self.withdraw(name, cancelled.now_s)
                raise
        try:
            now_s, outputs = yield self._run_one[name] if items == 1 else Infer(name, GPU, items)
        except EffectFailed as failure:
            gpu.release()
            if failure.kind is Failure.OUT_OF_MEMORY:
                return (
                    yield from self._run_short_of_memory(number, name, items, input_key, outcome, failure)
                )
            self.withdraw(name, failure.now_s)
            return self._answer(number, failure.now_s, Outcome.FAILED, None, str(failure))
        except Cancelled as cancelled:
            gpu.release()
            self.withdraw(name, cancelled.now_s)
            raise
        gpu.release()
        if self.allocator.released(name) and self._waiting:
            self._line.decide(now_s)
        if cache is not None:
            cache.put(name, input_key, outputs, now_s)  # type: ignore[arg-type]
        return self._answer(number, now_s, outcome, outputs, why)

    def story(self, name: str, now_s: float, model: str | None = None) -> Story:
        """One of the engine's own stories: ``monitor``, ``defragment``, or one of :mod:`.commands`."""
        if model is not None:
            return commands.FOR_A_MODEL[name.partition(" ")[0]](self, name, model, now_s)
        if name == monitor.NAME:
            return monitor.Monitor(self).story(now_s)
        if name == defragmentation.NAME:
            return defragmentation.defragment(self, now_s)
        return {"start": commands.start, "stop": commands.stop}[name](self, now_s)

    @property
    def line_length(self) -> int:
        """How many wait for models in use."""
        return len(self._waiting)

    # -- its way to the GPU ------------------------------------------------------------------------------

    def wait_in_line(
        self, task: int | str, name: str, now_s: float, priority: Priority | None, asked: bool
    ) -> Story:
        """Wait for models in use, behind those who wait already. The value is (now_s, decision)."""
        entry = self._line.enter(task, name, priority, asked)
        try:
            now_s, decision = yield Wait(entry.gate, self._release_timeout_s)
        except Cancelled as cancelled:
            self._line.leave(entry, cancelled.now_s)
            raise
        if decision is TIMED_OUT:
            self._line.leave(entry, now_s)
            kind = Kind.CPU if self.allocator.models[name].may_run_on_cpu else Kind.REFUSE
            decision = Decision(kind, name, reason="waited too long for models in use")
        return now_s, decision

    def _obtain(self, number: int, decision: Decision, now_s: float, priority: Priority | None) -> Story:
        """See a decision other than a hit through, to where the request may run or must go elsewhere.

        What fails for want of memory is decided once more, by what has been learned from that. The value is
        (now_s, outcome, why); with COLD_START and WAIT the model is pinned.
        """
        name = decision.model
        may_use_cpu = self.allocator.models[name].may_run_on_cpu
        outcome, last_try = Outcome.WAIT, False
        while True:
            kind = decision.kind
            if kind is Kind.CPU:
                return now_s, Outcome.FALLBACK, decision.reason
            if kind is Kind.REFUSE:
                return now_s, Outcome.REFUSED, decision.reason
            if kind is Kind.HIT:  # what was decided once more
                return now_s, outcome, ""
            if self._answer_while_loading and may_use_cpu:
                self.allocator.withdraw(name)
                if kind is Kind.LOAD:
                    yield Spawn(f"load for {number}", self.load(decision, now_s, "request"))
                return now_s, Outcome.FALLBACK, "answered while it loads"
            if kind is Kind.LOAD:
                outcome = Outcome.COLD_START
                now_s, failure = yield from self.load_for(number, decision, now_s)
            else:
                now_s, failure = yield from self.join(name)
            if failure is None:
                return now_s, outcome, ""
            if last_try or not self.worth_another_try(failure):
                return now_s, Outcome.FALLBACK if may_use_cpu else Outcome.FAILED, str(failure)
            last_try = True
            decision = self.allocator.ask_again(name, now_s, priority)
            self.note_decision(number, now_s, decision)
            if decision.kind is Kind.WAIT:
                now_s, decision = yield from self.wait_in_line(number, name, now_s, priority, asked=True)

    def worth_another_try(self, failure: EffectFailed | None) -> bool:
        """Whether a load that ended so may end otherwise next time."""
        return failure is not None and failure.kind is Failure.OUT_OF_MEMORY

    def join(self, name: str) -> Story:
        """Wait for a load under way, to which the task is pinned. The value is (now_s, failure)."""
        try:
            now_s, failure = yield Wait(self._loads[name])
        except Cancelled as cancelled:
            self.withdraw(name, cancelled.now_s)
            raise
        return now_s, failure

    def withdraw(self, name: str, now_s: float) -> None:
        """A task that was pinned to a model no longer is, without having run it to the end."""
        if self.allocator.withdraw(name) and self._waiting:
            self._line.decide(now_s)

    def load_for(
        self, task: int | str, decision: Decision, now_s: float, reason: str = "request", pinned: bool = True
    ) -> Story:
        """Load for a task that may be cancelled: others who wait for the load keep it going."""
        name = decision.model
        try:
            return (yield from self.load(decision, now_s, reason))
        except Cancelled as cancelled:
            if self.allocator.models[name].pins > pinned:
                if pinned:
                    self.allocator.withdraw(name)
                yield Spawn(f"load for {task}", self._load_into_claim(name, cancelled.now_s, reason))
            else:
                self._end_load(name, cancelled.now_s, cancelled.now_s, reason, cancelled)
            raise

    def load(self, decision: Decision, now_s: float, reason: str) -> Story:
        """Unload the victims, wait for their bytes and for the load channel, load.

        The value is (now_s, failure), which is None if the load ended well.
        """
        self._loads[decision.model] = Gate(self.ready)
        self._note_usage(now_s)
        for victim in decision.victims:
            now_s = yield from self.unload(victim, now_s, "eviction")
        return (yield from self._load_into_claim(decision.model, now_s, reason))

    def _load_into_claim(self, name: str, now_s: float, reason: str) -> Story:
        """The rest of :meth:`load`, once the victims have left."""
        model = self.allocator.models[name]
        if model.claiming:
            claim = self._claims[name] = self._claims.get(name) or Gate(self.ready)
            now_s, given_up = yield Wait(claim)
            if given_up:
                too_late = EffectFailed(now_s, Failure.TIMED_OUT, given_up)
                return now_s, self._end_load(name, now_s, now_s, reason, too_late)
        if self.channel.free:
            self.channel.free -= 1
        else:
            now_s, _ = yield self._wait_channel
        started_s = now_s
        failure: EffectFailed | None = None
        held, available = 0, None
        try:
            now_s, _ = yield Load(name, GPU, model.bytes, self._load_timeout_s)
        except EffectFailed as failed:
            now_s, failure = failed.now_s, failed
        except Cancelled:
            self.channel.release()
            raise
        self.channel.release()
        if failure is not None and failure.kind is Failure.OUT_OF_MEMORY:
            now_s, available = yield from shortage.read_available(now_s)
            held = self.allocator.device.held - model.bytes
        self._end_load(name, started_s, now_s, reason, failure, held, available)
        return now_s, failure

    def _end_load(
        self,
        name: str,
        started_s: float,
        now_s: float,
        reason: str,
        failure: EffectFailed | Cancelled | None,
        held: int = 0,
        available: int | None = None,
    ) -> EffectFailed | Cancelled | None:
        """A load has ended; where memory ran out, others `held` so much and this was `available`."""
        model = self.allocator.models[name]
        zone, size = model.zone.name, model.bytes
        gate = self._loads.pop(name)
        self._claims.pop(name, None)
        if failure is None:
            self.allocator.loaded(name, now_s)
        else:
            self.claims_met(self.allocator.load_failed(name), now_s)
        if isinstance(failure, EffectFailed) and failure.kind is Failure.OUT_OF_MEMORY:
            shortage.learn_from_load(self, "load", name, now_s, held, available)
        error = "" if failure is None else str(failure)
        self.recorder.loads.append(LoadRecord(started_s, now_s, name, zone, size, reason, error))
        gate.open(failure)
        if self._waiting and (failure is not None or not model.pins):
            self._line.decide(now_s)
        return failure

    def send_away(self, name: str, now_s: float, reason: str, why: str) -> Story:
        """Take off the device what the allocator sends away without a newcomer. The value is the time."""
        model = self.allocator.models[name]
        self.note_action(now_s, f"unload: {reason}", name, model.zone.name, model.bytes, why)
        return (yield from self.unload(name, now_s, reason))

    def unload(self, name: str, now_s: float, reason: str) -> Story:
        """Take a model that the allocator has sent away off the device. The value is the time."""
        model = self.allocator.models[name]
        try:
            now_s, _ = yield Unload(name)
        except EffectFailed as failure:  # the session is gone either way
            now_s = failure.now_s
            self.note(now_s, "unload", "unload failed", name, model.bytes, str(failure))
        if reason != commands.AT_THE_END:
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

    # -- short of memory ---------------------------------------------------------------------------------

    def _run_short_of_memory(
        self,
        number: int,
        name: str,
        items: int,
        input_key: str | None,
        outcome: Outcome,
        failure: EffectFailed,
    ) -> Story:
        """A run found no room for its workspace: make room for the next one; run on the CPU, or once more.

        The model is pinned.
        """
        now_s, available = yield from shortage.read_available(failure.now_s)
        needed = shortage.learn_from_run(self, number, name, now_s, available)
        for victim in self.allocator.relieve(needed, now_s):
            self.note(now_s, number, "unload", victim, self.allocator.models[victim].bytes, shortage.WHY)
            now_s = yield from self.unload(victim, now_s, shortage.WHY)
        if self.allocator.models[name].may_run_on_cpu:
            self.withdraw(name, now_s)
            return (yield from self._run_on_cpu(number, name, now_s, items, input_key, str(failure)))
        try:
            now_s, outputs, failed = yield from self._run_again(name, now_s, items)
        except Cancelled as cancelled:
            self.withdraw(name, cancelled.now_s)
            raise
        self.withdraw(name, now_s)
        if failed is not None:
            return self._answer(number, now_s, Outcome.FAILED, None, str(failed))
        if input_key is not None and self.cache is not None:
            self.cache.put(name, input_key, outputs, now_s)
        return self._answer(number, now_s, outcome, outputs, str(failure))

    def _run_again(self, name: str, now_s: float, items: int) -> Story:
        """Run on the GPU, as :meth:`serve` does. The value is (now_s, outputs, failure)."""
        if self.gpu.free:
            self.gpu.free -= 1
        else:
            now_s, _ = yield self._wait_gpu
        outputs, failed = None, None
        try:
            now_s, outputs = yield Infer(name, GPU, items)
        except EffectFailed as failure:
            now_s, failed = failure.now_s, failure
        finally:
            self.gpu.release()
        return now_s, outputs, failed

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
        finally:  # also of a request that is cancelled
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
                now_s, _ = yield Load(name, CPU, None, self._load_timeout_s)
                self._cpu_sessions[name] = None
            except (EffectFailed, Cancelled):
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
        if why and (outcome is Outcome.REFUSED or outcome is Outcome.FAILED):
            recorder.lost.append(LossRecord(number, outcome, why))
        if self.journal is not None:
            duration_s = now_s - recorder.arrival_s[number]
            self.journal.write(now_s, "done", number, None, outcome.name, None, None, duration_s, why or None)
        return Answer(outcome, outputs, why)

    def cancelled(self, task: int | str, now_s: float) -> Answer | None:
        """A story has ended because nobody wanted it any more: a request's answer, if it was one."""
        return self._answer(task, now_s, Outcome.CANCELLED, None) if isinstance(task, int) else None

    def note_decision(self, task: int | str, now_s: float, decision: Decision) -> None:
        """Write down what was decided for a request, or for one of the engine's own stories."""
        if self.journal is None:
            return
        kind, name, zone, victims, reason = decision
        detail = {"victims": list(victims)} if victims else None
        size = self.allocator.models[name].bytes if kind is Kind.LOAD else None
        self.journal.write(
            now_s, "decision", task, name, kind.value, zone, size, None, reason or None, detail
        )

    def note(
        self, now_s: float, task: int | str, what: str, model: str | None, size_bytes: int, why: str
    ) -> None:
        """Write down what was learned or done beside the requests."""
        if self.on_notice is not None:
            self.on_notice(what, model, size_bytes, why)
        if self.journal is not None:
            self.journal.write(now_s, "action", task, model, what, None, size_bytes, None, why)

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
