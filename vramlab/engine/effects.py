"""What the engine asks of a driver, and what it gets back.

The engine's generators *yield* effects and are sent their outcomes; they do no I/O and never ask what time it
is. The outcome of every effect is a pair ``(now_s, value)``:

============== ============================================ ==============================================
effect         the driver                                   value
============== ============================================ ==============================================
``Load``       makes a session on the device                bytes that were seen to be taken, or None;
                                                            :class:`Replaced` for another file than before
``Unload``     drops the session                            bytes that were seen to come back, or None
``Infer``      runs the model                               its outputs (None in simulation)
a ``Gate``     sleeps until it opens                        what the gate was opened with
``Wait``       the same, for so long at most                the same, or ``TIMED_OUT``
``ReadMemory`` reads the device                             :class:`MemoryReading`
``Spawn``      starts another generator beside this one     None, at once
============== ============================================ ==============================================

An effect that failed is thrown in as :class:`EffectFailed`. Into a story that is cancelled :class:`Cancelled`
is thrown where it waits or would begin something: it gives back what it holds and lets the exception go on. A
driver performs an effect at once: every queue is the engine's own (:mod:`vramlab.engine.queues`).

A story ends where it returns, or where that of a request yields its :class:`~.requests.Answer`: in compiled
code a return, which raises, costs as much as all the rest of a hit.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Any, Final, NamedTuple

from vramlab.engine.gates import Gate
from vramlab.engine.requests import Answer


class Target(Enum):
    """Where a model runs."""

    GPU = "gpu"
    CPU = "cpu"

    __hash__ = object.__hash__


class Failure(Enum):
    """Why an effect failed."""

    OUT_OF_MEMORY = "out of memory"  # of the device
    OWN_LIMIT = "own limit"  # of the model's arena: others have nothing to do with it
    NONSENSE_SIZE = "nonsense size"  # more than the device has in all
    DEVICE_LOST = "device lost"  # every later effect on it fails
    DEVICE_FAILED = "device failed"  # the CPU may do it
    CORRUPT = "corrupt"
    TIMED_OUT = "timed out"
    RAISED = "raised"


class EffectFailed(Exception):
    """An effect failed at `now_s`; drivers throw it into the generator that asked for the effect.

    ``lacking_bytes``: where memory ran out, how much more there should have been, as far as it is known.
    """

    def __init__(
        self, now_s: float, kind: Failure, message: str = "", lacking_bytes: int | None = None
    ) -> None:
        super().__init__(f"{kind.value}: {message}" if message else kind.value)
        self.now_s, self.kind, self.message, self.lacking_bytes = now_s, kind, message, lacking_bytes


class Cancelled(Exception):
    """The story was cancelled at `now_s`."""

    def __init__(self, now_s: float) -> None:
        super().__init__("cancelled")
        self.now_s = now_s


_MEMORY = (Failure.OUT_OF_MEMORY, Failure.OWN_LIMIT)


def worth_another_try(failure: EffectFailed | Cancelled | None) -> bool:
    """Whether a load that ended so may end otherwise next time: more memory was found, or reserved."""
    return isinstance(failure, EffectFailed) and failure.kind in _MEMORY


class Load(NamedTuple):
    """Make `model` ready to run on `target`, where `size_bytes` are reserved for it.

    A load that takes longer than `timeout_s` has failed (``TIMED_OUT``), whatever becomes of it.
    """

    model: str
    target: Target
    size_bytes: int | None = None
    timeout_s: float | None = None


class Replaced(NamedTuple):
    """What a ``Load`` gives where the model's file is not the one of its last load: bytes, as far as seen."""

    size_bytes: int | None = None


class Unload(NamedTuple):
    """Take `model` off the GPU and give its memory back."""

    model: str


class Infer(NamedTuple):
    """Run `model` on `target` with the inputs of the request, `items` along the batch axis.

    ``shrink``: then give back what its arena does not use, whether or not the run has failed.
    ``joined``: with the inputs of these requests as well; then the value is a mapping from the number of each
    request to its outputs.
    """

    model: str
    target: Target
    items: int
    shrink: bool = False
    joined: tuple[int, ...] = ()


class Wait:
    """Sleep until `gate` opens, or until `timeout_s` have passed, if they are given."""

    __slots__ = ("gate", "timeout_s")

    def __init__(self, gate: Gate, timeout_s: float | None) -> None:
        self.gate, self.timeout_s = gate, timeout_s


class ReadMemory(NamedTuple):
    """Read what the device says of its memory, after so many seconds."""

    after_s: float = 0.0


class MemoryReading(NamedTuple):
    """Bytes of the whole device, and bytes taken there by all processes together.

    ``steady``: nothing but the engine's own loads and unloads will change it, so there is no need to read it
    again before one of these.
    """

    total_bytes: int
    used_bytes: int
    steady: bool = False

    @property
    def available_bytes(self) -> int:
        """What nobody has taken; less than nothing where more is taken than there is."""
        return self.total_bytes - self.used_bytes

    @property
    def utilisation(self) -> float:
        """The part of the device that is taken."""
        return self.used_bytes / self.total_bytes


class Spawn(NamedTuple):
    """Start `story` as a task of its own, called `name` in the journal."""

    name: str
    story: Generator[Any, Any, Any]


TIMED_OUT: Final = object()
"""What a ``Wait`` yields when its time is up."""

REPLACED = {"file": "replaced"}
"""How the journal notes a :class:`Replaced`."""

Result = tuple[float, Any]
"""When an effect ended, and its value."""
Effect = Load | Unload | Infer | Gate | Wait | ReadMemory | Spawn | Answer
Story = Generator[Effect, Any, Any]
"""A generator of the engine. It is started with ``send(None)``."""


def describe_effect(effect: Effect) -> tuple[str, str | None]:
    """What the journal calls an effect, and its model."""
    if isinstance(effect, Infer):
        return f"infer on {effect.target.value}{', shrinking' if effect.shrink else ''}", effect.model
    if isinstance(effect, Load):
        return f"load on {effect.target.value}", effect.model
    if isinstance(effect, Unload):
        return "unload", effect.model
    return type(effect).__name__.lower(), None
