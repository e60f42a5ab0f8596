"""Defragmentation (specification, "Memory Defragmentation"): models are reloaded elsewhere to join holes.

A zone is too broken up once its fragmentation reaches ``defragmentation_threshold``. Which models move, and
where to, :mod:`vramlab.allocator.compaction` plans; this is the story of the moves.

The plan is carried out one model after the other, so that only one is missing at a time: it is unloaded and
loaded at its new place. Only where several stand in each other's way, some leave before. Nothing is held for
a model on its way: if a request takes its place meanwhile, it goes elsewhere in the zone, or stays away, as
if it had been evicted; and if somebody asks for the model itself, that request loads it. For the policy, a
model that was moved has just been admitted.

By itself this happens where holes matter, under ``placement: contiguous`` (``optimization.defragmentation:
auto``). Under ``paged`` no load ever fails for want of a hole, so reloading gains nothing there; ``always``
does it all the same, and so does the story ``defragment`` when it is asked for.

It is for zones with room. In a cache that is kept full, what is free is little and always broken up, and
moving costs more than it saves: the bundled forty models, contiguous, load for 1,314 s without it and for
2,124 s with it (``optimization.defragmentation: never`` there).
"""

from __future__ import annotations

from typing import Any

from vramlab.allocator.compaction import Move, Plan, plan_for
from vramlab.allocator.extents import Extent, ExtentMap
from vramlab.allocator.facts import Zone
from vramlab.engine.desk import Desk
from vramlab.engine.effects import EffectFailed, ReadMemory, Story
from vramlab.engine.loading import Loading
from vramlab.engine.notes import MONITOR

NAME = "defragment"
_WHY = "defragmentation"


def defragment(desk: Desk, loading: Loading, now_s: float) -> Story:
    """Defragment all zones that are too broken up. The value is (now_s, number of models moved)."""
    moved = 0
    allocator = desk.allocator
    threshold = desk.config.optimization.defragmentation_threshold
    for zone in allocator.zones.values():
        plan = plan_for(allocator, zone, threshold)
        if plan is not None:
            now_s, count = yield from _carry_out(desk, loading, zone, plan, now_s)
            moved += count
    return now_s, moved


def _carry_out(desk: Desk, loading: Loading, zone: Zone, plan: Plan, now_s: float) -> Story:
    """Move models. The value is (now_s, number of models moved)."""
    allocator, notes = desk.allocator, desk.notes
    extents = allocator.placement.maps[zone.name]
    before = extents.fragmentation
    now_s, used_before = yield from _used_bytes(now_s)
    size = sum(place.length for move in plan.moves for place in move.extents)
    planned = {
        "models": [move.model for move in plan.moves],
        "reload_s": plan.cost_s,
        "fragmentation": before,
        "fragmentation_planned": plan.fragmentation_after,
        "used_bytes": used_before,
    }
    place: dict[str, Any] = {"zone": zone.name, "size_bytes": size}
    notes.action(now_s, MONITOR, NAME, **place, why=f"fragmentation {before:.3f}", detail=planned)
    moved = 0
    gone: set[str] = set()
    pending = list(plan.moves)
    while pending:
        move = next((move for move in pending if _may_go(extents, move)), None)
        early = move is None
        if move is None:  # they stand in each other's way: one leaves before its place is free
            move = next((move for move in pending if move.model not in gone), pending[0])
        if move.model not in gone:
            if allocator.models[move.model].zone is not zone or allocator.unload(move.model, now_s) is None:
                pending.remove(move)  # somebody uses it now
                continue
            now_s = yield from loading.send_away(move.model, now_s, _WHY, f"to {_shown(move.extents)}")
            gone.add(move.model)
            if early:
                continue
        pending.remove(move)
        decision = allocator.reserve_at(move.model, now_s, zone, move.extents)
        if decision is None:
            continue  # a request has loaded it already, or has taken its room
        notes.decision(_WHY, now_s, decision)
        now_s, failure = yield from loading.load_for(NAME, decision, now_s, _WHY, pinned=False)
        moved += failure is None
    now_s, used_after = yield from _used_bytes(now_s)
    after = extents.fragmentation
    done = {"moved": moved, "fragmentation": after, "used_bytes": used_after}
    notes.action(now_s, MONITOR, "defragmented", **place, why=f"fragmentation {after:.3f}", detail=done)
    return now_s, moved


def _may_go(extents: ExtentMap, move: Move) -> bool:
    """Whether the new place of a model is free, but for the model itself."""
    return not any(
        there.overlaps(place)
        for name, places in extents.placed.items()
        if name != move.model
        for there in places
        for place in move.extents
    )


def _used_bytes(now_s: float) -> Story:
    """What the device says is used; None if it cannot say. The value is (now_s, bytes)."""
    try:
        now_s, reading = yield ReadMemory()
    except EffectFailed as failure:
        return failure.now_s, None
    return now_s, reading.used_bytes


def _shown(extents: tuple[Extent, ...]) -> str:
    return ", ".join(f"{extent.offset}+{extent.length}" for extent in extents)
