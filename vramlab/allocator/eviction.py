"""Choosing victims: first all of them, then evict, and nobody in vain.

Rules that must hold (DESIGN, "Eviction"):

1. If the candidates together do not free enough, there are no victims at all.
2. Space that is already free counts.
3. Guests of a zone leave before its own models; within both, the zone's policy gives the order.
4. Never victims: critical models, models in use or being loaded, models inside the minimum retention
   (unless under pressure), models of a zone whose policy is ``never``, and models of higher priority than
   the requester where the zone is ``reluctant_lru`` or the requester would be a guest.
5. A model that requests wait for (``wanted``) leaves for nobody but a request with a place before theirs
   that is entitled to it (``turn``), and after all others: first the one that is needed last.
6. A shortage of the zone is met in the zone. What is then still short on the device is taken from all
   zones, the willing ones first and the requester's own before others.

How the set is chosen (``scoring.victims``): ``in_order`` takes them in that order until it is enough;
``pruned`` then drops those that the others make unnecessary, the last to leave first; ``exact`` takes, for
each step of rules 3, 5 and 6 from the last to be touched to the first, the set of the least total score that
frees what the steps before it cannot free (a tie goes to the set that frees more). With one zone without
guests, that is the least total score of all. With more candidates than :mod:`vramlab.allocator.exact` takes
on, ``exact`` is ``pruned``. It is refused for the greedy-dual family, whose values do not add up, and means
little where a score is a time (``lru``): ``results/victim_sets``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import Literal

from vramlab.allocator.exact import cheapest_cover
from vramlab.allocator.facts import Model, Turn, Zone
from vramlab.allocator.states import RESIDENT

Choice = Literal["in_order", "pruned", "exact"]


class Shortage:
    """What is missing for a load: bytes and slots in its zone, bytes on the device."""

    __slots__ = ("device", "slots", "zone")

    def __init__(self, size: int, zone: Zone) -> None:
        device = zone.device
        self.zone = size - zone.cap + zone.committed
        self.device = size - device.cap + device.committed
        self.slots = 0 if zone.max_models is None else zone.count + 1 - zone.max_models

    @property
    def none(self) -> bool:
        """Whether nothing is missing."""
        return self.zone <= 0 and self.device <= 0 and self.slots <= 0


class Requester:
    """Who asks for room, and what that entitles to."""

    __slots__ = ("now_s", "over_busy", "pressure", "rank")

    turn: Turn | None = None  # models that are wanted later than this may leave; None: no wanted model may
    patient: bool = False  # would rather wait for models in use than go to the CPU
    heedless: bool = False  # models that are wanted later leave as if nobody wanted them

    def __init__(self, rank: int, now_s: float, pressure: bool = False, over_busy: bool = False) -> None:
        self.rank = rank
        self.now_s = now_s
        self.pressure = pressure  # retention does not protect
        self.over_busy = over_busy  # pretend that models in use, or wanted, may go: would waiting help?


class WaitingRequester(Requester):
    """One who has waited, and may be entitled to more; apart, as a miss in decide mode needs none of it."""

    __slots__ = ("heedless", "patient", "turn")

    def __init__(self, rank: int, now_s: float, turn: Turn | None, patient: bool, heedless: bool) -> None:
        super().__init__(rank, now_s)
        self.turn, self.patient, self.heedless = turn, patient, heedless


def choose_victims(
    size: int,
    zone: Zone,
    guest: bool,
    zones: Iterable[Zone],
    requester: Requester,
    choice: Choice,
) -> list[Model] | None:
    """Victims that make room for a load of `size` bytes in `zone`.

    Parameters
    ----------
    size : int
        Footprint of the newcomer, bytes.
    zone : Zone
        Where it is to be placed; `guest` says that this is not its home.
    zones : iterable of Zone
        All zones, for a shortage of the device.
    requester : Requester
        Priority, time and rights.
    choice : {"in_order", "pruned", "exact"}
        How the set is chosen, see above.

    Returns
    -------
    list of Model or None
        Empty if there is room already; None if the candidates do not free enough.
    """
    short = Shortage(size, zone)
    if short.zone > zone.idle and not requester.over_busy:
        return None  # nor would all of them be enough
    if choice == "exact" and not short.none:
        cheapest = _cheapest(short, zone, guest, giving_zones(zones, zone, short), requester)
        if cheapest is not None:
            return cheapest
    victims: list[Model] = []
    freed_here = freed = 0
    if short.zone > 0 or short.slots > 0:
        for model in candidates(zone, guest, requester):
            victims.append(model)
            freed_here += model.bytes
            if freed_here >= short.zone and len(victims) >= short.slots:
                break
        else:
            return None
        freed = freed_here
    if freed < short.device:
        taken = set(victims)
        willing = giving_zones(zones, zone, short)
        for model in chain.from_iterable(candidates(z, z is not zone or guest, requester) for z in willing):
            if model in taken:
                continue
            victims.append(model)
            freed += model.bytes
            if freed >= short.device:
                break
        else:
            return None
    return victims if choice == "in_order" or len(victims) == 1 else _pruned(victims, zone, short)


def giving_zones(zones: Iterable[Zone], zone: Zone, short: Shortage) -> list[Zone]:
    """Zones that may have to give, the willing ones first and the requester's own before others."""
    if short.device <= 0:
        return [zone]
    return sorted(zones, key=lambda other: (other.reluctant, other is not zone))


