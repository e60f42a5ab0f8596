"""How busy other processes keep this machine's cores: what makes a live run's latencies worthless."""

from __future__ import annotations

import os
import time
from pathlib import Path

BUSY_CORES = 0.2
"""From here on times are longer for what others do."""

_STAT = Path("/proc/stat")
_IDLE, _WAITING = 3, 4  # columns of the line "cpu" in /proc/stat, after the name


class OtherProcesses:
    """Watches from its making on; ``None`` where the system has no ``/proc``."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._start = _busy_s()

    def cores(self) -> float | None:
        """Cores that other processes have kept busy on average (the hypervisor's share counts as well)."""
        now = _busy_s()
        if now is None or self._start is None:
            return None
        elapsed_s = time.perf_counter() - self._start_s
        return max(0.0, (now - self._start) / elapsed_s) if elapsed_s > 0 else 0.0


def _busy_s() -> float | None:
    """Processor time that all but this process have had so far, in seconds."""
    if not _STAT.exists():
        return None
    ticks = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    busy = sum(ticks) - ticks[_IDLE] - ticks[_WAITING]
    own = os.times()
    return busy / os.sysconf("SC_CLK_TCK") - own.user - own.system
