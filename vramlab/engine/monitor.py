"""The monitor and optimiser of the specification ("Memory Monitoring and Optimization"), as a story.

Every ``monitoring_interval`` the device is read, and then, in this order:

1. Memory that others took is no longer ours: the allocator's budget shrinks by it, and grows back with it.
2. Optimisation: utilisation above ``optimization_threshold`` sends away models of low or medium priority that
   nobody asked for during ``unused_after_s``, the largest first.
3. Pressure: with less than ``pressure_available_mb`` available, models leave by score until that much is.
   Retention protects nobody then. Critical models and models in use stay.

Of the overhead, context and framework are taken; the buffer is what stays free, and what pressure defends. So
a cache that is full as planned is not under pressure, and one on a device that shrank is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramlab.allocator.relief import unused_models
from vramlab.config.units import mib_to_bytes
from vramlab.engine.effects import MemoryReading, ReadMemory, Story

if TYPE_CHECKING:
    from vramlab.engine.serving import Engine


def monitor(engine: Engine, now_s: float) -> Story:
    """Read the device again and again, and act; never ends by itself."""
    read = ReadMemory(engine.config.optimization.monitoring_interval)
    while True:
        now_s, reading = yield read
        now_s = yield from _act(engine, reading, now_s)


def _act(engine: Engine, reading: MemoryReading, now_s: float) -> Story:
    """What one reading leads to. The value is the time."""
    settings = engine.config.optimization
    allocator = engine.allocator
    others = reading.used_bytes - engine.config.overhead.taken_bytes - allocator.device.held
    engine.claims_met(allocator.set_budget(engine.config.budget_bytes - max(0, others)), now_s)
    used = reading.used_bytes
    if used > settings.optimization_threshold * reading.total_bytes:
        for model in unused_models(allocator.models.values(), now_s, settings.unused_after_s):
            if allocator.unload(model.name, now_s) is not None:
                used -= model.bytes
                now_s = yield from engine.send_away(model.name, now_s, "unused")
    short = mib_to_bytes(settings.pressure_available_mb) - (reading.total_bytes - used)
    if short > 0:
        for name in allocator.relieve(short, now_s):
            now_s = yield from engine.send_away(name, now_s, "pressure")
    return now_s
