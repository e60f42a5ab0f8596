"""What must hold of an allocator after each of its calls, whatever came before.

Tests call :func:`check` after each step; it recounts everything from the models and believes no ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from vramlab.allocator.allocator import Allocator
from vramlab.allocator.facts import ABSENT, EVICTING, IN_USE, LOADING, RESIDENT, STAYING, Ledger, Model, Zone
from vramlab.allocator.placement import Contiguous


class InvariantBroken(AssertionError):
    """The allocator has broken one of its own rules."""


def check(allocator: Allocator) -> None:
    """Check all rules.

    Raises
    ------
    InvariantBroken
        With the rule that broke, and where.
    """
    models = list(allocator.models.values())
    everywhere = [model for model in models if model.state is not ABSENT]
    _check_ledger(allocator.device, everywhere)
    listed = set(allocator.there)
    _rule(allocator.instant or listed == set(everywhere), f"{listed} are called there, not {everywhere}")
    for zone in allocator.zones.values():
        there = [model for model in models if model.zone is zone and model.state is not ABSENT]
        staying = [model for model in there if model.state in STAYING]
        guests = [model for model in staying if model.home is not zone]
        _check_ledger(zone, there)
        _rule(zone.count == len(staying), f"{zone.name} counts {zone.count} models, has {len(staying)}")
        _rule(zone.guests == len(guests), f"{zone.name} counts {zone.guests} guests, has {len(guests)}")
        _rule(
            zone.max_models is None or zone.count <= zone.max_models,
            f"{zone.name} has {zone.count} models, max_models is {zone.max_models}",
        )
        for guest in guests:
            _rule(guest.priority in zone.borrowers, f"{guest} is a guest where its priority may not borrow")
    for name in allocator.placement.maps:
        _check_map(allocator, allocator.zones[name])
    for model in models:
        _check_model(model)
    for zone in allocator.zones.values():
        idle = sum(model.bytes for model in models if model.zone is zone and model.state is RESIDENT)
        _rule(zone.idle == idle, f"{zone.name} says that {zone.idle} bytes are idle, it is {idle}")
    waiting = [model for model in models if model.claiming]
    claims = allocator.claims
    _rule(
        len(claims) == len(waiting) and set(claims) == set(waiting), f"the claims are {claims}, not {waiting}"
    )


def _check_ledger(ledger: Ledger, there: Iterable[Model]) -> None:
    """Held bytes are those of the models there; claims can be met from what is free and what is leaving."""
    held = leaving = claimed = 0
    for model in there:
        if model.claiming:
            claimed += model.bytes
        else:
            held += model.bytes
            leaving += model.bytes if model.state is EVICTING else 0
    name = ledger.name
    _rule(ledger.held == held, f"{name} says that {ledger.held} bytes are held, its models hold {held}")
    _rule(held <= ledger.limit, f"{name} holds {held} bytes, its limit is {ledger.limit}")
    free = ledger.limit - held
    _rule(claimed <= free + leaving, f"{name} owes {claimed} bytes, {free} are free and {leaving} leaving")
    committed = held - leaving + claimed
    _rule(
        ledger.committed == committed,
        f"{name} says that {ledger.committed} bytes are committed, it is {committed}",
    )


def _check_map(allocator: Allocator, zone: Zone) -> None:
    """Extents agree with the ledger: no byte twice, none lost, and all of a model's in its zone."""
    placement = allocator.placement
    extents = placement.maps[zone.name]
    pieces = [*extents.holes, *(extent for places in extents.placed.values() for extent in places)]
    end = 0
    for piece in sorted(pieces):
        _rule(piece.offset == end and piece.length > 0, f"{zone.name}: {piece}, the one before ends at {end}")
        end = piece.end
    _rule(end == zone.cap, f"{zone.name}: its map ends at {end}, it has {zone.cap} bytes")
    starts = {hole.offset for hole in extents.holes}
    _rule(all(hole.end not in starts for hole in extents.holes), f"{zone.name} has holes that touch")
    contiguous = placement.in_one_piece
    there = [model for model in allocator.models.values() if model.zone is zone]
    if contiguous:
        placed = [model for model in there if model.state in STAYING]
    else:
        placed = [model for model in there if model.state is not ABSENT and not model.claiming]
    _rule({model.name for model in placed} == set(extents.placed), f"{zone.name}: {extents.placed}")
    for model in placed:
        places = extents.placed[model.name]
        _rule(sum(place.length for place in places) == model.bytes, f"{model} lies in {places}")
        _rule(len(places) == 1 or not contiguous, f"{model} lies in {len(places)} pieces")
    if isinstance(placement, Contiguous):
        holding = [model for model in there if model.state is not ABSENT and not model.claiming]
        taken = sorted(placement.place_of(model) for model in holding)
        for one, next_one in pairwise(taken):
            _rule(one.end <= next_one.offset, f"{zone.name}: {one} and {next_one} overlap")


def _check_model(model: Model) -> None:
    """A model's state and its account agree."""
    state, pins = model.state, model.pins
    _rule(not model.claiming or state is LOADING, f"{model} has a claim without being loaded")
    _rule(pins >= 0, f"{model} has {pins} pins")
    _rule(state is not IN_USE or pins > 0, f"{model} is in use without a pin")
    _rule(state in (IN_USE, LOADING) or pins == 0, f"{model} has {pins} pins")
    _rule(state is ABSENT or model.guest == (model.zone is not model.home), f"{model}: guest or not?")


def _rule(holds: bool, rule: str) -> None:
    if not holds:
        raise InvariantBroken(rule)
