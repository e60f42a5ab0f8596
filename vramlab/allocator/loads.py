"""Loads and evictions: how a decision is carried out.

A load whose victims are still leaving holds no bytes yet: it has a *claim*, which their unloading turns into
bytes, in the order of the claims. A later claim may pass an earlier one only if it leaves the earlier one's
bytes alone, so nobody starves. Rules that must hold:

1. States and bytes change through the verbs of :class:`.facts.Zone` and :class:`.facts.Model` alone.
2. A policy hears of each model that comes and goes, a placement of each whose bytes come and go.
3. This file decides nothing: who is loaded, where, and who leaves for it is said from above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vramlab.allocator.facts import ABSENT, Ledger, Model, Zone
from vramlab.allocator.placement import Placement


class Loads:
    """Loads and evictions that take time.

    Parameters
    ----------
    zones : sequence of Zone
        All zones.
    device : Ledger
        The device-wide budget.
    placement : Placement
        Where in its zone a model may lie.

    Attributes
    ----------
    there : dict
        Models that are coming, there or leaving: an inventory may have a thousand times as many.
    on_moved : callable
        Called with a model that somebody waits for when it begins to come or to leave.
    """

    def __init__(self, zones: Sequence[Zone], device: Ledger, placement: Placement) -> None:
        self.on_moved: Callable[[Model], object] = _nobody_hears
        self._zones, self._device, self._placement = zones, device, placement
        self.claims: list[Model] = []
        self.there: dict[Model, None] = {}
        self._learned: dict[Model, int] = {}  # footprints of models that are on the device with less

    def begin(
        self, model: Model, zone: Zone, victims: list[Model], now_s: float, uses: int, pin: bool
    ) -> None:
        """Begin to load `model` into `zone` and to send its victims away."""
        model.uses = uses
        model.loaded_at_s = now_s
        for victim in victims:
            self.evict(victim)
        zone.promise(model)
        self.there[model] = None
        if model.wanted is not None:
            self.on_moved(model)
        model.pins = int(pin)
        self._placement.promised(model)
        zone.policy.admitted(model, now_s)
        if not self.claims and zone.has_bytes(model.bytes) and self._placement.may_have(model):
            self._grant(model)
        else:
            self.claims.append(model)
            # in one piece, a place may be clear of the victims, who may leave from elsewhere
            if not victims or self._placement.in_one_piece:
                self.meet_claims()

    def evict(self, model: Model, evicted: bool = True) -> None:
        """Begin to send `model` away, as a victim or (`evicted` false) by command."""
        model.zone.reclaim(model)
        if model.wanted is not None:
            self.on_moved(model)
        self._placement.reclaimed(model)
        model.zone.policy.removed(model, evicted)

    def failed(self, model: Model) -> list[str]:
        """Take back what the load of `model` has got. Returns models whose claims are met by that."""
        if model.claiming:
            self.claims.remove(model)
        model.zone.cancel(model)
        del self.there[model]
        self._placement.released(model)
        model.zone.policy.removed(model, False)
        self._apply_learned(model)
        return self.meet_claims()

    def unloaded(self, model: Model) -> list[str]:
        """Take back the bytes of `model`, which has left. Returns models whose claims are met by that."""
        model.zone.release(model)
        del self.there[model]
        self._placement.released(model)
        if self._learned:
            self._apply_learned(model)
        return self.meet_claims()

    def grow(self, model: Model, footprint_bytes: int) -> bool:
        """Let later loads of `model` reserve so many bytes. Returns whether this is news."""
        largest = max(zone.cap for zone in model.places)
        footprint_bytes = min(footprint_bytes, self._device.cap, largest)
        if footprint_bytes <= max(model.bytes, self._learned.get(model, 0)):
            return False
        self._learned[model] = footprint_bytes
        self._apply_learned(model)
        return True

    def meet_claims(self) -> list[str]:
        """Turn claims into bytes, in their order, as far as there is room beside earlier claims."""
        met: list[str] = []
        if not self.claims:
            return met
        kept_device = 0
        kept: dict[Zone, int] = {}
        for model in self.claims:
            zone, size = model.zone, model.bytes
            kept_zone = kept.get(zone, 0) if kept else 0
            if zone.has_bytes(size, kept_zone, kept_device) and self._placement.may_have(model):
                self._grant(model)
                met.append(model.name)
            else:
                kept[zone] = kept_zone + size
                kept_device += size
        if met:
            self.claims = [model for model in self.claims if model.claiming]
        return met

    def _grant(self, model: Model) -> None:
        model.zone.grant(model)
        self._placement.granted(model)

    def _apply_learned(self, model: Model) -> None:
        if model.state is ABSENT and model in self._learned:
            model.bytes = self._learned.pop(model)
            for zone in self._zones:
                zone.policy.grown(model)


def _nobody_hears(model: Model) -> None: ...


class AtOnce(Loads):
    """Loads and evictions that take no time (decide mode): half the time of a miss."""

    def begin(
        self, model: Model, zone: Zone, victims: list[Model], now_s: float, uses: int, pin: bool
    ) -> None:
        model.uses = uses
        model.loaded_at_s = now_s
        for victim in victims:
            victim.zone.policy.removed(victim, True)
            victim.zone.expel(victim)
        zone.admit(model)
        zone.policy.admitted(model, now_s)

    def evict(self, model: Model, evicted: bool = True) -> None:
        model.zone.policy.removed(model, evicted)
        model.zone.expel(model)
