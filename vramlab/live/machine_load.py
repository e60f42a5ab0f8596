"""How busy other processes keep this machine's cores: what makes the times of a live run too long.

A mean hides a burst: ten seconds of another program's in a minute make a 95th percentile worthless. So a run
is watched second by second (:class:`Watch`), and its mean and its busy stretches are kept
(:class:`OthersLoad`). A block of measurements is as short as that, and has a mean only.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

BUSY_SHARE = 0.1
"""Of the machine's cores: from here on times are longer for what others do. On an idle one it is 0.002."""

_EVERY_S = 1.0
_LEAST_S = 0.5  # a tick of the system's is 10 ms: over less, one would be seen
_LEAST_BUSY_S, _LEAST_BUSY_SHARE = 2.0, 0.02  # a stretch that no percentile would show
_ALL_ALONG = 0.8
_STAT = Path("/proc/stat")
_IDLE, _WAITING = 3, 4  # columns of the line "cpu" in /proc/stat, after the name


def busy_cores(cores: int | None = None) -> float:
    """How many cores others may keep busy, of so many; by default of this machine's."""
    return BUSY_SHARE * (cores or os.cpu_count() or 1)


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
    with _STAT.open() as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    busy = sum(ticks) - ticks[_IDLE] - ticks[_WAITING]
    own = os.times()
    return busy / os.sysconf("SC_CLK_TCK") - own.user - own.system


class Stretch(NamedTuple):
    """A time in which other processes kept cores busy; seconds from when the watch began."""

    from_s: float
    to_s: float
    cores: float


@dataclass(frozen=True)
class OthersLoad:
    """What other processes did during a run.

    Parameters
    ----------
    cores : float or None
        Cores that they kept busy on average; None: unknown.
    stretches : tuple of Stretch
        When they did so; empty for a run that was recorded before this was watched.
    seconds : float or None
        How long the run was watched.
    machine_cores : int or None
        How many cores there are.
    """

    cores: float | None = None
    stretches: tuple[Stretch, ...] = ()
    seconds: float | None = None
    machine_cores: int | None = None

    @classmethod
    def noted(cls, environment: Mapping[Any, Any]) -> OthersLoad:
        """Read from what a run's ``environment.json`` says."""
        return cls(
            environment.get("other_cores"),
            tuple(Stretch(*one) for one in environment.get("other_cores_busy", ())),
            environment.get("watched_s"),
            environment.get("watched_cores") or environment.get("cpu_count"),
        )

    def notes(self) -> dict[str, Any]:
        """Say it for ``environment.json``."""
        busy = [[round(number, 2) for number in one] for one in self.stretches]
        watched = {"watched_s": self.seconds, "watched_cores": self.machine_cores}
        return {"other_cores": self.cores, "other_cores_busy": busy, **watched}

    @property
    def busy_s(self) -> float:
        """Seconds in which others kept cores busy."""
        return sum(one.to_s - one.from_s for one in self.stretches)

    @property
    def busy(self) -> bool:
        """Whether times are longer for it: all along, or in a part that percentiles would show."""
        return self._all_along or self._in_part

    @property
    def _all_along(self) -> bool:
        return self.cores is not None and self.cores > busy_cores(self.machine_cores)

    @property
    def _in_part(self) -> bool:
        return self.busy_s >= max(_LEAST_BUSY_S, _LEAST_BUSY_SHARE * (self.seconds or 0.0))

    def between(self, from_s: float, to_s: float) -> OthersLoad:
        """Return what they did in a part of the run; of a run without stretches that of all of it."""
        if self.cores is None or self.seconds is None or to_s <= from_s:
            return self
        cut = [Stretch(max(from_s, a), min(to_s, b), cores) for a, b, cores in self.stretches]
        within = tuple(one for one in cut if one.to_s > one.from_s)
        calm_s = max(self.seconds - self.busy_s, 0.0)
        calm = (self.cores * self.seconds - _total(self.stretches)) / calm_s if calm_s else 0.0
        seconds = to_s - from_s
        busy_s = sum(one.to_s - one.from_s for one in within)
        mean = (_total(within) + max(calm, 0.0) * (seconds - busy_s)) / seconds
        return OthersLoad(mean, within, seconds, self.machine_cores)

    def said(self, when: str) -> str:
        """Say what they did while something was `when` ("recorded")."""
        of = f" of {self.machine_cores}" if self.machine_cores else ""
        if self.seconds and self.stretches and self.busy_s < _ALL_ALONG * self.seconds:
            most = max(one.cores for one in self.stretches)
            return (
                f"other programs kept up to {most:.1f}{of} cores busy in {self.busy_s:.0f} of the "
                f"{self.seconds:.0f} s in which this was {when}, first at {self.stretches[0].from_s:.0f} s"
            )
        return f"other programs kept {self.cores or 0.0:.1f}{of} cores busy while this was {when}"


def _total(stretches: tuple[Stretch, ...]) -> float:
    return sum((one.to_s - one.from_s) * one.cores for one in stretches)


class Watch:
    """Watches other processes second by second, from a thread of its own, while its block runs.

    Parameters
    ----------
    every_s : float
        Between two looks.
    """

    def __init__(self, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._start_s = self._last_s = time.perf_counter()
        self._start = self._last = _busy_s()
        self._stretches: list[Stretch] = []
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_regularly, name="vramlab-watch", daemon=True)

    def __enter__(self) -> Watch:
        if self._start is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _look_regularly(self) -> None:
        while not self._ended.wait(self._every_s):
            self.look(time.perf_counter())

    def look(self, now_s: float) -> None:
        """Take in what others have done since the last look."""
        with self._looking:
            busy = _busy_s()
            took_s = now_s - self._last_s
            if busy is None or self._last is None or took_s < _LEAST_S * self._every_s:
                return
            cores = max(0.0, (busy - self._last) / took_s)
            begin_s, end_s = self._last_s - self._start_s, now_s - self._start_s
            self._last_s, self._last = now_s, busy
            if cores <= busy_cores():
                return
            before = self._stretches[-1] if self._stretches else None
            if before is not None and before.to_s == begin_s:  # it goes on
                both = (before, Stretch(begin_s, end_s, cores))
                mean = _total(both) / (end_s - before.from_s)
                self._stretches[-1] = Stretch(before.from_s, end_s, mean)
            else:
                self._stretches.append(Stretch(begin_s, end_s, cores))

    def load(self, now_s: float | None = None) -> OthersLoad:
        """Return what others have done since the watch began."""
        now_s = time.perf_counter() if now_s is None else now_s
        self.look(now_s)
        busy, elapsed_s = _busy_s(), now_s - self._start_s
        if busy is None or self._start is None:
            return OthersLoad(machine_cores=os.cpu_count())
        mean = max(0.0, (busy - self._start) / elapsed_s) if elapsed_s > 0 else 0.0
        return OthersLoad(mean, tuple(self._stretches), elapsed_s, os.cpu_count())


def wait_for_calm(most_s: float, every_s: float = 2.0) -> bool:
    """Wait until others leave the cores alone, for so long at most. Returns whether they do."""
    until_s = time.perf_counter() + most_s
    while True:
        others = OtherProcesses()
        time.sleep(every_s)
        if (others.cores() or 0.0) <= busy_cores():
            return True
        if time.perf_counter() >= until_s:
            return False
