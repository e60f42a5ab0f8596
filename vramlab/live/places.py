"""Where sessions are on devices, and what each is charged: weights with the load, workspace with runs.

A workspace is a session's own, held from its first run until the session is closed or shrunk; or it is shared
by all sessions of a device, whose one arena then holds as much as the runs at one time ever needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from vramlab.live.device_facts import Demand, Providers
from vramlab.live.errors import OutOfMemory


class Ledger:
    """Bytes charged on a device of `budget_bytes`; safe to use from several threads.

    Parameters
    ----------
    budget_bytes : int
        What all sessions together may take.
    label : str
        Of the device, for messages.
    held : callable, optional
        Bytes that sessions are seen to hold, where they may hold more than they are charged.
    """

    def __init__(self, budget_bytes: int, label: str, held: Callable[[], int] | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.charged_bytes = 0
        self.promised_bytes = 0  # weights and workspaces of all sessions, whether they were taken yet or not
        self.lost_bytes = 0  # to other processes
        self._label = label
        self._held = held
        self._lock = threading.Lock()

    def admit(self, size_bytes: int, what: str) -> None:
        """Charge `size_bytes`, or fail as a full device does.

        Raises
        ------
        OutOfMemory
            Nothing is charged then.
        """
        held = 0 if self._held is None else self._held()
        with self._lock:
            free = self.budget_bytes - max(held, self.charged_bytes) - self.lost_bytes
            if size_bytes > free:
                full = OutOfMemory(
                    f"{what}: Failed to allocate memory for requested buffer of size {size_bytes}, "
                    f"{max(0, free)} bytes are free on {self._label}"
                )
                full.lacking_bytes = size_bytes - max(0, free)
                raise full
            self.charged_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Take a charge back.

        Raises
        ------
        ValueError
            If more would come back than was charged: somebody's ledger is wrong.
        """
        with self._lock:
            if not 0 <= size_bytes <= self.charged_bytes:
                raise ValueError(f"{size_bytes} bytes given back, {self.charged_bytes} are charged")
            self.charged_bytes -= size_bytes

    def promise(self, size_bytes: int) -> None:
        """A session is to come that will take so much in all; a negative number: it is gone."""
        with self._lock:
            self.promised_bytes += size_bytes

    def lose(self, size_bytes: int) -> None:
        """Let another process take `size_bytes`; a negative number gives them back."""
        with self._lock:
            self.lost_bytes = max(0, self.lost_bytes + size_bytes)


class OwnWorkspace:
    """The workspace of one session: charged from its first run until it is closed, or shrunk."""

    def __init__(self, ledger: Ledger, size_bytes: int) -> None:
        self._ledger, self._size_bytes = ledger, size_bytes
        self._held = False
        self._running = 0
        self._lock = threading.Lock()

    def begin(self, what: str) -> None:
        """A run begins."""
        if not self._size_bytes:
            return
        with self._lock:
            if not self._held:
                self._ledger.admit(self._size_bytes, what)
                self._held = True
            self._running += 1

    def end(self, shrink: bool) -> None:
        """A run has ended."""
        if not self._size_bytes:
            return
        with self._lock:
            self._running -= 1
            if shrink and self._running == 0:
                self._drop()

    def leave(self) -> None:
        """The session is gone."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._held:
            self._ledger.give_back(self._size_bytes)
            self._held = False


class SharedWorkspace:
    """The workspace of all sessions of a device: as much as runs at one time ever needed, until shrunk.

    Parameters
    ----------
    ledger : Ledger
        Of the device.
    size_bytes : int
        What is promised to it, from the start.
    """

    def __init__(self, ledger: Ledger, size_bytes: int) -> None:
        self._ledger = ledger
        ledger.promise(size_bytes)
        self._held_bytes = self._needed_bytes = 0
        self._lock = threading.Lock()

    def begin(self, size_bytes: int, what: str) -> None:
        """A run that needs `size_bytes` begins."""
        with self._lock:
            more = self._needed_bytes + size_bytes - self._held_bytes
            if more > 0:
                self._ledger.admit(more, what)
                self._held_bytes += more
            self._needed_bytes += size_bytes

    def end(self, size_bytes: int, shrink: bool) -> None:
        """It has ended; what other runs use is not shrunk."""
        with self._lock:
            self._needed_bytes -= size_bytes
            if shrink:
                self._ledger.give_back(self._held_bytes - self._needed_bytes)
                self._held_bytes = self._needed_bytes

    @property
    def held_bytes(self) -> int:
        """What it holds."""
        return self._held_bytes


class ChargedPlace:
    """The place of a session whose device charges it.

    Parameters
    ----------
    ledger : Ledger
        Of the device.
    demand : Demand
        Of the session.
    shared : SharedWorkspace or None
        None: it has its own.
    providers : list
        Of the session.
    entries : dict, optional
        Of its configuration.
    """

    def __init__(
        self,
        ledger: Ledger,
        demand: Demand,
        shared: SharedWorkspace | None,
        providers: Providers,
        entries: dict[str, str] | None = None,
    ) -> None:
        self.providers, self.entries = providers, entries or {}
        self._ledger, self._demand = ledger, demand
        own = self._own = OwnWorkspace(ledger, demand.workspace_bytes)
        self.begin_run, self.end_run = own.begin, own.end
        if shared is not None:
            self.begin_run = partial(shared.begin, demand.workspace_bytes)
            self.end_run = partial(shared.end, demand.workspace_bytes)
        self._promised = demand.weights_bytes + (demand.workspace_bytes if shared is None else 0)

    def enter(self, doing: str) -> None:
        """Charge the weights.

        Raises
        ------
        OutOfMemory
            If there is no room; nothing is charged then.
        """
        self._ledger.admit(self._demand.weights_bytes, doing)
        self._ledger.promise(self._promised)

    @contextmanager
    def entered(self, doing: str) -> Iterator[ChargedPlace]:
        """Charge the weights for a load; if that fails, take the charge back. Raises as :meth:`enter`."""
        self.enter(doing)
        try:
            yield self
        except BaseException:
            self.leave()
            raise

    def held_bytes(self) -> int | None:
        """What it was charged for the load: where nothing is measured, that is the truth."""
        return self._demand.weights_bytes

    def leave(self) -> None:
        """Take all charges back."""
        self._own.leave()
        self._ledger.give_back(self._demand.weights_bytes)
        self._ledger.promise(-self._promised)
