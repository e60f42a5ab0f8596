"""Who goes next: orders of serving, each a function of the requests that wait.

``order(waiting, now_s)`` names the request to be served next. If its model is there it gets the next free
stream, else its model is loaded; if neither can be begun now, nothing is until something changes. None means
that nothing is to be begun. ``waiting`` is a sequence in the order of coming
(:class:`~vramlab.engine.candidates.View`), which also says who could be served at once:

- ``waiting.runs()``: of each model that is there, the request whose turn it is, while a stream is free;
- ``waiting.loads()``: of each absent model, the first request, if room can be made without sending away a
  model that others wait for, while a load channel is free.

What turns and places are is said in :mod:`vramlab.engine.waiting`.

Whatever an order says, the scheduler keeps the bound (``serving.max_wait_s``): see
:mod:`vramlab.engine.scheduler`. A new order is a function here and a line in :data:`ORDERS`; one's own needs
neither (``package.module:name``, or an entry point of the group ``vramlab.orders``).
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator
from traceback import extract_tb
from typing import Protocol

from vramlab.allocator.facts import Model
from vramlab.allocator.policies.own import PolicyError
from vramlab.config.errors import InputError, nearest
from vramlab.config.plugins import imported, load_plugin, plugin_names
from vramlab.config.schema import ServingConfig
from vramlab.engine.waiting import Waiting

ARRIVAL = "arrival"
"""The specification's own flow, which decides on arrival (:mod:`vramlab.engine.arrival`)."""


class WaitingView(Protocol):
    """What an order sees."""

    serving: ServingConfig

    def __getitem__(self, index: int) -> Waiting:
        """By the order of coming."""

    def __len__(self) -> int:
        """How many wait."""

    def __iter__(self) -> Iterator[Waiting]:
        """In the order of coming."""

    @property
    def first(self) -> Waiting:
        """The first by place."""

    @property
    def under_way(self) -> int:
        """How many runs and loads are."""

    def runs(self) -> Iterator[Waiting]:
        """Those that could run now, by turn."""

    def loads(self) -> Iterator[Waiting]:
        """Those whose model could be loaded now, by place."""

    def first_there(self) -> Waiting | None:
        """The first by place whose model is there."""

    def first_absent(self) -> Waiting | None:
        """The first by place whose model is absent."""

    def count(self, model: Model) -> int:
        """How many wait for one model."""

    def is_next(self, entry: Waiting) -> bool:
        """Whether a stream is free for it if its model is there, or a load channel if that is absent."""

    def skips(self, entry: Waiting) -> int:
        """How often others were served before it since it came, at most."""


Order = Callable[[WaitingView, float], Waiting | None]


def fifo(waiting: WaitingView, now_s: float) -> Waiting | None:
    """Strictly in the order of coming, whatever is in memory: what most servers do."""
    return waiting[0]


def affinity(waiting: WaitingView, now_s: float) -> Waiting | None:
    """Requests for models that are there pass one that needs a load, at most ``max_skips`` times."""
    first = waiting.first
    if waiting.skips(first) >= waiting.serving.max_skips and waiting.is_next(first):
        return first
    return backlog(waiting, now_s)


def backlog(waiting: WaitingView, now_s: float) -> Waiting | None:
    """Whoever can run; beside that, load for the first whose model needs nothing that others wait for."""
    return next(waiting.runs(), None) or next(waiting.loads(), None)


ORDERS: dict[str, Order] = {"fifo": fifo, "affinity": affinity, "backlog": backlog}

GREEDY = frozenset({"affinity", "backlog"})
"""Orders that leave no stream idle while a request could run: who comes then need not be thought about."""

BY_COMING = frozenset({"fifo"})
"""Orders under which the requests for one model have their turns as they came, and not short runs first."""

HEEDLESS = frozenset({"fifo"})
"""Orders that leave the choice of victims to the eviction policy alone, whoever waits."""


def order_names() -> list[str]:
    """All names that ``serving.order`` takes, beside ``package.module:name``: ours, then plug-ins."""
    ours = [*ORDERS, ARRIVAL]
    return [*ours, *plugin_names("vramlab.orders", ours)]


def check_order(name: str, source: str = "vram_management") -> None:
    """Raise :class:`InputError` for an order that cannot be had."""
    if name != ARRIVAL:
        make_order(name, source)


def make_order(name: str, source: str = "vram_management") -> Order:
    """The order of a name.

    Raises
    ------
    InputError
        For an unknown name, and one's own that cannot be had.
    """
    if name in ORDERS:
        return ORDERS[name]
    if ":" in name:
        own = imported(name, source, "serving.order")
    else:
        own = load_plugin("vramlab.orders", name, order_names())
    if own is None:
        expected = f"one of {', '.join(order_names())}, or module:name{nearest(name, order_names())}"
        raise InputError(source, "serving.order", repr(name), expected)
    if not callable(own):
        found = f"{name!r}, which is {type(own).__name__}"
        raise InputError(source, "serving.order", found, "a function order(waiting, now_s)")
    return _checked(own, name)


def _checked(order: Order, name: str) -> Order:
    """A user's order, held to its promise: what it raises, or picks in vain, is one clear error."""

    def checked(waiting: WaitingView, now_s: float) -> Waiting | None:
        try:
            picked = order(waiting, now_s)
        except Exception as error:
            place = extract_tb(error.__traceback__)[-1]
            found = (
                f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}, line {place.lineno})"
            )
            raise PolicyError(f"order {name}", "", found, "a request that waits, or None") from error
        if picked is not None and picked not in waiting:
            found = f"{picked!r}, which cannot run as it does not wait"
            raise PolicyError(f"order {name}", "", found, "a request that waits, or None")
        return picked

    return checked
