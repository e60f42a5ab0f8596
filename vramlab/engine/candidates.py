"""Which of the requests that wait could begin now: what an order sees, and what the scheduler goes by.

Nothing here begins or decides anything. What was begun in a step, and whom that keeps from beginning, the
scheduler writes into :class:`Candidates` (:mod:`.scheduler`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from vramlab.allocator.decisions import WAIT
from vramlab.allocator.facts import Model, Turn, Zone
from vramlab.allocator.planning import Plan
from vramlab.allocator.states import ABSENT, IN_USE, RESIDENT
from vramlab.config.rules import RulesConfig
from vramlab.engine.desk import Desk
from vramlab.engine.waiting import Waiting, WaitingRequests

WINDOW: Final = 64
"""How many absent models are looked at for a load, so that a step costs the same however many wait."""
NOBODY: Final[frozenset[Model]] = frozenset()
_ROUNDING_S: Final = 1e-6  # a sum of times may be off by less


class Candidates:
    """Those that could begin, for one engine.

    Parameters
    ----------
    desk : Desk
        Where requests wait.
    heedless : bool
        Loads may send away models that others wait for.

    Attributes
    ----------
    now_s : float
        When this step is, seconds.
    blocked : tuple or None
        Place of the request that gets the next load, once there is room for it.
    held : frozenset of Model
        Not to be used by those behind `blocked`.
    clearing : set of Model
        Whose loads are decided anew when others have left.
    plans : dict of int to Plan
        Of this step, by request.
    sent : int
        How many are on their way to the CPU.
    stuck : int
        The count of changes (:attr:`.WaitingRequests.changes`) at which nobody could be loaded for; -1: not
        known. Until the next change nobody is looked at again: a plan goes through all residents.
    """

    def __init__(self, desk: Desk, heedless: bool) -> None:
        self.serving = desk.config.serving
        self._allocator, self._waiting, self._heedless = desk.allocator, desk.waiting, heedless
        self._gpu, self._channel, self._cpu = desk.gpu, desk.channel, desk.cpu
        self._by_size = not (desk.config.rules.groups or desk.config.rules.sets)
        self.now_s = 0.0
        self.blocked: Turn | None = None
        self.held = NOBODY
        self.clearing: set[Model] = set()
        self.plans: dict[int, Plan] = {}
        self.sent = 0
        self.stuck = -1
        self._stuck_until_s, self._cpu_had_room = math.inf, True
        self._zones = list(desk.allocator.zones.values())
        self._remembers = desk.config.rules == RulesConfig()  # else it is not room alone that is missing

    @property
    def cpu_has_room(self) -> bool:
        """Whether the CPU can take one more."""
        return self._cpu.room > self.sent

    @property
    def under_way(self) -> int:
        """How many runs and loads are."""
        return self._gpu.slots - self._gpu.free + self._channel.slots - self._channel.free

    def first_absent(self) -> Waiting | None:
        """The first by place whose model is absent."""
        for _, _, group in self._waiting.absent:
            if group.model.state is ABSENT and group.model not in self.clearing:
                return group.first
        return None

    def first_there(self) -> Waiting | None:
        """The first by place whose model is there, and not held back."""
        for _, _, group in self._waiting.there:
            if not self.is_held(group.first):
                return group.first
        return None

    def runs(self) -> Iterator[Waiting]:
        """The next request of each model that is there and not held back, while a stream is free."""
        if self._gpu.free:
            for _, _, group in self._waiting.turns:
                if not self.is_held(group.next):
                    yield group.next

    def loads(self) -> Iterator[Waiting]:
        """The first request of each absent model that could be loaded, while a channel is free."""
        if self.blocked is not None or not self.may_load:
            return
        too_large: dict[tuple[Zone, int], float] = {}
        named = False
        for _, _, group in self._waiting.absent[:WINDOW]:
            model, entry = group.model, group.first
            if model.state is not ABSENT or model in self.clearing:
                continue
            alike = model.home, entry.rank
            if model.bytes >= too_large.get(alike, math.inf):
                continue
            if self.plan(entry, None).kind is WAIT:
                if self._by_size:  # else it may be for its company that it waits
                    too_large[alike] = model.bytes
            else:
                named = True
                yield entry
        if self._remembers and not named:
            self.stuck, self._cpu_had_room = self._waiting.changes, self.cpu_has_room
            self._stuck_until_s = self._retained_until_s()

    @property
    def may_load(self) -> bool:
        """Whether a channel is free for those whose model is absent, and one of them might be loaded for."""
        waiting = self._waiting
        if not self._channel.free or not waiting.absent:
            return False
        return (
            self.stuck != waiting.changes
            or self.now_s >= self._stuck_until_s
            or self._cpu_had_room is not self.cpu_has_room
        )

    def _retained_until_s(self) -> float:
        """A moment before which no more models come to the end of their minimum retention."""
        now_s, until_s = self.now_s, math.inf
        for zone in self._zones:
            if zone.retention_s:
                for model in zone.policy.ranked(now_s):
                    if now_s - model.loaded_at_s < zone.retention_s:
                        until_s = min(until_s, model.loaded_at_s + zone.retention_s - _ROUNDING_S)
        return until_s

    def is_next(self, entry: Waiting) -> bool:
        """Whether a stream is free for it if its model is there, or a load channel if that is absent."""
        state = entry.model.state
        if state is RESIDENT or state is IN_USE:
            return self._gpu.free > 0 and not self.is_held(entry)
        waits = state is ABSENT and entry.model not in self.clearing
        return waits and self._channel.free > 0 and self.blocked is None

    def plan(self, entry: Waiting, turn: Turn | None) -> Plan:
        """What the allocator would do for a request; with `turn`, at the cost of those with a later place."""
        plan = self.plans.get(entry.number) if turn is None else None
        if plan is None:
            patient = not self.cpu_has_room
            plan = self._allocator.plan(entry.model, self.now_s, entry.rank, turn, patient, self._heedless)
            if turn is None:
                self.plans[entry.number] = plan
        return plan

    def is_held(self, entry: Waiting) -> bool:
        """Whether its model is to leave for a request with an earlier place."""
        return entry.model in self.held and self.blocked is not None and entry.place > self.blocked


class View:
    """The requests that wait, as an order sees them (:class:`~vramlab.engine.orders.WaitingView`)."""

    def __init__(self, candidates: Candidates, waiting: WaitingRequests) -> None:
        self._waiting, self._candidates = waiting, candidates
        self.serving = candidates.serving
        self.skips, self.count = waiting.skips, waiting.count
        self.runs, self.loads = candidates.runs, candidates.loads
        self.is_next = candidates.is_next
        self.first_there, self.first_absent = candidates.first_there, candidates.first_absent

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    def __getitem__(self, index: int) -> Waiting:
        return self._waiting[index]

    def __contains__(self, entry: object) -> bool:
        return entry in self._waiting

    @property
    def under_way(self) -> int:
        """How many runs and loads are."""
        return self._candidates.under_way

    @property
    def first(self) -> Waiting:
        """The first by place."""
        first = self._waiting.first
        assert first is not None, "an order is only asked while somebody waits"
        return first
