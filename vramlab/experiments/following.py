"""A run that goes on in another process, watched through its journal.

A journal leads a fresh engine to the same decisions (:mod:`vramlab.runs.lockstep`). So a reader of the file
knows all that the runtime knows: zones, states, scores, queues. Nothing is asked of the process itself.
"""

from __future__ import annotations

import math
import time
from itertools import takewhile
from pathlib import Path

from vramlab.config.bundled import there
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_inventory
from vramlab.config.schema import Inventory, VramConfig
from vramlab.engine.effects import MemoryReading
from vramlab.engine.journal import Line
from vramlab.runs.journal_reading import JournalTail
from vramlab.runs.lockstep import Follower
from vramlab.runs.run_folder import journal_of, read_environment
from vramlab.runs.status import Status, status_of
from vramlab.runs.totals import RunningTotals

QUIET_S = 10.0
"""So long a run writes nothing at most, as its monitor loop reads the memory every few seconds."""


class Following:
    """A live run as it stands, from its journal.

    Parameters
    ----------
    journal : Path or str
        A ``.jsonl`` file, which may still be growing.
    config, inventory
        Those of the run.
    device : str
        What to call the device.
    until_s : float, optional
        Follow no further than this time of the run, seconds.

    Attributes
    ----------
    closed : bool
        Whether there is no more to come: the run has ended, or `until_s` is reached.
    ended : bool
        Whether the run has ended; the status is then the last before it gave everything back.

    Raises
    ------
    InputError
        If `until_s` is no time.
    """

    def __init__(
        self,
        journal: Path | str,
        config: VramConfig,
        inventory: Inventory,
        device: str = "recorded",
        until_s: float | None = None,
    ) -> None:
        if until_s is not None and not 0 <= until_s < math.inf:
            raise InputError("--at", "", until_s, "seconds since the start of the run")
        self._path, self._device, self._until_s = Path(journal), device, until_s
        self._tail = JournalTail(journal)
        self._follower = Follower(config, inventory, RunningTotals())
        self._total_bytes, self._others_bytes = config.total_bytes, config.overhead.taken_bytes
        self._last_s = 0.0
        self.closed = self.ended = False

    @property
    def silent_s(self) -> float:
        """Seconds since the last line of a journal that has not ended, by the clock of its file."""
        if self.ended:
            return 0.0
        try:
            return max(0.0, time.time() - self._path.stat().st_mtime)
        except FileNotFoundError:  # moved or packed since
            return 0.0

    @property
    def silent(self) -> bool:
        """Whether the run seems to have been killed: its monitor loop alone writes more often."""
        return not self.closed and self.silent_s > QUIET_S

    def status(self) -> Status:
        """Return device memory, zones, models and counts by now, or at `until_s`, but not beyond the journal.

        The time goes on for a while after the last line, and then stands still: the run may have been killed.

        Raises
        ------
        InputError
            If the journal leads elsewhere with these settings: they are not those of the run.
        """
        self._read()
        engine = self._follower.engine
        now_s = self._last_s
        if not self.closed:
            now_s += min(self.silent_s, QUIET_S)
            now_s = now_s if self._until_s is None else min(now_s, self._until_s)
        taken_bytes = self._others_bytes + engine.allocator.device.held
        memory = MemoryReading(self._total_bytes, taken_bytes)
        return status_of(engine, now_s, self._device, memory, self._follower.under_way)

    def close(self) -> None:
        """Follow no more."""
        self._tail.close()

    def _read(self) -> None:
        if self.closed:
            return
        lines = self._tail.read()
        until_s = float("inf") if self._until_s is None else self._until_s
        coming = list(takewhile(lambda line: line.time_s <= until_s and not is_stop(line), lines))
        for line in coming:
            self._follower.follow([line])
            if line.what == "readmemory" and line.event == "end" and line.detail:
                reading = MemoryReading(**line.detail)
                self._total_bytes = reading.total_bytes
                self._others_bytes = reading.used_bytes - self._follower.engine.allocator.device.held
        difference = self._follower.difference
        if difference is not None:
            expected = "a journal of a run with these settings"
            raise InputError(self._path, f"line {difference.line}", difference.journal, expected)
        if coming:
            self._last_s = coming[-1].time_s
        if len(coming) < len(lines):
            beyond = lines[len(coming)]
            self.closed, self.ended = True, beyond.time_s <= until_s
            self._last_s = min(beyond.time_s, until_s)


def is_stop(line: Line) -> bool:
    """Return whether from here on a run gives back what it has."""
    return line.event == "begin" and line.task == "stop"


def follow_run(folder: Path | str, until_s: float | None = None) -> Following:
    """Follow the run whose folder this is; it may have ended, or still be recorded.

    Raises
    ------
    InputError
        If the folder is none of a live run.
    """
    folder = there(folder)
    journal = journal_of(folder)
    device = str(read_environment(folder).get("device", "recorded"))
    config, inventory = load_config(folder / "config.yaml"), load_inventory(folder / "models.yaml")
    return Following(journal, config, inventory, device, until_s)
