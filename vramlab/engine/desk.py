"""The desk: what every story of the engine needs, and where it says what has changed.

Below the desk are the facts (allocator, queues, notes), above it the stories, which know the desk and those
of each other that they make use of, and above them the engine, which puts them together
(:mod:`vramlab.engine.engine`). Nothing here knows a story. Who decides, and who wants to know what leaves, is
set by the engine; a story tells the desk, and the desk tells them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from typing import Any

from vramlab.allocator import Allocator, make_allocator
from vramlab.allocator.facts import Model
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import ms_to_s
from vramlab.engine.cache import ResultCache
from vramlab.engine.effects import Cancelled, EffectFailed, Replaced, Story
from vramlab.engine.gates import Gate, Ready
from vramlab.engine.journal import Journal
from vramlab.engine.notes import Notes
from vramlab.engine.orders import BY_COMING
from vramlab.engine.outcomes import RecordSink
from vramlab.engine.queues import Queue, RoomQueue
from vramlab.engine.requests import Request
from vramlab.engine.waiting import WaitingRequests


class Decider:
    """Decides who is served next; what it need not hear it leaves to this base.

    Attributes
    ----------
    pending : sized
        Empty where a request that comes may run if it can: nobody waits whom it could pass.
    """

    pending: Sized

    def obtain(self, number: int, request: Request, now_s: float) -> Story:
        """Wait until the request may run, or must go elsewhere.

        The value is (now_s, outcome, why). With HIT, COLD_START and WAIT the request has a stream, and its
        model is pinned; or it has been run with others, and a :class:`~.requests.Ran` stands in place of why.
        """
        raise NotImplementedError

    def may_pass(self) -> bool:
        """Whether a request that comes may run at once though others wait."""
        return False

    def run_ended(self, model: Model, now_s: float) -> None:
        """A run of `model` has ended while others wait, and its stream is free."""

    def freed(self, now_s: float) -> None:
        """A stream, a CPU worker or a part of the budget is free, or models have come or gone."""

    def load_failed(self, model: Model, failure: EffectFailed | Cancelled) -> None:
        """A load has failed, and nothing has been learned of that yet."""

    def load_ended(self, model: Model, now_s: float) -> None:
        """A load has ended, well or not."""


class Desk:
    """What stories need.

    Parameters are those of :class:`~vramlab.engine.engine.Engine`.

    Attributes
    ----------
    gpu, channel, cpu : Queue
        Streams, load channels and CPU workers.
    room : RoomQueue
        Those who wait for models in use.
    waiting : WaitingRequests
        Those that an order picks from; nobody where requests are decided on arrival.
    memory_taken : Gate
        Opens when models have taken or given back memory.
    decider : Decider
        Set by the engine before the first story.
    on_idle : callable, optional
        ``on_idle(model, now_s)``, called when the last run of a model has ended, if others were joined to it.
    on_leave : callable, optional
        ``on_leave(name, now_s, reason)``, called when a model begins to leave the device.
    """

    def __init__(
        self,
        config: VramConfig,
        inventory: Inventory,
        recorder: RecordSink,
        journal: Journal | None = None,
        mapped: bool = True,
    ) -> None:
        serving = config.serving
        self.config = config
        ready: Ready = deque()
        self.ready = ready
        self.allocator: Allocator = make_allocator(config, inventory, mapped)
        self.notes = Notes(self.allocator, recorder, journal)
        self.gpu = Queue(ready, serving.gpu_streams)
        self.channel = Queue(ready, serving.load_channels)
        self.cpu = Queue(ready, serving.cpu_workers, config.fallback.fallback_queue_size)
        release_timeout_s = ms_to_s(serving.release_timeout_ms)
        self.room = RoomQueue(self.allocator, ready, self.notes.decision, release_timeout_s)
        self.waiting = WaitingRequests(ready, serving.max_wait_s, serving.order in BY_COMING)
        self.allocator.tell_moves(self.waiting.moved)
        self.cache = ResultCache(config.caching) if config.caching.enable_result_caching else None
        self.memory_taken = Gate(ready)
        self.decider: Decider
        self.on_idle: Callable[[Model, float], object] | None = None
        self.on_leave: Callable[[str, float, str], object] | None = None

    # -- what stories tell it ----------------------------------------------------------------------------

    def withdraw(self, name: str, now_s: float) -> None:
        """A task that was pinned to a model no longer is, without having run it to the end."""
        if self.allocator.withdraw(name):
            self.changed(now_s)
        else:
            self.decider.freed(now_s)

    def changed(self, now_s: float) -> None:
        """Models have been released, or have come or gone: decide anew."""
        if self.room.waiters:
            self.room.decide(now_s)
        self.decider.freed(now_s)

    def others_wait(self, name: str, task: int | str) -> bool:
        """Whether requests other than `task` wait for a model that is being loaded."""
        return any(entry.number != task for entry in self.waiting.of(self.allocator.models[name]))

    def leaves(self, name: str, now_s: float, reason: str) -> None:
        """A model begins to leave the device."""
        self.waiting.changes += 1  # from now on a load may claim its room
        if self.on_leave is not None:
            self.on_leave(name, now_s, reason)

    def loaded(self, name: str, what: Any) -> None:
        """A model was loaded, as a ``Load`` says: answers of another file are not its own."""
        if isinstance(what, Replaced) and self.cache is not None:
            self.cache.forget(name)

    def usage(self, now_s: float) -> None:
        """Memory has been taken or given back."""
        if self.memory_taken.waiters:
            self.memory_taken.open()
        self.notes.usage(now_s)
