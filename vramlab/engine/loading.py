"""How models come onto the device and leave it: the story of a load, with its victims, and of an unload.

A load that was decided holds its bytes, or a claim on those that its victims give back. It goes on when these
are there and the load channel has room. Others may join it; who is cancelled leaves it to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramlab.allocator import Decision
from vramlab.config.units import ms_to_s
from vramlab.engine import shortage
from vramlab.engine.effects import Cancelled, EffectFailed, Failure, Load, Spawn, Story, Target, Unload, Wait
from vramlab.engine.gates import Gate
from vramlab.engine.outcomes import EvictionRecord, LoadRecord

if TYPE_CHECKING:
    from vramlab.engine.serving import Engine

AT_THE_END = "stop"
"""The reason for unloading at the end of a run, which counts as no eviction."""


class Loading:
    """The loads and unloads of one engine.

    Parameters
    ----------
    engine : Engine
        Whose allocator decides.
    timeout_s : float
        A load that takes longer has failed.
    """

    def __init__(self, engine: Engine, timeout_s: float) -> None:
        self._engine = engine
        self._allocator = engine.allocator
        self._ready = engine.ready
        self._channel = engine.channel
        self._wait_channel = Wait(engine.channel)
        self._timeout_s = timeout_s
        self._claim_timeout_s = ms_to_s(engine.config.serving.release_timeout_ms)
        self._ends: dict[str, Gate] = {}  # of models being loaded: opens with the failure, or None
        self._claims: dict[str, Gate] = {}  # of loads that wait for their victims' bytes

    @property
    def idle(self) -> bool:
        """Whether no load is under way."""
        return not self._ends and not self._claims

    # -- loads -------------------------------------------------------------------------------------------

    def join(self, name: str) -> Story:
        """Wait for a load under way, to which the task is pinned. The value is (now_s, failure)."""
        try:
            now_s, failure = yield Wait(self._end_of(name))
        except Cancelled as cancelled:
            self._engine.withdraw(name, cancelled.now_s)
            raise
        return now_s, failure

    def _end_of(self, name: str) -> Gate:
        """The gate that opens at the end of a decided load; who joins it may come before it has begun."""
        gate = self._ends.get(name)
        if gate is None:
            gate = self._ends[name] = Gate(self._ready)
        return gate

    def load_for(
        self,
        task: int | str,
        decision: Decision,
        now_s: float,
        reason: str = "request",
        pinned: bool = True,
        has_channel: bool = False,
    ) -> Story:
        """Load for a task that may be cancelled: others who wait for the load keep it going."""
        name = decision.model
        try:
            return (yield from self.load(decision, now_s, reason, has_channel))
        except Cancelled as cancelled:
            if self._allocator.models[name].pins > pinned or self._engine.others_wait(name, task):
                if pinned:
                    self._allocator.withdraw(name)
                yield Spawn(f"load for {task}", self._load_into_claim(name, cancelled.now_s, reason))
            else:
                self._end(name, cancelled.now_s, cancelled.now_s, reason, cancelled)
            raise

    def load(self, decision: Decision, now_s: float, reason: str, has_channel: bool = False) -> Story:
        """Unload the victims, wait for their bytes and (unless it has one) for a load channel, load.

        The value is (now_s, failure), which is None if the load ended well.
        """
        self._end_of(decision.model)
        self._engine.moved(decision.model, *decision.victims)
        self._engine.note_usage(now_s)
        for victim in decision.victims:
            now_s = yield from self.unload(victim, now_s, "eviction")
        return (yield from self._load_into_claim(decision.model, now_s, reason, has_channel))

    def _load_into_claim(self, name: str, now_s: float, reason: str, has_channel: bool = False) -> Story:
        """The rest of :meth:`load`, once the victims have left."""
        model = self._allocator.models[name]
        held, available, started_s = 0, None, None
        failure: EffectFailed | None = None
        try:
            if model.claiming:
                claim = self._claims[name] = self._claims.get(name) or Gate(self._ready)
                # The bytes of victims come within milliseconds; those of a device that has shrunk may never.
                now_s, given_up = yield Wait(claim, self._claim_timeout_s)
                if given_up:
                    why = given_up if isinstance(given_up, str) else "the device has too little memory left"
                    raise EffectFailed(now_s, Failure.TIMED_OUT, why)
            if not has_channel:
                if self._channel.free:
                    self._channel.free -= 1
                else:
                    now_s, _ = yield self._wait_channel
                has_channel = True
            started_s = now_s
            now_s, loaded = yield Load(name, Target.GPU, model.bytes, self._timeout_s)
            self._engine.note_loaded(name, loaded)
        except EffectFailed as failed:
            now_s, failure = failed.now_s, failed
        finally:
            if has_channel:
                self._channel.release()
        if failure is not None and failure.kind is Failure.OUT_OF_MEMORY:
            now_s, available = yield from shortage.read_available(now_s)
            held = self._allocator.device.held - model.bytes
        started_s = now_s if started_s is None else started_s  # it may have failed before
        self._end(name, started_s, now_s, reason, failure, held, available)
        return now_s, failure

    def _end(
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
        engine, model = self._engine, self._allocator.models[name]
        zone, size = model.zone.name, model.bytes
        gate = self._ends.pop(name)
        self._claims.pop(name, None)
        if failure is None:
            self._allocator.loaded(name, now_s)
        else:
            self.claims_met(self._allocator.load_failed(name), now_s)
        if isinstance(failure, EffectFailed) and failure.kind is Failure.OUT_OF_MEMORY:
            shortage.learn_from_load(engine, "load", name, now_s, held, available)
        error = "" if failure is None else str(failure)
        engine.recorder.loads.append(LoadRecord(started_s, now_s, name, zone, size, reason, error))
        gate.open(failure)
        if engine.scheduler is not None:
            engine.scheduler.load_ended(model, failure, engine.worth_another_try(failure), now_s)
        if failure is not None or not model.pins:
            engine.changed(now_s)
        return failure

    # -- claims ------------------------------------------------------------------------------------------

    def give_up(self, name: str, why: str) -> bool:
        """End a load that waits for its bytes, as failed. Returns whether it does wait."""
        gate = self._claims.pop(name, None)
        if gate is None:
            return False
        gate.open(why)
        return True

    def set_budget(self, budget_bytes: int, now_s: float) -> None:
        """The device has so many bytes for models from now on."""
        self.claims_met(self._allocator.set_budget(budget_bytes), now_s)
        if self._engine.scheduler is not None:
            self._engine.scheduler.changed(now_s)

    def claims_met(self, names: list[str], now_s: float) -> None:
        """Let the loads go on that have got their bytes."""
        for name in names:
            gate = self._claims.pop(name, None)
            if gate is not None:
                gate.open()
        self._engine.note_usage(now_s)

    # -- unloads -----------------------------------------------------------------------------------------

    def relieve(self, needed_bytes: int, now_s: float) -> list[str]:
        """Under memory pressure: let the allocator send models away, to be unloaded one after the other.

        All of them are leaving from now on, those too that requests wait for. Returns their names.
        """
        victims = self._allocator.relieve(needed_bytes, now_s)
        self._engine.moved(*victims)
        return victims

    def send_away(self, name: str, now_s: float, reason: str, why: str) -> Story:
        """Take off the device what the allocator sends away without a newcomer. The value is the time."""
        model = self._allocator.models[name]
        self._engine.note_action(now_s, f"unload: {reason}", name, model.zone.name, model.bytes, why)
        return (yield from self.unload(name, now_s, reason))

    def unload(self, name: str, now_s: float, reason: str) -> Story:
        """Take a model that the allocator has sent away off the device. The value is the time."""
        engine, model = self._engine, self._allocator.models[name]
        engine.moved(name)
        if engine.preloading is not None:
            engine.preloading.left(name, now_s, reason)
        try:
            now_s, _ = yield Unload(name)
        except EffectFailed as failure:  # the session is gone either way
            now_s = failure.now_s
            engine.note(now_s, "unload", "unload failed", name, model.bytes, str(failure))
        if reason != AT_THE_END:
            engine.recorder.evictions.append(
                EvictionRecord(now_s, name, model.zone.name, model.bytes, reason)
            )
        self.claims_met(self._allocator.unloaded(name), now_s)
        engine.changed(now_s)
        return now_s
