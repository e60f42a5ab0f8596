"""The allocator with a map: each model has its place in its zone (:mod:`vramlab.allocator.extents`).

``placement: paged`` (default): a model may be spread over holes, as CUDA's virtual memory allows. The map
then decides nothing. It is kept at loads and unloads; hits do not touch it. A model is placed when it gets
its bytes, so what is still leaving is in nobody's way.

``placement: contiguous``: a model must fit in one hole. More rules hold then:

1. A place is chosen with the decision to load and kept for the model from then on. It may overlap models
   that are leaving: the load gets its bytes once these are gone, beside all else that a claim waits for.
2. A model needs no victims where its zone has room, and a hole that takes it whole once everything that is
   leaving has left.
3. Victims are taken in the usual order (guests first, then as the policy ranks) until they and the holes
   beside them make one hole that is large enough. Then those that it can do without are spared, the most
   valuable first; ``scoring.victims`` makes no difference. It is not always the cheapest set.
4. If no hole would do even with all candidates gone, there are no victims at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Literal, NamedTuple, overload

from vramlab.allocator.allocator import Allocator
from vramlab.allocator.eviction import Requester, Shortage, candidates, giving_zones
from vramlab.allocator.extents import Extent, ExtentMap
from vramlab.allocator.facts import Decision, Model, Zone
from vramlab.allocator.states import State
from vramlab.config.schema import Inventory, VramConfig


class Block(NamedTuple):
    """One piece of a memory map: an extent of a model, or a hole (`model` is None)."""

    zone: str
    model: str | None
    offset_bytes: int
    size_bytes: int


class PlacedAllocator(Allocator):
    """An allocator that knows where in its zone each model lies.

    Parameters are those of :class:`~vramlab.allocator.Allocator`.
    """

    def __init__(self, config: VramConfig, inventory: Inventory) -> None:
        super().__init__(config, inventory)
        self.maps = {name: ExtentMap(zone.cap) for name, zone in self.zones.items()}
        self._wanted: tuple[Extent, ...] = ()  # where the next load goes if it can

    def layout(self) -> list[Block]:
        """The memory map: all extents and holes of all zones, by zone and offset.

        Under ``contiguous`` placement it is the map that will be once everything under way has ended.
        """
        blocks = []
        for zone, extents in self.maps.items():
            pieces: list[tuple[Extent, str | None]] = [(hole, None) for hole in extents.holes]
            pieces += [(extent, name) for name, places in extents.placed.items() for extent in places]
            blocks += [Block(zone, name, *extent) for extent, name in sorted(pieces, key=lambda p: p[0])]
        return blocks

    def fragmentation(self) -> dict[str, float]:
        """Of each zone: 1 - largest hole / all that is free."""
        return {zone: extents.fragmentation for zone, extents in self.maps.items()}

    def reserve_at(self, name: str, now_s: float, zone: Zone, extents: tuple[Extent, ...]) -> Decision | None:
        """Load a model at that place of that zone, or else where it fits in the zone; None if it does not.

        For models that are moved: it counts as no use, and the time of the last one stays.
        """
        model = self.model(name)
        if model.state is not State.ABSENT or not self._fits(model, zone):
            return None
        if zone.slots is not None and zone.slots <= 0:
            return None
        # it may have turned out larger while it was unloaded, and then that place is none for it
        self._wanted = extents if sum(extent.length for extent in extents) == model.bytes else ()
        try:
            return self._begin_load(model, zone, [], now_s, uses=model.uses, pin=False)
        finally:
            self._wanted = ()

    def settle(self, decision: Decision, now_s: float) -> None:
        """Let a load and its evictions end at once."""
        for victim in decision.victims:
            self.unloaded(victim)
        self.loaded(decision.model, now_s)

    def load_failed(self, name: str) -> list[str]:
        """The load has failed: its place is free again."""
        model = self.model(name)
        if model.state is State.LOADING:
            self._clear(model)
        return super().load_failed(name)

    # -- what differs ------------------------------------------------------------------------------------

    def _fits(self, model: Model, zone: Zone) -> bool:
        return model.bytes <= min(zone.room, self.device.room)

    def _gone(self, model: Model) -> None:
        super()._gone(model)
        self._clear(model)

    def _clear(self, model: Model) -> None:
        extents = self.maps[model.zone.name]
        if model.name in extents.placed:
            extents.remove(model.name)

    def _begin_load(
        self, model: Model, zone: Zone, victims: list[Model], now_s: float, uses: int, pin: bool
    ) -> Decision:
        decision = super()._begin_load(model, zone, victims, now_s, uses, pin)
        if not model.claiming:
            self._place([model])
        return decision

    def _meet_claims(self) -> list[str]:
        met = super()._meet_claims()
        self._place([self.models[name] for name in met])
        return met

    def _place(self, models: list[Model]) -> None:
        """Give a place to models that have their bytes now, if they have none yet."""
        for model in models:
            extents = self.maps[model.zone.name]
            if model.name in extents.placed:
                continue
            if self._wanted and extents.is_free(self._wanted):
                extents.place_at(model.name, self._wanted)
            else:
                extents.place_paged(model.name, model.bytes)


class ContiguousAllocator(PlacedAllocator):
    """An allocator under which every model lies in one piece."""

    def __init__(self, config: VramConfig, inventory: Inventory) -> None:
        super().__init__(config, inventory)
        self._leaving: dict[
            Model, Extent
        ] = {}  # models that are leaving, whose place may be promised already

    def place_of(self, model: Model) -> Extent:
        """Where a model lies, or will lie once it has its bytes."""
        if model in self._leaving:
            return self._leaving[model]
        return self.maps[model.zone.name].placed[model.name][0]

    # -- what differs ------------------------------------------------------------------------------------

    def _fits(self, model: Model, zone: Zone) -> bool:
        return super()._fits(model, zone) and model.bytes <= self.maps[zone.name].largest

    def _free_place(self, model: Model) -> Zone | None:
        for zone in self._places[model]:
            if self._fits(model, zone) and (zone.max_models is None or zone.count < zone.max_models):
                return zone
        return None

    def _evict_for(self, model: Model, requester: Requester) -> tuple[Zone, list[Model]] | None:
        for zone in self._places[model]:
            victims = self._victims(model, zone, requester)
            if victims is not None:
                return zone, victims
        return None

    def _victims(self, model: Model, zone: Zone, requester: Requester) -> list[Model] | None:
        size, extents, guest = model.bytes, self.maps[zone.name], zone is not model.home
        short = Shortage(size, zone, self.device)

        def enough(victims: list[Model]) -> bool:
            here = [victim for victim in victims if victim.zone is zone]
            return (
                len(here) >= short.slots
                and sum(victim.bytes for victim in here) >= short.zone
                and extents.largest_without(victim.name for victim in here) >= size
            )

        def enough_everywhere(victims: list[Model]) -> bool:
            return sum(victim.bytes for victim in victims) >= short.device and enough(victims)

        victims = _until(enough, [], candidates(zone, guest, requester))
        if victims is None:
            return None
        others = chain.from_iterable(
            candidates(other, other is not zone or guest, requester)
            for other in giving_zones(self.zones.values(), zone, short)
        )
        victims = _until(enough_everywhere, victims, others)
        return None if victims is None else _spared(enough_everywhere, victims)

    def _begin_load(
        self, model: Model, zone: Zone, victims: list[Model], now_s: float, uses: int, pin: bool
    ) -> Decision:
        for victim in victims:
            self._begin_eviction(victim, evicted=True)
        extents = self.maps[zone.name]
        if self._wanted and extents.is_free(self._wanted):
            extents.place_at(model.name, self._wanted)
        else:
            extents.place_whole(model.name, model.bytes)
        decision = super()._begin_load(model, zone, [], now_s, uses, pin)
        if not model.claiming and not self._clear_of_leaving(model):
            # there are bytes enough, but those of its place are not back yet
            zone.held -= model.bytes
            self.device.held -= model.bytes
            model.claiming = True
            self._claims.append(model)
        return decision._replace(victims=tuple(victim.name for victim in victims))

    def _begin_eviction(self, model: Model, evicted: bool) -> None:
        super()._begin_eviction(model, evicted)
        (self._leaving[model],) = self.maps[model.zone.name].remove(model.name)

    def _clear(self, model: Model) -> None:
        if self._leaving.pop(model, None) is None:
            super()._clear(model)

    def _clear_of_leaving(self, model: Model) -> bool:
        place = self.place_of(model)
        return not any(
            other.zone is model.zone and extent.overlaps(place) for other, extent in self._leaving.items()
        )

    def _meet_claims(self) -> list[str]:
        met, device, kept_device = [], self.device, 0
        kept: dict[Zone, int] = {}
        for model in self._claims:
            zone, size, kept_zone = model.zone, model.bytes, kept.get(model.zone, 0)
            if (
                zone.held + kept_zone + size <= zone.cap
                and device.held + kept_device + size <= device.cap
                and self._clear_of_leaving(model)
            ):
                zone.held += size
                device.held += size
                model.claiming = False
                met.append(model.name)
            else:
                kept[zone] = kept_zone + size
                kept_device += size
        self._claims = [model for model in self._claims if model.claiming]
        return met


@overload
def make_allocator(
    config: VramConfig, inventory: Inventory, mapped: Literal[True] = True
) -> PlacedAllocator: ...
@overload
def make_allocator(config: VramConfig, inventory: Inventory, mapped: Literal[False]) -> Allocator: ...
def make_allocator(config: VramConfig, inventory: Inventory, mapped: bool = True) -> Allocator:
    """The allocator for the placement that the configuration asks for.

    Parameters
    ----------
    config, inventory
        As for :class:`~vramlab.allocator.Allocator`.
    mapped : bool
        Keep a map even where it decides nothing. Without it, millions of decisions are cheaper.
    """
    if config.placement == "contiguous":
        return ContiguousAllocator(config, inventory)
    return PlacedAllocator(config, inventory) if mapped else Allocator(config, inventory)


def _until(
    enough: Callable[[list[Model]], bool], victims: list[Model], candidates: Iterable[Model]
) -> list[Model] | None:
    """`victims` and as many more candidates as it takes; None if all together are not enough."""
    chosen = list(victims)
    if enough(chosen):
        return chosen
    for model in candidates:
        if model not in chosen:
            chosen.append(model)
            if enough(chosen):
                return chosen
    return None


def _spared(enough: Callable[[list[Model]], bool], victims: list[Model]) -> list[Model]:
    """`victims` without those that the others make unnecessary, the most valuable spared first."""
    needed = list(victims)
    for model in reversed(victims):
        without = [other for other in needed if other is not model]
        if enough(without):
            needed = without
    return needed
