"""The monitor of the specification ("Real-time Memory Tracking"): makes room before it is missing.

The device is read every ``monitoring_interval`` seconds, and then, in the order of the specification:

1. What the device has left for models, with what they hold, is their budget from now on where that is less
   than the configured one: another process may have taken some, and may give it back.
2. Utilisation above ``optimization_threshold``: models of low or medium priority that nobody has asked for
   during ``unused_after_s`` are unloaded, the largest first. The specification unloads all of them; here it
   ends when utilisation is no longer above the threshold, as more would cost reloads and gain nothing. What
   is always loaded stays, and so does what is inside its minimum retention.
3. Less than ``pressure_available_mb`` available, or more promised than the budget has: models leave by score,
   the lowest first, until that much is available. The memory is read anew before, if step 2 did something.
4. Zones that are too broken up are defragmented (:mod:`vramlab.engine.defragmentation`).

Critical models and models that are in use or being loaded stay. Where loads that wait for their bytes keep
the device over its budget, and nothing could be done for ``release_timeout_ms``, the newest are given up.

Of the overhead, context and framework are taken; the buffer is what stays free, and what pressure defends. So
a cache that is full as planned is not under pressure, and one on a device that shrank is.

Looks fall on a grid, from the start on. Where a reading is *steady* (simulation: only the engine itself
changes the memory), looks at which nothing could be done are left out: the story waits until memory is taken,
or until the next model counts as unused. That changes nothing, and is why two quiet weeks cost nothing.
"""

from __future__ import annotations

import math

from vramlab.allocator.relief import may_be_unused, unused_models, unused_since
from vramlab.allocator.states import EVICTING, IN_USE, LOADING
from vramlab.config.units import bytes_to_mib, mib_to_bytes, ms_to_s
from vramlab.engine.claims import Claims
from vramlab.engine.defragmentation import defragment
from vramlab.engine.desk import Desk
from vramlab.engine.effects import EffectFailed, MemoryReading, ReadMemory, Story, Wait
from vramlab.engine.loading import Loading
from vramlab.engine.notes import MONITOR

NAME = MONITOR
_ON_THE_MOVE = (IN_USE, LOADING, EVICTING)


