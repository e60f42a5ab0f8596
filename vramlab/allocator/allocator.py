"""The allocator: who is in VRAM, decided one request at a time.

Pure: no clock (time is an argument), no threads, no I/O. :meth:`Allocator.request` returns a decision and
moves the ledger at once; the driver reports later what became of it (``loaded``, ``load_failed``,
``unloaded``, ``released``). Drivers that hand in the same events in the same order get the same decisions.

How a request for a model that is not there is decided, in this order:

1. There is room in the model's home or in a zone that lends to its priority: load.
2. Its priority loads into free room only (admission ``free_only``): the CPU answers.
3. Victims may leave for it (:mod:`vramlab.allocator.eviction`): load, unless admission is ``compete`` and it
   is worth less than each of them.
4. It may run on the CPU: the CPU answers.
5. It may not. Then retention protects nobody from it (pressure), rules 2 and 3 do not hold it back, and if
   only models in use stand in its way it waits for them. If they do not either, it is refused.

``compete`` is worth it while the CPU answers in about the time of a load (up to 1.2 times it), the more so
the scarcer memory is, and may lose heavily beyond; so the default is ``always`` (``results/admission``).

A load whose victims are still leaving holds no bytes yet: it has a *claim*, which :meth:`Allocator.unloaded`
turns into bytes in the order of the claims. A later claim may pass an earlier one only if it leaves the
earlier one's bytes alone, so nobody starves. What must hold after each call is in
:mod:`vramlab.allocator.invariants`, and which state may follow which in :mod:`vramlab.allocator.states`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from vramlab.allocator.eviction import Choice, Requester, WaitingRequester, choose_victims
from vramlab.allocator.facts import Decision, Kind, Ledger, Model, Turn, Zone
from vramlab.allocator.policies import make_policy
from vramlab.allocator.relief import relief_victims
from vramlab.allocator.runs import Run
from vramlab.allocator.states import ABSENT, EVICTING, IN_USE, LOADING, RESIDENT, IllegalTransition, require
from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import Inventory, Priority, VramConfig, zone_of
from vramlab.config.units import bytes_to_mib

_decision = partial(tuple.__new__, Decision)  # without the constructor's detour: twice as fast
_LOAD = Kind.LOAD  # for the hot path


class Plan(NamedTuple):
    """What could be done for a request whose model is not there.

    ``zone`` is where it would go, or would have gone (``outbid``: it is worth less than its victims).
    ``victims`` leave for it; with ``WAIT`` they are those that stand in its way.
    """

    kind: Kind
    model: Model
    zone: Zone | None
    victims: list[Model]
    reason: str
    outbid: bool


_Planned = tuple[Kind, Model, Zone | None, list[Model], str, bool]
"""The fields of a plan, for the hot path: a plain tuple takes a quarter of the time."""


class Allocator:
    """Zones, budget, and the decision about every request.

    Parameters
    ----------
    config : VramConfig
        Zones, budget, scoring, admission and fallback rules.
    inventory : dict of str to ModelSpec
        All models that may be asked for.
    instant : bool
        Loads and evictions take no time (decide mode): a decision to load is already carried out when it
        is returned, and nothing is reported back.

    Raises
    ------
    InputError
        For a policy that is unknown, and a model whose zone is.
    """

    def __init__(self, config: VramConfig, inventory: Inventory, instant: bool = False) -> None:
        self._instant = instant
        self.room_bytes = config.room_bytes(inventory)
        self.shared_bytes = config.shared_bytes(inventory) or 0
        self.lost = ""  # why nothing will ever be loaded again, once that is so
        self.device = Ledger("device", self.room_bytes)
        self.zones = {
            name: Zone(name, zone, make_policy(config.scoring)) for name, zone in config.zones.items()
        }
        cpu_enabled = config.fallback.cpu_fallback_enabled
        weights = config.scoring.priority_weights
        self.models: dict[str, Model] = {}
        for number, (name, spec) in enumerate(config.held(inventory).items()):
            home = self.zones.get(zone_of(spec, config, name))
            if home is None:
                expected = f"one of {', '.join(self.zones)}"
                raise InputError("inventory", f"models.{name}.zone", repr(spec.zone), expected)
            model = self.models[name] = Model(name, number, spec, home, weights, cpu_enabled)
            model.hit = Decision(Kind.HIT, name, home.name)
        reserved = {name for zone in config.zones.values() for name in zone.reserved_models}
        self._always_loaded = [
            name for name, model in self.models.items() if model.always_loaded or name in reserved
        ]
        self._admission = {priority.rank: config.admission_for(priority) for priority in Priority}
        self._claims: list[Model] = []
        self._learned: dict[Model, int] = {}  # footprints of models that are on the device with less
        self._places = {model: self._places_of(model) for model in self.models.values()}
        any_policy = next(iter(self.zones.values())).policy
        choice = config.scoring.victims
        if choice == "auto":
            choice = "in_order" if any_policy.in_order else "pruned"
        self._choice: Choice = choice

    def model(self, name: str) -> Model:
        """The account of a model.

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
        """Models that belong to what is loaded at start, in the order of the inventory.

        Those that the inventory calls ``always_loaded`` and those that a zone reserves its place for.
        """
        return list(self._always_loaded)

    @property
    def claims(self) -> tuple[Model, ...]:
        """Loads that wait for the bytes of their victims, in the order in which they get them."""
        return tuple(self._claims)

    @property
    def binding(self) -> dict[str, int]:
        """How often a limit left a requested model no free room in its own zone; only those that ever did.

        By name, as in ``max_models in flexible``; ``total_memory_mb`` is the device's.
        """
        counts = {"total_memory_mb": self.device.bound}
        for name, zone in self.zones.items():
            counts[f"size_mb in {name}"] = zone.bound
            counts[f"max_models in {name}"] = zone.bound_slots
        return {name: count for name, count in counts.items() if count}

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
                model.pins += 1
                model.state = IN_USE
            return model.hit
        if state is LOADING:
            model.uses += 1
            model.zone.policy.used(model, now_s)
            model.pins += pin
            return Decision(Kind.JOIN, name, model.zone.name)
        return self._decide_absent(model, now_s, model.rank if priority is None else priority.rank, pin)

    def hits(self, model: Model, uses_total: int, last_used_s: float) -> None:
        """Several hits of a resident model at once, the last of them at `last_used_s` (decide mode).

        `uses_total` is the number of all its uses by then. Only where the policy merges uses, and in the
        order of the last uses of the models.
        """
        model.uses += uses_total - model.uses_total  # by hand what `catch_up` does: this runs at most hits
        model.uses_total = uses_total
        model.last_used_s = last_used_s
        model.zone.policy.used(model, last_used_s)

    def run_of_hits(self, run: Run) -> None:
        """Consecutive hits at once, where there is one zone and the policy merges uses (decide mode).

        The caller brings the accounts of the models up to date (:meth:`Model.catch_up`): of a victim right
        after it was chosen, of all before their scores are asked for or single hits are handed in again.
        """
        (zone,) = self.zones.values()
        zone.policy.used_together(run)

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
        return Plan(*self._plan(model, WaitingRequester(rank, now_s, turn, patient, heedless)))

    def carry_out(self, plan: Plan, now_s: float) -> Decision:
        """Begin the load of a plan, for a request whose asking has been counted; nobody is pinned."""
        model, zone = plan.model, plan.zone
        if plan.kind is not _LOAD or zone is None:
            raise IllegalTransition(f"carry out: the plan for model {model.name!r} is {plan.kind.value}")
        if plan.victims:
            self._count_limits(model)
            if plan.outbid:
                zone.policy.rejected(model, now_s)
        return self._begin_load(model, zone, plan.victims, now_s, uses=1, pin=False)

    def decline(self, plan: Plan, now_s: float) -> Decision:
        """Write off a plan that is no load: the request waits, or goes elsewhere."""
        model = plan.model
        if model.state is not EVICTING:
            self._count_limits(model)
        if plan.outbid and plan.zone is not None:
            plan.zone.policy.rejected(model, now_s)
        return Decision(plan.kind, model.name, None, (), plan.reason)

    def asked(self, model: Model, now_s: float) -> None:
        """Count a request that begins to wait for `model`."""
        model.uses_total += 1
        model.last_used_s = now_s

    def use(self, model: Model, now_s: float, loaded_for: bool) -> None:
        """Begin the run of a request that has waited; the first use was counted with the load for it."""
        if model.state is not RESIDENT and model.state is not IN_USE:
            require(model.name, model.state, "use", RESIDENT, IN_USE)
        if not loaded_for:
            model.uses += 1
            model.zone.policy.used(model, now_s)
        model.pins += 1
        model.state = IN_USE

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
        zone = self._free_place(model)
        if zone is not model.home and name not in self._always_loaded:
            return None
        if zone is None:
            return None
        model.last_used_s = now_s
        return self._begin_load(model, zone, [], now_s, uses=0, pin=False)

    def unload(self, name: str, now_s: float) -> Decision | None:
        """Begin to unload a resident model that nobody uses; None if it is not in that state."""
        model = self.model(name)
        if model.state is not RESIDENT:
            return None
        self._begin_eviction(model, evicted=False)
        return Decision(Kind.UNLOAD, name, None, (name,))

    def relieve(self, needed_bytes: int, now_s: float) -> list[str]:
        """Under memory pressure: begin to unload the models of the lowest score.

        Returns
        -------
        list of str
            The victims, in the order of leaving. They may free less than `needed_bytes`.
        """
        victims = relief_victims(self.models.values(), needed_bytes, now_s)
        for victim in victims:
            self._begin_eviction(victim, evicted=True)
        return [victim.name for victim in victims]

    def set_budget(self, budget_bytes: int) -> list[str]:
        """The device has so many bytes for models from now on: another process has taken or freed some.

        Where that is less than what is there and what is promised, nothing new is admitted until enough has
        left (:meth:`relieve`); claims stay, and are met when there is room again.

        Returns
        -------
        list of str
            Models whose claims are met by that.
        """
        device = self.device
        device.cap = budget_bytes
        device.limit = max(budget_bytes, device.held, device.committed)
        return self._meet_claims() if self._claims else []

    # -- what became of it ---------------------------------------------------------------------------

    def loaded(self, name: str, now_s: float) -> None:
        """The load of `name` has ended well."""
        model = self.models.get(name) or self.model(name)
        if model.state is not LOADING:
            require(name, model.state, "loaded", LOADING)
        if model.claiming:
            raise IllegalTransition(f"loaded: model {name!r} still waits for the bytes of its victims")
        model.loaded_at_s = now_s
        model.state = IN_USE if model.pins else RESIDENT

    def load_failed(self, name: str) -> list[str]:
        """The load of `name` has failed: its bytes are given back and its pins are gone.

        Returns
        -------
        list of str
            Models whose claims are met by that.
        """
        model = self.model(name)
        require(name, model.state, "load failed", LOADING)
        zone = model.zone
        if model.claiming:
            self._claims.remove(model)
            model.claiming = False
        else:
            zone.held -= model.bytes
            self.device.held -= model.bytes
        zone.committed -= model.bytes
        self.device.committed -= model.bytes
        self._leave(model, evicted=False)
        model.pins = 0
        model.state = ABSENT
        if self._learned:
            self._apply_learned(model)
        return self._meet_claims()

    def unloaded(self, name: str) -> list[str]:
        """`name` has left the device: its bytes are back.

        Returns
        -------
        list of str
            Models whose claims are met by that: their loads may start.
        """
        self._gone(self.model(name))
        return self._meet_claims() if self._claims else []

    def released(self, name: str) -> bool:
        """A request is done with `name`. Returns whether the model is now free to leave."""
        model = self.models.get(name) or self.model(name)
        if model.state is not IN_USE:
            require(name, model.state, "released", IN_USE)
        model.pins -= 1
        if model.pins:
            return False
        model.state = RESIDENT
        return True

    def withdraw(self, name: str) -> bool:
        """A request that was to run `name` no longer will: its pin is given back, also during the load.

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
        """`name` was seen to take more than its footprint: later loads reserve so many bytes.

        A model that is on the device keeps what it has until it has left. Footprints never shrink, and never
        grow past the largest place for the model, where it may be tried alone. Returns whether this is news.
        """
        model = self.model(name)
        largest = max(zone.cap for zone in self._places[model])
        footprint_bytes = min(footprint_bytes, self.device.cap, largest)
        if footprint_bytes <= max(model.bytes, self._learned.get(model, 0)):
            return False
        self._learned[model] = footprint_bytes
        self._apply_learned(model)
        return True

    def settle(self, decision: Decision, now_s: float) -> None:
        """Let a load and its evictions end at once (decide mode, where they take no time)."""
        model, device = self.models[decision.model], self.device
        for name in decision.victims:
            victim = self.models[name]
            if victim.state is not EVICTING:
                require(name, victim.state, "unloaded", EVICTING)
            victim.zone.held -= victim.bytes
            device.held -= victim.bytes
            victim.state = ABSENT
        if not model.claiming or self._claims != [model] or model.pins or model.state is not LOADING:
            if self._claims:
                self._meet_claims()
            self.loaded(decision.model, now_s)
            return
        # the usual case by hand, as millions of them are decided: only this load waits, and has its bytes now
        self._claims = []
        model.claiming = False
        model.zone.held += model.bytes
        device.held += model.bytes
        model.state = RESIDENT

    # -- the rules -----------------------------------------------------------------------------------

    def _decide_absent(self, model: Model, now_s: float, rank: int, pin: bool) -> Decision:
        """Decide about a request for a model that is not on the device (or is just leaving it)."""
        model.uses = 1
        plan = self._plan(model, Requester(rank, now_s), pin)
        kind, _, zone, victims, _, outbid = plan
        if kind is not _LOAD or zone is None:
            return self.decline(Plan(*plan), now_s)
        if victims:
            self._count_limits(model)
            if outbid:
                zone.policy.rejected(model, now_s)
        return self._begin_load(model, zone, victims, now_s, uses=1, pin=pin)

    def _plan(self, model: Model, requester: Requester, runs: bool = True) -> _Planned:
        """What could be done for a request for a model that is absent, or leaving; changes nothing."""
        if model.state is EVICTING:
            return Kind.WAIT, model, None, [], "it is just being unloaded", False
        zone = self._free_place(model)
        if zone is not None:
            return _LOAD, model, zone, [], "", False
        admission = self._admission[requester.rank]
        forced = not model.may_run_on_cpu
        if admission == "free_only" and not forced:
            return Kind.CPU, model, None, [], "loads only into free room", False
        found = self._evict_for(model, requester)
        if found is None and forced:
            requester.pressure = True
            found = self._evict_for(model, requester)
        if found is not None:
            zone, victims = found
            outbid = (
                admission == "compete"
                and not model.gpu_only
                and self._loses(model, zone, victims, requester.now_s)
            )
            if outbid and (model.may_run_on_cpu or not runs):
                kind = Kind.CPU if model.may_run_on_cpu else Kind.BYPASS
                return kind, model, zone, [], "worth less than its victims", True
            # A real run needs its bytes: without a CPU to answer, the model is admitted after all.
            return _LOAD, model, zone, victims, "", outbid
        never = self._never_fits(model)
        if not never and (forced or requester.patient):
            requester.over_busy = True
            in_the_way = self._evict_for(model, requester)
            if in_the_way is not None:
                return Kind.WAIT, model, None, in_the_way[1], "models in use stand in its way", False
        if not forced:
            reason = never or "no room, and no victims that may leave"
            return Kind.CPU, model, None, [], reason, False
        reason = never or "no room, and nothing that may leave for it"
        return Kind.REFUSE, model, None, [], reason, False

    def _places_of(self, model: Model) -> list[Zone]:
        """Zones where `model` may be placed: its home, then those that lend to its priority."""
        lenders = [
            zone
            for zone in self.zones.values()
            if zone is not model.home and model.priority in zone.borrowers
        ]
        return [model.home, *lenders]

    def _free_place(self, model: Model) -> Zone | None:
        size = model.bytes
        if size > self.device.cap - self.device.committed:
            return None
        for zone in self._places[model]:
            if size <= zone.cap - zone.committed and (
                zone.max_models is None or zone.count < zone.max_models
            ):
                return zone
        return None

    def _count_limits(self, model: Model) -> None:
        """Count what kept `model` out of free room: a limit that nobody meant to set shows by that."""
        home, device, size = model.home, self.device, model.bytes
        device.bound += size > device.cap - device.committed
        home.bound += size > home.cap - home.committed
        home.bound_slots += home.max_models is not None and home.count >= home.max_models

    def _never_fits(self, model: Model) -> str:
        """Why `model` could not be loaded even if nothing else were on the device; empty if it could."""
        if self.lost:
            return self.lost
        size_mb = bytes_to_mib(model.bytes)
        if model.bytes > self.device.cap:
            budget_mb = bytes_to_mib(self.device.cap)
            return f"can never fit: {size_mb:.1f} MB, and the budget is {budget_mb:.1f} MB"
        largest = max(self._places[model], key=lambda zone: zone.cap)
        if model.bytes > largest.cap:
            zone_mb = bytes_to_mib(largest.cap)
            return f"can never fit: {size_mb:.1f} MB, and zone {largest.name} has {zone_mb:.1f} MB"
        return ""

    def _evict_for(self, model: Model, requester: Requester) -> tuple[Zone, list[Model]] | None:
        zones = self.zones.values()
        for zone in self._places[model]:
            guest = zone is not model.home
            victims = choose_victims(model.bytes, zone, guest, self.device, zones, requester, self._choice)
            if victims is not None:
                return zone, victims
        return None

    def _loses(self, model: Model, zone: Zone, victims: list[Model], now_s: float) -> bool:
        """Whether the newcomer is worth less than every victim (admission ``compete``)."""
        own = zone.policy.bid(model, now_s)
        return all(own < victim.zone.policy.score(victim, now_s) for victim in victims)

    def _begin_load(
        self, model: Model, zone: Zone, victims: list[Model], now_s: float, uses: int, pin: bool
    ) -> Decision:
        if self._instant:
            return self._load_at_once(model, zone, victims, now_s, uses)
        names: tuple[str, ...] = ()
        for victim in victims:
            self._begin_eviction(victim, evicted=True)
            names += (victim.name,)
        size, device = model.bytes, self.device
        model.uses = uses
        if zone is not model.zone:
            model.zone = zone
            model.guest = zone is not model.home
            model.hit = Decision(Kind.HIT, model.name, zone.name)
        model.state = LOADING
        model.pins = int(pin)
        model.loaded_at_s = now_s
        zone.count += 1
        zone.guests += model.guest
        zone.committed += size
        device.committed += size
        zone.policy.admitted(model, now_s)
        if zone.held + size <= zone.cap and device.held + size <= device.cap and not self._claims:
            zone.held += size
            device.held += size
        else:
            model.claiming = True
            self._claims.append(model)
            if not victims:
                self._meet_claims()
        return _decision((Kind.LOAD, model.name, zone.name, names, ""))

    def _load_at_once(
        self, model: Model, zone: Zone, victims: list[Model], now_s: float, uses: int
    ) -> Decision:
        """What ``_begin_load`` and ``settle`` do together, without what lies between them."""
        device = self.device
        for victim in victims:
            place, size = victim.zone, victim.bytes
            place.policy.removed(victim, True)
            place.count -= 1
            place.guests -= victim.guest
            place.committed = place.held = place.held - size
            device.committed = device.held = device.held - size
            victim.state = ABSENT
        if zone is not model.zone:
            model.zone = zone
            model.guest = zone is not model.home
            model.hit = Decision(Kind.HIT, model.name, zone.name)
        model.uses = uses
        model.loaded_at_s = now_s
        model.state = RESIDENT
        zone.count += 1
        zone.guests += model.guest
        zone.committed = zone.held = zone.held + model.bytes
        device.committed = device.held = device.held + model.bytes
        zone.policy.admitted(model, now_s)
        names = tuple([victim.name for victim in victims])
        return _decision((Kind.LOAD, model.name, zone.name, names, ""))

    def _begin_eviction(self, model: Model, evicted: bool) -> None:
        if model.state is not RESIDENT:
            require(model.name, model.state, "evict", RESIDENT)
        model.state = EVICTING
        model.zone.committed -= model.bytes
        self.device.committed -= model.bytes
        self._leave(model, evicted)

    def _gone(self, model: Model) -> None:
        if model.state is not EVICTING:
            require(model.name, model.state, "unloaded", EVICTING)
        model.zone.held -= model.bytes
        self.device.held -= model.bytes
        model.state = ABSENT
        if self._learned:
            self._apply_learned(model)

    def _apply_learned(self, model: Model) -> None:
        if model.state is ABSENT and model in self._learned:
            model.bytes = self._learned.pop(model)
            for zone in self.zones.values():
                zone.policy.grown(model)

    def _leave(self, model: Model, evicted: bool) -> None:
        zone = model.zone
        zone.policy.removed(model, evicted)
        zone.count -= 1
        zone.guests -= model.guest

    def _meet_claims(self) -> list[str]:
        """Turn claims into bytes, in their order, as far as there is room beside earlier claims."""
        if len(self._claims) == 1:  # nearly always
            model = self._claims[0]
            zone, size, device = model.zone, model.bytes, self.device
            if zone.held + size > zone.cap or device.held + size > device.cap:
                return []
            zone.held += size
            device.held += size
            model.claiming = False
            self._claims = []
            return [model.name]
        met: list[Model] = []
        kept_device = 0
        kept: dict[Zone, int] = {}
        for model in self._claims:
            zone, size = model.zone, model.bytes
            kept_zone = kept.get(zone, 0)
            if (
                zone.held + kept_zone + size <= zone.cap
                and self.device.held + kept_device + size <= self.device.cap
            ):
                zone.held += size
                self.device.held += size
                model.claiming = False
                met.append(model)
            else:
                kept[zone] = kept_zone + size
                kept_device += size
        if met:
            self._claims = [model for model in self._claims if model.claiming]
        return [model.name for model in met]