def _pruned(victims: list[Model], zone: Zone, short: Shortage) -> list[Model]:
    """Drop victims that the others make unnecessary, the most valuable first."""
    here = count_here = everywhere = 0
    for model in victims:
        everywhere += model.bytes
        if model.zone is zone:
            here += model.bytes
            count_here += 1
    needed = []
    for model in reversed(victims):
        in_zone = model.zone is zone
        here_without = here - model.bytes if in_zone else here
        count_without = count_here - 1 if in_zone else count_here
        if (
            here_without >= short.zone
            and count_without >= short.slots
            and everywhere - model.bytes >= short.device
        ):
            here, count_here, everywhere = here_without, count_without, everywhere - model.bytes
        else:
            needed.append(model)
    needed.reverse()
    return needed


def _cheapest(
    short: Shortage, zone: Zone, guest: bool, willing: list[Zone], requester: Requester
) -> list[Model] | None:
    """The victims of ``exact``; None if there are too few candidates, or too many."""
    steps = [
        list(models)
        for other in willing
        for _, models in groupby(candidates(other, other is not zone or guest, requester), key=_step)
    ]
    here = [models[0].zone is zone for models in steps]
    sizes = [sum(model.bytes for model in models) for models in steps]
    sizes_here = [size if is_here else 0 for size, is_here in zip(sizes, here, strict=True)]
    victims: list[Model] = []
    freed = freed_here = count_here = 0
    for i in reversed(range(len(steps))):
        needed = short.device - freed - sum(sizes[:i])
        if here[i]:
            needed = max(needed, short.zone - freed_here - sum(sizes_here[:i]))
            if short.slots > count_here and not any(here[:i]):
                needed = max(needed, 1)  # any one of them makes a slot
        models = steps[i]
        scores = [model.zone.policy.score(model, requester.now_s) for model in models]
        cover = cheapest_cover(scores, [model.bytes for model in models], needed)
        if cover is None:
            return None
        chosen = [models[k] for k in cover]
        victims = chosen + victims
        freed += sum(model.bytes for model in chosen)
        if here[i]:
            freed_here += sum(model.bytes for model in chosen)
            count_here += len(chosen)
    if freed < short.device or freed_here < short.zone or count_here < short.slots:
        return None
    return _pruned(victims, zone, short)


def candidates(zone: Zone, guest: bool, requester: Requester) -> Iterator[Model]:
    """Models of `zone` that may leave for `requester`, the first to leave first."""
    if zone.never:
        return
    now_s, rank = requester.now_s, requester.rank
    outranks = zone.reluctant or guest
    retention_s = 0.0 if requester.pressure else zone.retention_s
    ranked: Iterable[Model] = zone.policy.ranked(now_s)
    if zone.guests:
        ranked = sorted(ranked, key=_is_own)  # a stable sort: the policy's order within both
    over_busy, turn, heedless = requester.over_busy, requester.turn, requester.heedless
    wanted: list[tuple[Turn, Model]] = []
    for model in ranked:
        place = model.wanted  # asked first: where many wait, most are
        if place is not None and not over_busy and (turn is None or place <= turn):
            continue
        if model.critical or (outranks and model.rank < rank):
            continue
        if model.state is not RESIDENT:
            if not over_busy:  # those that are leaving are not ranked any more
                continue
        elif retention_s and now_s - model.loaded_at_s < retention_s:
            continue
        if place is None or heedless:
            yield model
        else:
            wanted.append((place, model))
    if wanted:
        wanted.sort(key=itemgetter(0), reverse=True)
        yield from map(itemgetter(1), wanted)


def _step(model: Model) -> tuple[bool, bool]:
    return model.wanted is not None, not model.guest


def _is_own(model: Model) -> bool:
    return not model.guest
