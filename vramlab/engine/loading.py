"""How models come onto the device and leave it: the story of a load, with its victims, and of an unload.

A load that was decided holds its bytes, or a claim on those that its victims give back. It goes on when these
are there and the load channel has room. Others may join it; a task that is cancelled leaves it to them.
"""

from __future__ import annotations

from typing import Any, Final

from vramlab.allocator import Decision
from vramlab.config.units import ms_to_s
from vramlab.engine.claims import Claims
from vramlab.engine.desk import Desk
from vramlab.engine.effects import (
    Cancelled,
    EffectFailed,
    Failure,
    Load,
    Replaced,
    Result,
    Spawn,
    Story,
    Target,
    Unload,
)
from vramlab.engine.gates import Gate
from vramlab.engine.learning import Learning, read_available
from vramlab.engine.notes import MONITOR
from vramlab.engine.outcomes import EvictionRecord, LoadRecord

AT_THE_END: Final = "stop"
"""The reason for unloading at the end of a run, which counts as no eviction."""

# Without the constructor's detour: twice as fast.
_row: Final = tuple.__new__


class Loading:
    """The loads and unloads of one engine.

    Parameters
    ----------
    desk : Desk
        Whose allocator decides.
    claims : Claims
        Where loads wait for their bytes.
    learning : Learning
        What is learned from loads that find no memory.
    """

    def __init__(self, desk: Desk, claims: Claims, learning: Learning) -> None:
        self._desk, self._allocator = desk, desk.allocator
        self._claims, self._learning = claims, learning
        self._timeout_s = ms_to_s(desk.config.serving.load_timeout_ms)
        # of models being loaded: opens with the failure, or None; no gate where nobody has joined the load
        self._ends: dict[str, Gate | None] = {}
        self._own_workspace = desk.config.workspace == "own"
        # of each model the effects that it had last
        self._load_effects: dict[str, Load] = {}
        self._unload_effects: dict[str, Unload] = {}

    @property
    def idle(self) -> bool:
        """Whether no load is under way."""
        return not self._ends and not self._claims

    # -- loads -------------------------------------------------------------------------------------------

    def join(self, name: str) -> Story:
        """Wait for a load under way, to which the task is pinned. The value is (now_s, failure)."""
        gate = self._ends.get(name)  # who joins may come before the load has begun
        if gate is None:
            gate = self._ends[name] = Gate(self._desk.ready)
        try:
            now_s, failure = yield gate
        except Cancelled as cancelled:
            self._desk.withdraw(name, cancelled.now_s)
            raise
        return now_s, failure

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
        except Cancelled as error:
            cancelled = error  # no story yields while it handles an exception: mypyc loses that one
        if self._allocator.models[name].pins > pinned or self._desk.others_wait(name, task):
            if pinned:
                self._allocator.withdraw(name)
            yield Spawn(f"load for {task}", self._load(name, (), cancelled.now_s, reason))
        else:
            self._ended(name, cancelled.now_s, cancelled.now_s, reason, cancelled)
        raise cancelled

    def load(self, decision: Decision, now_s: float, reason: str, has_channel: bool = False) -> Story:
        """Unload the victims, wait for their bytes and (unless it has one) for a load channel, load.

        The value is (now_s, failure), which is None if the load ended well.
        """
        self._ends.setdefault(decision.model, None)
        self._desk.usage(now_s)
        return self._load(decision.model, decision.victims, now_s, reason, has_channel)

    def _load(
        self, name: str, victims: tuple[str, ...], now_s: float, reason: str, has_channel: bool = False
    ) -> Story:
        """The rest of :meth:`load`."""
        for victim in victims:
            now_s = yield from self.unload(victim, now_s, "eviction")
        model = self._allocator.models[name]
        found, started_s = None, None
        failure: EffectFailed | None = None
        try:
            if model.claiming:
                now_s = yield from self._claims.wait(name)
            if not has_channel:
                if not self._desk.channel.take():
                    now_s, _ = yield self._desk.channel
                has_channel = True
            started_s = now_s
            effect = self._load_effects.get(name)
            if effect is None or effect[2] != model.bytes:
                effect = self._load_effects[name] = Load(name, Target.GPU, model.bytes, self._timeout_s)
            ended: Result = yield effect
            now_s, loaded = ended
            if loaded is not None:
                self._see(name, loaded, now_s)
        except EffectFailed as failed:
            now_s, failure = failed.now_s, failed
        finally:
            if has_channel:
                self._desk.channel.release()
        if failure is not None and self._is_full(failure):
            now_s, available = yield from read_available(now_s)
            found = self._allocator.device.held - model.bytes, available
        started_s = now_s if started_s is None else started_s  # it may have failed before
        self._ended(name, started_s, now_s, reason, failure, found)
        return now_s, failure

    def _is_full(self, failure: EffectFailed) -> bool:
        """Whether the device has no room; what all share is full as a device is."""
        shares = not self._own_workspace
        return failure.kind is Failure.OUT_OF_MEMORY or (shares and failure.kind is Failure.OWN_LIMIT)

    def _see(self, name: str, loaded: Any, now_s: float) -> None:
        """Look at what a load has found, and was seen to take, if it was; what all share is no model's."""
        self._desk.loaded(name, loaded)
        taken = loaded.size_bytes if isinstance(loaded, Replaced) else loaded
        if taken is not None and self._own_workspace:
            self._learning.from_size(name, now_s, taken)

    def _ended(
        self,
        name: str,
        started_s: float,
        now_s: float,
        reason: str,
        failure: EffectFailed | Cancelled | None,
        found: tuple[int, int | None] | None = None,
    ) -> None:
        """A load has ended; where memory ran out, `found` is what others held, and what was available."""
        desk, model = self._desk, self._allocator.models[name]
        zone, size = model.zone.name, model.bytes
        gate = self._ends.pop(name)
        self._claims.drop(name)
        if failure is None:
            self._allocator.loaded(name, now_s)
        else:
            self._claims.met(self._allocator.load_failed(name), now_s)
            desk.decider.load_failed(model, failure)
        if failure is None:
            pass
        elif found is not None:
            self._learning.from_load(name, now_s, *found)
        elif isinstance(failure, EffectFailed) and failure.kind is Failure.OWN_LIMIT:
            self._learning.from_own_limit("load", name, now_s, failure.lacking_bytes)
        elif isinstance(failure, EffectFailed) and failure.kind is Failure.DEVICE_LOST:
            self._learning.device_lost("load", now_s, failure.message)
        error = "" if failure is None else str(failure)
        row = started_s, now_s, name, zone, size, reason, error
        desk.notes.recorder.loaded(_row(LoadRecord, row))
        if gate is not None:
            gate.open(failure)
        desk.decider.load_ended(model, now_s)
        if failure is not None or not model.pins:
            desk.changed(now_s)

    def clear(self, decision: Decision, now_s: float) -> Story:
        """Unload what has to leave before a load is decided anew. The value is the time."""
        for victim in decision.victims:
            now_s = yield from self.unload(victim, now_s, "eviction")
        return now_s

    # -- unloads -----------------------------------------------------------------------------------------

    def relieve(self, needed_bytes: int, now_s: float) -> list[str]:
        """Under memory pressure: let the allocator send models away, to be unloaded one after the other.

        All of them are leaving from now on, those too that requests wait for. Returns their names.
        """
        return self._allocator.relieve(needed_bytes, now_s)

    def send_away(self, name: str, now_s: float, reason: str, why: str) -> Story:
        """Take off the device what the allocator sends away without a newcomer. The value is the time."""
        model = self._allocator.models[name]
        self._desk.notes.action(
            now_s, MONITOR, f"unload: {reason}", name, zone=model.zone.name, size_bytes=model.bytes, why=why
        )
        return (yield from self.unload(name, now_s, reason))

    def unload(self, name: str, now_s: float, reason: str) -> Story:
        """Take a model that the allocator has sent away off the device. The value is the time."""
        desk, model = self._desk, self._allocator.models[name]
        desk.leaves(name, now_s, reason)
        try:
            effect = self._unload_effects.get(name)
            if effect is None:
                effect = self._unload_effects[name] = Unload(name)
            ended: Result = yield effect
            now_s = ended[0]
        except EffectFailed as failure:  # the session is gone either way
            now_s = failure.now_s
            desk.notes.notice(now_s, "unload", "unload failed", name, model.bytes, str(failure))
        if reason != AT_THE_END:
            row = now_s, name, model.zone.name, model.bytes, reason
            desk.notes.recorder.left(_row(EvictionRecord, row))
        self._claims.met(self._allocator.unloaded(name), now_s)
        desk.changed(now_s)
        return now_s
