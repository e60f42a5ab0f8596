"""Out of memory although the ledger had room: who is to blame, and what is learned from it.

Either the model takes more than its footprint, or the device has less than the configuration says, because
another process took some. The device is read to tell which:

- A load failed while as much was available as the model's footprint: the footprint is too small. It grows by
  a quarter of itself, beyond what was available if that was more (it was not enough), but at most to the
  double.
- A run failed while nobody else had taken memory: the same, as the workspace found no room beside the model.
- Otherwise the device has less: the budget becomes what is there, and the next decision evicts for it. The
  monitor raises it again when it sees more.

A model that failed at the limit of its own arena, or was seen to take more than its footprint, is reserved
more the next time. A lost device has no memory for anybody.

A load is then tried once more; what becomes of a run is told in :mod:`vramlab.engine.shortage`.
"""

from __future__ import annotations

from vramlab.config.units import bytes_to_mib
from vramlab.engine.claims import Claims
from vramlab.engine.desk import Desk
from vramlab.engine.effects import EffectFailed, ReadMemory, Story

WHY = "out of memory"
OWN_LIMIT = "own limit"


def read_available(now_s: float) -> Story:
    """Ask the device what is available. The value is (now_s, bytes), or None for a device that is silent."""
    try:
        now_s, reading = yield ReadMemory()
    except EffectFailed as failure:
        return failure.now_s, None
    return now_s, reading.available_bytes


class Learning:
    """What one engine learns of footprints and of its budget.

    Parameters
    ----------
    desk : Desk
        Whose models these are.
    claims : Claims
        That a new budget may meet.
    """

    def __init__(self, desk: Desk, claims: Claims) -> None:
        self._desk, self._claims, self._allocator = desk, claims, desk.allocator

    def from_load(self, name: str, now_s: float, held: int, available: int | None) -> None:
        """The load of `name`, which is absent again, found no room while others held `held` bytes."""
        size = self._allocator.models[name].bytes
        if self._desk.config.workspace == "own" and (available is None or available >= size):
            self._grow("load", name, now_s, min(max(available or 0, size) + size // 4, 2 * size))
        if available is not None:
            self._keep_budget("load", now_s, held + available)

    def from_own_limit(self, task: int | str, name: str, now_s: float, lacking_bytes: int | None) -> bool:
        """The arena of `name` may not grow to what is needed. Returns whether the next may."""
        size = self._allocator.models[name].bytes
        return self._grow(task, name, now_s, size + max(lacking_bytes or 0, size // 4), OWN_LIMIT)

    def from_size(self, name: str, now_s: float, taken_bytes: int) -> None:
        """The load of `name` was seen to take so much: more than its footprint, it is the next one's."""
        if taken_bytes > self._allocator.models[name].bytes:
            self._grow("load", name, now_s, taken_bytes, "as was seen")

    def device_lost(self, task: int | str, now_s: float, why: str) -> None:
        """The device fails all that is begun there: it has no memory for anybody from now on."""
        if self._allocator.device.lost:
            return
        self._desk.notes.notice(now_s, task, "device lost", None, self._allocator.device.held, why)
        self._allocator.device.lost = "the device is lost to this process: restart it"
        self._claims.set_budget(0, now_s)

    def from_run(
        self,
        task: int | str,
        name: str,
        now_s: float,
        available: int | None,
        lacking_bytes: int | None = None,
    ) -> int:
        """A run of `name`, which is there, found no room. Returns how many bytes more should be available."""
        size = self._allocator.models[name].bytes
        lacking = False
        if available is not None:
            lacking = self._keep_budget(task, now_s, self._allocator.device.held + available)
        if not lacking and self._desk.config.workspace == "own":
            more = max(available or 0, size // 4) if lacking_bytes is None else lacking_bytes
            self._grow(task, name, now_s, min(size + more, 2 * size))
        return max(1, size // 4 if lacking_bytes is None else lacking_bytes)

    def _grow(self, task: int | str, name: str, now_s: float, footprint_bytes: int, why: str = WHY) -> bool:
        before_mb = bytes_to_mib(self._allocator.models[name].bytes)
        grown = self._allocator.grow(name, footprint_bytes)
        if grown:
            why = f"{why}, had {before_mb:.1f} MB"
            self._desk.notes.notice(now_s, task, "grow", name, footprint_bytes, why)
        return grown

    def _keep_budget(self, task: int | str, now_s: float, there: int) -> bool:
        """Lower the budget to what is there. Returns whether that was necessary."""
        device, config = self._allocator.device, self._desk.config
        buffer_bytes = config.overhead_bytes - config.overhead.taken_bytes
        budget = max(0, there - buffer_bytes)
        if budget >= device.cap:
            return False
        why = f"{WHY}, had {bytes_to_mib(device.cap):.1f} MB"
        self._desk.notes.notice(now_s, task, "budget", None, budget, why)
        self._claims.set_budget(budget, now_s)
        return True