class Monitor:
    """The monitor of one engine.

    Parameters
    ----------
    desk, loading, claims
        Of the engine.
    """

    def __init__(self, desk: Desk, loading: Loading, claims: Claims) -> None:
        config = desk.config
        self._desk, self._loading, self._claims = desk, loading, claims
        self._allocator, self._notes = desk.allocator, desk.notes
        self._interval_s = config.optimization.monitoring_interval
        self._threshold = config.optimization.optimization_threshold
        self._unused_after_s = config.optimization.unused_after_s
        self._pressure_bytes = mib_to_bytes(config.optimization.pressure_available_mb)
        self._buffer_bytes = config.overhead_bytes - config.overhead.taken_bytes
        self._release_timeout_s = ms_to_s(config.serving.release_timeout_ms)
        self._defragmentation_threshold = config.optimization.defragmentation_threshold
        self._defragments = config.optimization.defragmentation == "always" or (
            config.optimization.defragmentation == "auto" and config.placement == "contiguous"
        )
        self._short_since_s = math.inf  # since when more is promised than the device has

    def story(self, now_s: float) -> Story:
        """Look, and sleep until the next look that could matter; never ends by itself."""
        start_s, look = now_s, 0
        while True:
            look = max(look, math.floor((now_s - start_s) / self._interval_s)) + 1
            now_s, next_s = yield from self._look(now_s, start_s + look * self._interval_s - now_s)
            if next_s > now_s:
                timeout_s = None if math.isinf(next_s) else next_s - now_s
                now_s, _ = yield Wait(self._desk.memory_taken, timeout_s)

    def _look(self, now_s: float, after_s: float) -> Story:
        """One look. The value is (now_s, next_s): nothing can be done until then unless memory is taken."""
        try:
            now_s, reading = yield from self._read(max(0.0, after_s))
            acted = relieved = False
            moved = 0
            if reading.utilisation > self._threshold:
                now_s, acted = yield from self._unload_unused(now_s, reading)
                if acted:
                    now_s, reading = yield from self._read(0.0)
            short = self._shortage(reading)
            if short > 0:
                now_s, relieved = yield from self._relieve(now_s, reading, short)
            self._give_up(now_s)
            if self._defragments:
                now_s, moved = yield from defragment(self._desk, self._loading, now_s)
        except EffectFailed as failure:
            self._notes.action(failure.now_s, NAME, "monitoring failed", why=str(failure))
            return failure.now_s, failure.now_s
        quiet = reading.steady and not acted and not relieved and not moved
        return now_s, self._next_s(now_s, reading, short) if quiet else now_s

    # -- what it sees ------------------------------------------------------------------------------------

    def _read(self, after_s: float) -> Story:
        """Read the memory, and keep the budget to what is there. The value is (now_s, reading)."""
        device = self._allocator.device
        reading: MemoryReading
        now_s, reading = yield ReadMemory(after_s)
        budget = self._budget(reading, device.held)
        if budget < device.cap and not reading.steady:
            # a model that left while the device was being read may have been counted there: look twice
            held = device.held
            now_s, reading = yield ReadMemory()
            budget = self._budget(reading, max(held, device.held))
        if budget != device.cap:
            change = f"{bytes_to_mib(budget - device.cap):+.1f} MB"
            self._notes.action(now_s, NAME, "budget", size_bytes=budget, why=change)
            self._claims.set_budget(budget, now_s)
        return now_s, reading

    def _budget(self, reading: MemoryReading, held: int) -> int:
        """What models may have of a device on which they hold so many bytes."""
        left = held + reading.available_bytes - self._buffer_bytes
        return 0 if self._allocator.device.lost else max(0, min(self._allocator.room_bytes, left))

    def _shortage(self, reading: MemoryReading) -> int:
        """Bytes that must leave beside those that are leaving already; 0 or less without pressure."""
        device = self._allocator.device
        over = device.committed - device.cap
        if reading.available_bytes >= self._pressure_bytes and over <= 0:
            return 0
        to_come = device.held - device.committed  # from those that are leaving, less what is promised
        return max(self._pressure_bytes - reading.available_bytes - to_come, over)

    def _next_s(self, now_s: float, reading: MemoryReading, short: int) -> float:
        """When something could be done that cannot be done now, if no memory is taken before."""
        there = self._allocator.there
        if (short > 0 or self._broken_up()) and any(
            model.state in _ON_THE_MOVE and not model.critical for model in there
        ):
            return now_s
        if reading.utilisation <= self._threshold:
            return math.inf
        times_s = [unused_since(model, self._unused_after_s) for model in there if may_be_unused(model)]
        return max(now_s, min(times_s, default=math.inf))

    def _broken_up(self) -> bool:
        """Whether there is something to defragment, if models in use were idle."""
        if not self._defragments:
            return False
        fragmentation = self._allocator.placement.maps.fragmentation()
        return any(value >= self._defragmentation_threshold for value in fragmentation.values())

    # -- what it does ------------------------------------------------------------------------------------

    def _unload_unused(self, now_s: float, reading: MemoryReading) -> Story:
        """The specification's ``_trigger_optimization``. The value is (now_s, whether anybody left)."""
        allocator, device = self._allocator, self._allocator.device
        why = f"utilisation {reading.utilisation:.3f}, threshold {self._threshold:g}"
        leaving = device.held - device.committed
        excess = reading.used_bytes - leaving - self._threshold * reading.total_bytes
        acted = False
        for model in unused_models(allocator.there, now_s, self._unused_after_s):
            if excess <= 0:
                break
            if allocator.unload(model.name, now_s) is None:
                continue  # somebody asked for it while others were being unloaded
            excess -= model.bytes
            acted = True
            now_s = yield from self._loading.send_away(model.name, now_s, "unused", why)
        return now_s, acted

    def _relieve(self, now_s: float, reading: MemoryReading, short: int) -> Story:
        """The specification's ``_handle_memory_pressure``. The value is (now_s, whether anybody left)."""
        if reading.available_bytes < self._pressure_bytes:
            available_mb, wanted_mb = map(bytes_to_mib, (reading.available_bytes, self._pressure_bytes))
            why = f"{available_mb:.1f} MB available, {wanted_mb:g} MB wanted"
        else:
            why = "more is promised than the device has"
        victims = self._loading.relieve(short, now_s)
        for name in victims:
            now_s = yield from self._loading.send_away(name, now_s, "pressure", why)
        return now_s, bool(victims)

    def _give_up(self, now_s: float) -> None:
        """Nobody waits for ever: end loads that have waited too long for bytes that the device lacks."""
        device = self._allocator.device
        over = device.committed - device.cap
        if over <= 0:
            self._short_since_s = math.inf
            return
        self._short_since_s = min(self._short_since_s, now_s)
        if now_s - self._short_since_s < self._release_timeout_s:
            return
        for model in reversed(self._allocator.claims):
            if over <= 0:
                break
            if self._claims.give_up(model.name):
                over -= model.bytes
                place = {"zone": model.zone.name, "size_bytes": model.bytes}
                self._notes.action(now_s, NAME, "give up a load", model.name, **place)
