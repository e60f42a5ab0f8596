"""What the allocator may decide about a request, and its answer."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """What the allocator decided about a request."""

    HIT = "hit"  # resident: run now
    LOAD = "load"  # unload the victims, load, run
    CLEAR = "clear"  # unload the victims, then decide anew (rules of model servers)
    JOIN = "join"  # a load of this model is under way: wait for it
    WAIT = "wait"  # models in use (or its own unloading) stand in the way: ask again after the next change
    CPU = "cpu"  # run on the CPU
    BYPASS = "bypass"  # serve without keeping it (decide mode, admission `compete`)
    REFUSE = "refuse"  # cannot be served
    UNLOAD = "unload"  # nobody asked for it: unload the one model that is named as the victim

    __hash__ = object.__hash__


# For the hot path, as those of :mod:`.states`.
LOAD: Final[Kind] = Kind.LOAD
CLEAR: Final[Kind] = Kind.CLEAR
WAIT: Final[Kind] = Kind.WAIT
CPU: Final[Kind] = Kind.CPU


class Decision(NamedTuple):
    """The answer to a request.

    ``zone`` is None where the model is not on the device; ``victims`` are in the order of leaving.
    """

    kind: Kind
    model: str
    zone: str | None = None
    victims: tuple[str, ...] = ()
    reason: str = ""
