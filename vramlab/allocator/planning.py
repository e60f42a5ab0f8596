"""What could be done for a request whose model is not there. Looks, and changes nothing.

In this order:

1. There is room in the model's home or in a zone that lends to its priority: load.
2. Its priority loads into free room only (admission ``free_only``): the CPU answers.
3. Victims may leave for it (:mod:`vramlab.allocator.eviction`): load, unless admission is ``compete`` and it
   is worth less than each of them.
4. It may run on the CPU: the CPU answers.
5. It may not. Then retention protects nobody from it (pressure), rules 2 and 3 do not hold it back, and if
   only models in use stand in its way it waits for them. If they do not either, it is refused.

``compete`` is worth it while the CPU answers in about the time of a load (up to 1.2 times it), the more so
the scarcer memory is, and may lose heavily beyond; so the default is ``always`` (``results/admission``).
"""

from __future__ import annotations

from vramlab.allocator.decisions import CPU, LOAD, WAIT, Kind
from vramlab.allocator.eviction import Requester
from vramlab.allocator.facts import EVICTING, Ledger, Model, Zone
from vramlab.allocator.placement import Placement
from vramlab.config.schema import Priority, VramConfig
from vramlab.config.units import bytes_to_mib


class Plan:
    """What could be done for a request whose model is not there.

    ``zone`` is where it would go, or would have gone (``outbid``: it is worth less than its victims).
    ``victims`` leave for it; with ``WAIT`` they are those that stand in its way.
    """

    __slots__ = ("kind", "model", "outbid", "reason", "victims", "zone")

    def __init__(
        self,
        kind: Kind,
        model: Model,
        victims: list[Model],
        reason: str = "",
        zone: Zone | None = None,
        outbid: bool = False,
    ) -> None:
        self.kind, self.model, self.victims = kind, model, victims
        self.reason, self.zone, self.outbid = reason, zone, outbid


class Planner:
    """Finds a place for a model, and who would have to leave it.

    Parameters
    ----------
    config : VramConfig
        Admission by priority.
    zones : dict of str to Zone
        All zones, in the order of the configuration.
    device : Ledger
        The device-wide budget.
    placement : Placement
        Where in its zone a model may lie.
    """

    def __init__(
        self, config: VramConfig, zones: dict[str, Zone], device: Ledger, placement: Placement
    ) -> None:
        self._zones = list(zones.values())
        self._device = device
        self._placement = placement
        self._retains = any(zone.retention_s for zone in self._zones)
        self._admission = {priority.rank: config.admission_for(priority) for priority in Priority}

    def free_place(self, model: Model, size: int = 0) -> Zone | None:
        """Return the first zone that has room for `model` (or `size` bytes), with nobody leaving for it."""
        device, placement = self._device, self._placement
        size = size or model.bytes
        if size > device.cap - device.committed:
            return None
        for zone in model.places:
            if zone.has_room(size) and placement.fits(model, zone):
                return zone
        return None

    def plan(self, model: Model, requester: Requester, runs: bool = True, size: int = 0) -> Plan:
        """Say what could be done for a request for a model that is absent, or leaving.

        `size` is the room that has to be free for it, where that is more than it takes (0: what it takes).
        """
        if model.state is EVICTING:
            return Plan(WAIT, model, [], "it is just being unloaded")
        zone = self.free_place(model, size)
        if zone is not None:
            return Plan(LOAD, model, [], "", zone)
        admission = self._admission[requester.rank]
        forced = not model.may_run_on_cpu
        if admission == "free_only" and not forced:
            return Plan(CPU, model, [], "loads only into free room")
        found = self._evict_for(model, requester, size)
        if found is None and forced and self._retains:
            requester.pressure = True
            found = self._evict_for(model, requester, size)
        if found is None:
            return self._without_room(model, requester, size)
        zone, victims = found
        outbid = (
            admission == "compete" and not model.gpu_only and _loses(model, zone, victims, requester.now_s)
        )
        if outbid and (model.may_run_on_cpu or not runs):
            kind = CPU if model.may_run_on_cpu else Kind.BYPASS
            return Plan(kind, model, [], "worth less than its victims", zone, True)
        # A real run needs its bytes: without a CPU to answer, the model is admitted after all.
        return Plan(LOAD, model, victims, "", zone, outbid)

    def _without_room(self, model: Model, requester: Requester, size: int) -> Plan:
        """Say what is done for a model that nobody may leave for."""
        never, forced = self._never_fits(model), not model.may_run_on_cpu
        if not never and (forced or requester.patient):
            requester.over_busy = True
            in_the_way = self._evict_for(model, requester, size)
            if in_the_way is not None:
                return Plan(WAIT, model, in_the_way[1], "models in use stand in its way")
        if forced:
            return Plan(Kind.REFUSE, model, [], never or "no room, and nothing that may leave for it")
        return Plan(CPU, model, [], never or "no room, and no victims that may leave")

    def _never_fits(self, model: Model) -> str:
        """Why `model` could not be loaded even if nothing else were on the device; empty if it could."""
        if self._device.lost:
            return self._device.lost
        size = model.bytes
        if size > self._device.cap:
            most, what = self._device.cap, "the budget is"
        else:
            for zone in model.places:
                if size <= zone.cap:
                    return ""
            largest = max(model.places, key=lambda zone: zone.cap)
            most, what = largest.cap, f"zone {largest.name} has"
        return f"can never fit: {bytes_to_mib(size):.1f} MB, and {what} {bytes_to_mib(most):.1f} MB"

    def _evict_for(self, model: Model, requester: Requester, size: int) -> tuple[Zone, list[Model]] | None:
        """Find the first zone that can make room for `model`, and the victims there; None if none can."""
        size = size or model.bytes
        for zone in model.places:
            victims = self._placement.victims(size, zone, zone is not model.home, self._zones, requester)
            if victims is not None:
                return zone, victims
        return None


def _loses(model: Model, zone: Zone, victims: list[Model], now_s: float) -> bool:
    """Whether the newcomer is worth less than every victim (admission ``compete``)."""
    own = zone.policy.bid(model, now_s)
    return all(own < victim.zone.policy.score(victim, now_s) for victim in victims)
