"""Where in its zone a model lies: nowhere in particular, in pages, or in one piece.

An allocator is composed with one of these, and tells it what has happened to a model's bytes.

``Unmapped``: no map is kept. For millions of decisions at once.

``Paged`` (``placement: paged``, the default): a model may be spread over holes, as CUDA's virtual memory
allows. The map then decides nothing. It is kept at loads and unloads; hits do not touch it. A model is placed
when it gets its bytes, so what is still leaving is in nobody's way.

``Contiguous`` (``placement: contiguous``): a model must fit in one hole. More rules hold then:

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

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from vramlab.allocator.eviction import (
    Choice,
    Requester,
    Shortage,
    candidates,
    choose_victims,
    giving_zones,
)
from vramlab.allocator.extents import Extent, ExtentMap
from vramlab.allocator.facts import Model, Zone


class Block(NamedTuple):
    """One piece of a memory map: an extent of a model, or a hole (`model` is None)."""

    zone: str
    model: str | None
    offset_bytes: int
    size_bytes: int


class Maps(dict[str, ExtentMap]):
    """The map of each zone, by the zone's name."""

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        super().__init__({zone.name: ExtentMap(zone.cap) for zone in zones})

    def layout(self) -> list[Block]:
        """List all extents and holes of all zones, by zone and offset.

        Under ``contiguous`` placement it is the map that will be once everything under way has ended.
        """
        blocks = []
        for zone, extents in self.items():
            pieces: list[tuple[Extent, str | None]] = [(hole, None) for hole in extents.holes]
            pieces += [(extent, name) for name, places in extents.placed.items() for extent in places]
            blocks += [Block(zone, name, *extent) for extent, name in sorted(pieces, key=lambda p: p[0])]
        return blocks

    def fragmentation(self) -> dict[str, float]:
        """Of each zone: 1 - largest hole / all that is free."""
        return {zone: extents.fragmentation for zone, extents in self.items()}


class Placement:
    """What an allocator asks of a placement, and tells it; of itself it keeps no map.

    Attributes
    ----------
    maps : Maps
        The map of each zone; empty where none is kept.
    in_one_piece : bool
        Whether every model lies in one extent, chosen with the decision to load.
    aim : tuple of Extent
        Where the next model is placed if these bytes are free; empty for best fit.
    """

    in_one_piece = False

    def __init__(self, zones: Iterable[Zone], choice: Choice) -> None:
        self.maps = Maps()
        self.aim: tuple[Extent, ...] = ()
        self._choice = choice

    def victims(
        self, size: int, zone: Zone, guest: bool, zones: Sequence[Zone], requester: Requester
    ) -> list[Model] | None:
        """Choose who leaves for a load of so many bytes, as :func:`.eviction.choose_victims` does."""
        return choose_victims(size, zone, guest, zones, requester, self._choice)

    def fits(self, model: Model, zone: Zone) -> bool:
        """Whether there is a place for `model` in a zone that has room for its bytes."""
        return True

    def promised(self, model: Model) -> None:
        """Hear that a load is decided."""

    def may_have(self, model: Model) -> bool:
        """Whether a model that was promised its bytes may have them, as far as its place is concerned."""
        return True

    def granted(self, model: Model) -> None:
        """Hear that a model has its bytes."""

    def reclaimed(self, model: Model) -> None:
        """Hear that a model is leaving."""

    def released(self, model: Model) -> None:
        """Hear that a model has left, or that its load has failed."""


class Unmapped(Placement):
    """Keeps no map: a model lies nowhere in particular."""


class Paged(Placement):
    """Keeps a map in which a model may be spread over holes."""

    def __init__(self, zones: Iterable[Zone], choice: Choice) -> None:
        super().__init__(zones, choice)
        self.maps = Maps(zones)

    def granted(self, model: Model) -> None:
        extents = self.maps[model.zone.name]
        if self.aim and extents.is_free(self.aim):
            extents.place_at(model.name, self.aim)
        else:
            extents.place_paged(model.name, model.bytes)

    def released(self, model: Model) -> None:
        self.maps[model.zone.name].discard(model.name)  # a load that failed may have had no bytes yet


class Contiguous(Placement):
    """Keeps a map in which every model lies in one piece, and chooses victims by the holes they leave."""

    in_one_piece = True

    def __init__(self, zones: Iterable[Zone], choice: Choice) -> None:
        super().__init__(zones, choice)
        self.maps = Maps(zones)
        self.leaving: dict[Model, Extent] = {}  # whose place may be promised already

    def place_of(self, model: Model) -> Extent:
        """Where a model lies, or will lie once it has its bytes."""
        if model in self.leaving:
            return self.leaving[model]
        return self.maps[model.zone.name].placed[model.name][0]

    def fits(self, model: Model, zone: Zone) -> bool:
        return model.bytes <= self.maps[zone.name].largest

    def promised(self, model: Model) -> None:
        extents = self.maps[model.zone.name]
        if self.aim and extents.is_free(self.aim):
            extents.place_at(model.name, self.aim)
        else:
            extents.place_whole(model.name, model.bytes)

    def may_have(self, model: Model) -> bool:
        place = self.place_of(model)
        return not any(
            other.zone is model.zone and extent.overlaps(place) for other, extent in self.leaving.items()
        )

    def reclaimed(self, model: Model) -> None:
        (self.leaving[model],) = self.maps[model.zone.name].remove(model.name)

    def released(self, model: Model) -> None:
        if self.leaving.pop(model, None) is None:
            self.maps[model.zone.name].remove(model.name)

    def victims(
        self, size: int, zone: Zone, guest: bool, zones: Sequence[Zone], requester: Requester
    ) -> list[Model] | None:
        """Choose victims whose places, and the holes beside them, make one hole of `size` bytes."""
        extents = self.maps[zone.name]
        short = Shortage(size, zone)

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
            for other in giving_zones(zones, zone, short)
        )
        victims = _until(enough_everywhere, victims, others)
        return None if victims is None else _spared(enough_everywhere, victims)


def _until(
    enough: Callable[[list[Model]], bool], victims: list[Model], candidates: Iterable[Model]
) -> list[Model] | None:
    """Add to `victims` as many more candidates as it takes; None if all together are not enough."""
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
    """Spare the victims that the others make unnecessary, the most valuable first."""
    needed = list(victims)
    for model in reversed(victims):
        without = [other for other in needed if other is not model]
        if enough(without):
            needed = without
    return needed
