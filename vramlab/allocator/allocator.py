"""The allocator: who is in VRAM, decided one request at a time.

Pure: no clock (time is an argument), no threads, no I/O. :meth:`Allocator.request` returns a decision and
moves the ledger at once; the driver reports later what became of it (``loaded``, ``load_failed``,
``unloaded``, ``released``). Drivers that hand in the same events in the same order get the same decisions.

What could be done for a model that is not there, :mod:`vramlab.allocator.planning` says. This file chooses
it, and :mod:`vramlab.allocator.loads` carries it out. Rules that must hold:

1. What raises, raises before anything has moved.
2. After each call, what :mod:`vramlab.allocator.invariants` checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from vramlab.allocator.accounts import accounts, loaded_at_start
from vramlab.allocator.decisions import CLEAR, LOAD, Decision, Kind
from vramlab.allocator.eviction import Choice, Requester, WaitingRequester
from vramlab.allocator.extents import Extent
from vramlab.allocator.facts import (
    ABSENT,
    EVICTING,
    IN_USE,
    LOADING,
    RESIDENT,
    IllegalTransition,
    Ledger,
    Model,
    Policy,
    Turn,
    Zone,
    limits_met,
)
from vramlab.allocator.loads import AtOnce, Loads
from vramlab.allocator.placement import Placement, Unmapped
from vramlab.allocator.planning import Plan, Planner
from vramlab.allocator.policies import make_policy
from vramlab.allocator.relief import relief_victims
from vramlab.allocator.rules import RuledPlanner
from vramlab.config.errors import InputError, nearest
from vramlab.config.rules import RulesConfig
from vramlab.config.schema import Inventory, Priority, ScoringConfig, VramConfig

_DECISION: Final = Decision
_row: Final = tuple.__new__  # without the constructor's detour: twice as fast


class Allocator:
    """Zones, budget, and the decision about every request.

    Parameters
    ----------
    config : VramConfig
        Zones, budget, scoring, admission and fallback rules.
    inventory : dict of str to ModelSpec
        All models that may be asked for.
    placement : callable
        Makes what knows where in its zone a model lies: a class of :mod:`vramlab.allocator.placement`.
    policy : callable
        Makes the policy of a zone.
    instant : bool
        Loads and evictions take no time (decide mode): a decision to load is already carried out when it
        is returned, and nothing is reported back.

    Raises
    ------
    InputError
        For a policy that is unknown, and a model whose zone is.
    """

    def __init__(
        self,
        config: VramConfig,
        inventory: Inventory,
        placement: Callable[[Iterable[Zone], Choice], Placement] = Unmapped,
        policy: Callable[[ScoringConfig], Policy] = make_policy,
        instant: bool = False,
    ) -> None:
        self.instant = instant
        self.room_bytes = config.room_bytes(inventory)
        self.shared_bytes = config.shared_bytes(inventory) or 0
        self.device = Ledger("device", self.room_bytes)
        self.zones = {
            name: Zone(name, zone, policy(config.scoring), self.device) for name, zone in config.zones.items()
        }
        self.models = accounts(config, inventory, self.zones)
        self._always_loaded = loaded_at_start(config, inventory)
        zones = list(self.zones.values())
        choice = config.scoring.victims
        if choice == "auto":
            choice = "in_order" if zones[0].policy.in_order else "pruned"
        self.placement = placement(zones, choice)
        self._loads = (AtOnce if instant else Loads)(zones, self.device, self.placement)
        # or coming, or leaving; absent ones too if `instant`, where nobody lists them
        self.there: Iterable[Model] = self.models.values() if instant else self._loads.there
        planner = Planner(config, self.zones, self.device, self.placement)
        self._planner: Planner | RuledPlanner = planner
        if config.rules != RulesConfig():
            self._planner = RuledPlanner(planner, config.rules, self.models, self.device)

    def model(self, name: str) -> Model:
        """Return the account of a model.

        Raises
        ------
        InputError
            If the inventory has no such model.
        """
        try:
            return self.models[name]
        except KeyError:
            expected = f"a model of the inventory{nearest(name, self.models)}"
            raise InputError("request", "model", repr(name), expected) from None

    def always_loaded(self) -> list[str]:
        """List the models that are loaded at start, in the order of the inventory."""
        return list(self._always_loaded)

    def tell_moves(self, hear: Callable[[Model], object]) -> None:
        """Let ``hear(model)`` be called when a model that somebody waits for begins to come or to leave."""
        self._loads.on_moved = hear

    @property
    def claims(self) -> tuple[Model, ...]:
        """Loads that wait for the bytes of their victims, in the order in which they get them."""
        return tuple(self._loads.claims)

    @property
    def binding(self) -> dict[str, int]:
        """How often a limit left a requested model no free room in its own zone; only those that ever did."""
        return limits_met(self.device, self.zones)

    # -- requests ------------------------------------------------------------------------------------

    def request(
        self, name: str, now_s: float, priority: Priority | None = None, pin: bool = True
    ) -> Decision:
        """Decide about one request and move the ledger.

        Parameters
        ----------
        name : str
            Model that is asked for.
        now_s : float
            Time of the request, seconds.
        priority : Priority, optional
            The request's priority where it differs from the model's: it gives the rights to evict, while
            the model's own priority gives its zone.
        pin : bool
            Hold the model in place until ``released``. False where a run takes no time (decide mode).

        Returns
        -------
        Decision
            With ``HIT``, ``LOAD`` and ``JOIN`` the request is pinned to the model.
        """
        model = self.models.get(name) or self.model(name)
        model.uses_total += 1
        model.last_used_s = now_s
        state = model.state
        if state is RESIDENT or state is IN_USE:
            model.uses += 1
            model.zone.policy.used(model, now_s)
            if pin:
                model.pin()
            return model.hit
        if state is LOADING:
            model.uses += 1
            model.zone.policy.used(model, now_s)
            model.pins += pin
            return Decision(Kind.JOIN, name, model.zone.name)
        rank = model.rank if priority is None else priority.rank
        plan, left = self.miss(model, rank, now_s, pin)
        zone = model.zone.name if plan.kind is LOAD else None
        return _row(_DECISION, (plan.kind, name, zone, tuple([gone.name for gone in left]), plan.reason))

    def miss(self, model: Model, rank: int, now_s: float, pin: bool = False) -> tuple[Plan, list[Model]]:
        """As :meth:`request` for an absent model, whose asking has been counted; with accounts for names.

        Returns the plan that was carried out or declined, and who has left for it.
        """
        model.uses = 1
        requester = Requester(rank, now_s)
        plan = self._planner.plan(model, requester, pin)
        cleared: list[Model] = []
        while plan.kind is CLEAR and self.instant:
            for gone in plan.victims:
                self._loads.evict(gone)
            cleared += plan.victims
            plan = self._planner.plan(model, requester, pin)
        self._follow(plan, now_s, pin)
        if plan.kind is LOAD:
            cleared += plan.victims
        return plan, cleared

    def _follow(self, plan: Plan, now_s: float, pin: bool) -> None:
        """Begin the load of a plan, or write it off where it is none."""
        model, zone, victims = plan.model, plan.zone, plan.victims
        loads = plan.kind is LOAD
        if victims if loads else model.state is not EVICTING:
            model.home.note_shortage(model.bytes)
        if plan.outbid and zone is not None and (victims or not loads):
            zone.policy.rejected(model, now_s)
        if loads and zone is not None:
            self._loads.begin(model, zone, victims, now_s, uses=1, pin=pin)

    def plan(
        self,
        model: Model,
        now_s: float,
        rank: int,
        turn: Turn | None = None,
        patient: bool = False,
        heedless: bool = False,
    ) -> Plan:
        """Say what could be done now for a request that waits; changes nothing.

        Parameters
        ----------
        model : Model
            That it needs, which is not there.
        now_s : float
            The time, seconds.
        rank : int
            Of the request's priority.
        turn : tuple, optional
            Its place in the queue, where it is entitled to the room of models that are wanted later.
        patient : bool
            It would rather wait for models in use, or wanted, than go to the CPU.
        heedless : bool
            Models that are wanted later leave in the policy's order, as if nobody wanted them.
        """
        return self._planner.plan(model, WaitingRequester(rank, now_s, turn, patient, heedless))

    def carry_out(self, plan: Plan, now_s: float) -> Decision:
        """Begin the load of a plan, for a request whose asking has been counted; nobody is pinned."""
        model, zone = plan.model, plan.zone
        if plan.kind is not LOAD or zone is None:
            raise IllegalTransition(f"carry out: the plan for model {model.name!r} is {plan.kind.value}")
        self._follow(plan, now_s, pin=False)
        victims = tuple([gone.name for gone in plan.victims])
        return _row(_DECISION, (LOAD, model.name, zone.name, victims, ""))

    def clear(self, plan: Plan) -> Decision:
        """Send away what has to leave before the load of a plan is decided anew."""
        if plan.kind is not CLEAR:
            raise IllegalTransition(f"clear: the plan for model {plan.model.name!r} is {plan.kind.value}")
        for victim in plan.victims:
            self._loads.evict(victim)
        names = tuple(victim.name for victim in plan.victims)
        return Decision(CLEAR, plan.model.name, None, names, plan.reason)

    def decline(self, plan: Plan, now_s: float) -> Decision:
        """Write off a plan that is no load: the request waits, or goes elsewhere."""
        self._follow(plan, now_s, pin=False)
        return Decision(plan.kind, plan.model.name, None, (), plan.reason)

    def asked(self, model: Model, now_s: float) -> None:
        """Count a request that begins to wait for `model`."""
        model.uses_total += 1
        model.last_used_s = now_s

    def use(self, model: Model, now_s: float, loaded_for: bool) -> None:
        """Begin the run of a request that has waited; the first use was counted with the load for it."""
        model.pin()
        if not loaded_for:
            model.uses += 1
            model.zone.policy.used(model, now_s)

    def ask_again(self, name: str, now_s: float, priority: Priority | None = None) -> Decision:
        """Decide anew about a request that had to wait; it is not counted as a second use."""
        model = self.model(name)
        model.uses_total -= 1
        return self.request(name, now_s, priority)

    def reserve(self, name: str, now_s: float) -> Decision | None:
        """Load `name` into free room, without evicting and without counting a use; None if there is none.

        For models that are always loaded, and for preloading. Only the former may be a guest: a preloaded
        guest would be the first to be evicted.
        """
        model = self.model(name)
        if model.state is not ABSENT:
            return None
        zone = self._planner.free_place(model)
        if zone is None or (zone is not model.home and name not in self._always_loaded):
            return None
        model.last_used_s = now_s
        self._loads.begin(model, zone, [], now_s, uses=0, pin=False)
        return Decision(LOAD, name, zone.name)

    def reserve_at(self, name: str, now_s: float, zone: Zone, extents: tuple[Extent, ...]) -> Decision | None:
        """Load a model at that place of that zone, or else where it fits in the zone; None if it does not.

        For models that are moved: it counts as no use, and the time of the last one stays.
        """
        model = self.model(name)
        if model.state is not ABSENT or not zone.has_room(model.bytes):
            return None
        if not self.placement.fits(model, zone):
            return None
        # it may have turned out larger while it was unloaded, and then that place is none for it
        self.placement.aim = extents if sum(extent.length for extent in extents) == model.bytes else ()
        try:
            self._loads.begin(model, zone, [], now_s, uses=model.uses, pin=False)
            return Decision(LOAD, name, zone.name)
        finally:
            self.placement.aim = ()

    def unload(self, name: str, now_s: float) -> Decision | None:
        """Begin to unload a resident model that nobody uses; None if it is not in that state."""
        model = self.model(name)
        if model.state is not RESIDENT:
            return None
        self._loads.evict(model, evicted=False)
        return Decision(Kind.UNLOAD, name, None, (name,))

    def relieve(self, needed_bytes: int, now_s: float) -> list[str]:
        """Under memory pressure: begin to unload the models of the lowest score.

        Returns the victims in the order of leaving. They may free less than `needed_bytes`.
        """
        victims = relief_victims(self.there, needed_bytes, now_s)
        for victim in victims:
            self._loads.evict(victim)
        return [victim.name for victim in victims]

    def set_budget(self, budget_bytes: int) -> list[str]:
        """Give models so many bytes from now on: another process has taken or freed some.

        Where that is less than what is there and what is promised, nothing new is admitted until enough has
        left (:meth:`relieve`); claims stay, and are met when there is room again.

        Returns the models whose claims are met by that: their loads may start.
        """
        self.device.resize(budget_bytes)
        return self._loads.meet_claims()

    # -- what became of it ---------------------------------------------------------------------------

    def loaded(self, name: str, now_s: float) -> None:
        """Hear that the load of `name` has ended well."""
        self.model(name).loaded(now_s)

    def load_failed(self, name: str) -> list[str]:
        """Hear that the load of `name` has failed: its bytes are given back and its pins are gone.

        Returns the models whose claims are met by that: their loads may start.
        """
        return self._loads.failed(self.model(name))

    def unloaded(self, name: str) -> list[str]:
        """Hear that `name` has left the device: its bytes are back.

        Returns the models whose claims are met by that: their loads may start.
        """
        return self._loads.unloaded(self.model(name))

    def released(self, name: str) -> bool:
        """Hear that a request is done with `name`. Returns whether the model is now free to leave."""
        return (self.models.get(name) or self.model(name)).unpin()

    def withdraw(self, name: str) -> bool:
        """Give back the pin of a request that will not run `name` after all, also during the load.

        Returns whether the model is now free to leave.
        """
        model = self.model(name)
        if model.state is not LOADING:
            return self.released(name)
        if not model.pins:
            raise IllegalTransition(f"withdrawn: nobody waits for the load of model {name!r}")
        model.pins -= 1
        return False

    def grow(self, name: str, footprint_bytes: int) -> bool:
        """Let later loads of `name` reserve so many bytes, as it was seen to take more than its footprint.

        A model that is on the device keeps what it has until it has left. Footprints never shrink, and never
        grow past the largest place for the model, where it may be tried alone. Returns whether this is news.
        """
        return self._loads.grow(self.model(name), footprint_bytes)

    def settle(self, decision: Decision, now_s: float) -> None:
        """Let a load and its evictions end at once, for callers that take no time."""
        self.settle_load(self.model(decision.model), map(self.model, decision.victims), now_s)

    def settle_load(self, model: Model, victims: Iterable[Model], now_s: float) -> None:
        """As :meth:`settle`, with accounts for names."""
        for victim in victims:
            self._loads.unloaded(victim)
        model.loaded(now_s)
