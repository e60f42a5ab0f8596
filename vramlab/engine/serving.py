"""The story of one request, from arrival to answer.

Everything here is policy and bookkeeping; time and the outcomes of effects come from a driver
(:mod:`vramlab.engine.effects`). Read :meth:`Engine.serve` from top to bottom: it is what happens to a
request. What it may set in motion is told elsewhere: loads and unloads in :mod:`.loading`, the CPU as second
best in :mod:`.fallback`, runs that find no memory in :mod:`.shortage`. Who is served next is decided late, in
view of all who wait (:mod:`.scheduler`), or on arrival (:mod:`.arrival`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from functools import partial
from typing import Any, NamedTuple

from vramlab.allocator import Allocator, Decision, Kind, make_allocator
from vramlab.allocator.policies.own import PolicyError, Watched
from vramlab.allocator.states import IN_USE, RESIDENT
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import ms_to_s
from vramlab.engine import commands, defragmentation, monitor, preloading, shortage
from vramlab.engine.arrival import OnArrival
from vramlab.engine.cache import MISS, ResultCache
from vramlab.engine.effects import (
    Cancelled,
    EffectFailed,
    Failure,
    Infer,
    Replaced,
    Story,
    Target,
    Wait,
)
from vramlab.engine.fallback import Fallback
from vramlab.engine.gates import Gate, Ready, Slots
from vramlab.engine.journal import Journal
from vramlab.engine.loading import Loading
from vramlab.engine.orders import ARRIVAL
from vramlab.engine.outcomes import Outcome, RecordSink
from vramlab.engine.requests import Request
from vramlab.engine.scheduler import Scheduler

# For the hot path: to look a member up in its class costs Python 3.11 as much as a call.
IS_LOAD = Kind.LOAD
HIT, FALLBACK, CACHE_HIT = Outcome.HIT, Outcome.FALLBACK, Outcome.CACHE_HIT
REFUSED, FAILED = Outcome.REFUSED, Outcome.FAILED

ENDLESS = frozenset({monitor.NAME, preloading.NAME})
"""Stories that go on for ever: a run is over when nothing else is under way."""


class Answer(NamedTuple):
    """What became of a request: how it ended, the outputs if it ran, and why if it did not."""

    outcome: Outcome
    outputs: Any = None
    why: str = ""


_answer = partial(tuple.__new__, Answer)  # without the constructor's detour: twice as fast


class Engine:
    """The serving engine: the allocator, the queues, and the stories.

    Parameters
    ----------
    config : VramConfig
        All settings.
    inventory : dict of str to ModelSpec
        All models that may be asked for.
    recorder : RecordSink
        Where outcomes, loads and evictions are written down.
    journal : Journal, optional
        Where decisions are written down.
    mapped : bool
        Keep the map of the memory even where it decides nothing (placement ``paged``).
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
        self.allocator: Allocator = make_allocator(config, inventory, mapped)
        self.recorder = recorder
        recorder.binding = lambda: self.allocator.binding
        self._zones = list(self.allocator.zones.values())
        self.journal = journal
        self.ready: Ready = deque()
        self.gpu = Slots(self.ready, serving.gpu_streams)
        self.channel = Slots(self.ready, serving.load_channels)
        self.cpu = Slots(self.ready, serving.cpu_workers)
        self.cache = ResultCache(config.caching) if config.caching.enable_result_caching else None
        self.on_notice: Callable[[str, str | None, int, str], None] | None = None  # for a driver that logs
        self.memory_taken = Gate(self.ready)  # opens when models have taken or given back memory
        load_timeout_s = ms_to_s(serving.load_timeout_ms)
        self.loading = Loading(self, load_timeout_s)
        ratio = config.fallback.cpu_performance_ratio
        cpu_item_s = {name: spec.cpu_inference_s(ratio) for name, spec in inventory.items()}
        queue_size = config.fallback.fallback_queue_size
        self.fallback = Fallback(self, queue_size, load_timeout_s, cpu_item_s)
        predicts = config.optimization.predictor is not None
        self.preloading = preloading.Preloading(self) if predicts else None
        self._run_one = {name: Infer(name, Target.GPU, 1) for name in inventory}
        self.wait_gpu = Wait(self.gpu)
        self.on_arrival = OnArrival(self)
        self.scheduler = None if serving.order == ARRIVAL else Scheduler(self, inventory)
        self._desk: OnArrival | Scheduler = self.scheduler or self.on_arrival
        # looked at on every request
        self._waiting: Sized = (
            self.on_arrival.line.queue if self.scheduler is None else self.scheduler.waiting.entries
        )
        if config.fallback.when == "earliest_finish":
            self._waiting = (None,)  # each request is to be thought about

    def tolerate(self, report: Callable[[InputError], object]) -> None:
        """Go on where a user's policy or predictor raises on hearing something; `report` is told.

        For drivers that serve on. Else the error ends the run, as it should a study.
        """
        for zone in self._zones:
            if isinstance(zone.policy, Watched):
                zone.policy.report = report
        if self.preloading is not None:
            self.preloading.tolerate(report)

    # -- a request ---------------------------------------------------------------------------------------

    def serve(self, number: int, request: Request, now_s: float) -> Story:
        """One request: result cache, allocation, waiting, running, release.

        Parameters
        ----------
        number : int
            Of the request, as in the records.
        request : Request
            What is asked for.
        now_s : float
            Time of arrival, seconds.

        Returns
        -------
        generator
            Of effects; its value is an :class:`Answer`.
        """
        name, journal = request.model, self.journal
        cache = None if request.input_key is None else self.cache
        if cache is not None:
            kept = cache.get(request, now_s)
            if kept is not MISS:
                return self.answer(number, now_s, CACHE_HIT, kept)
        if self.preloading is not None:
            self.preloading.asked(name, now_s)
        gpu, model = self.gpu, self.allocator.models.get(name) or self.allocator.model(name)
        state = model.state
        outcome, why = HIT, ""
        if (
            (state is IN_USE or state is RESIDENT)
            and gpu.free
            and (not self._waiting or self._desk.may_pass())
        ):
            gpu.free -= 1
            decision = self.allocator.request(name, now_s, request.priority)
            if journal is not None:
                journal.put((now_s, number, decision, None))
        else:
            now_s, outcome, why = yield from self._desk.obtain(number, request, now_s)
            if outcome is FALLBACK:
                return (yield from self.fallback.run(number, request, now_s, why))
            if outcome is REFUSED or outcome is FAILED:
                return self.answer(number, now_s, outcome, None, why)
        try:
            now_s, outputs = yield (
                self._run_one[name] if request.items == 1 else Infer(name, Target.GPU, request.items)
            )
        except EffectFailed as failure:
            self._free_stream(failure.now_s)
            if failure.kind is Failure.OUT_OF_MEMORY:
                return (yield from shortage.run(self, number, request, outcome, failure))
            self.withdraw(name, failure.now_s)
            return self.answer(number, failure.now_s, FAILED, None, str(failure))
        except Cancelled as cancelled:
            gpu.release()
            self.withdraw(name, cancelled.now_s)
            raise
        gpu.release()
        idle = self.allocator.released(name)
        if self._waiting:
            self._desk.run_ended(idle, now_s)
        if cache is not None:
            cache.put(request, outputs, now_s)
        return self.answer(number, now_s, outcome, outputs, why)

    def story(self, name: str, now_s: float, model: str | None = None) -> Story:
        """One of the engine's own stories: ``monitor``, ``defragment``, or one of :mod:`.commands`."""
        if model is not None:
            return commands.FOR_A_MODEL[name.partition(" ")[0]](self, name, model, now_s)
        if name == monitor.NAME:
            return monitor.Monitor(self).story(now_s)
        if name == preloading.NAME and self.preloading is not None:
            return self.preloading.story(now_s)
        if name == defragmentation.NAME:
            return defragmentation.defragment(self, now_s)
        return {"start": commands.start, "stop": commands.stop}[name](self, now_s)

    def endless_stories(self) -> list[str]:
        """Names of the stories that a driver begins after ``start``, and that end only with the run."""
        optimization = self.config.optimization
        switched_on = ((monitor.NAME, optimization.monitor), (preloading.NAME, self.preloading is not None))
        return [name for name, on in switched_on if on]

    @property
    def line_length(self) -> int:
        """How many wait for room or for a load, and under ``arrival`` for models in use."""
        late = 0 if self.scheduler is None else len(self.scheduler.waiting) - self.scheduler.waiting.ready
        return late + len(self.on_arrival.line.queue)

    @property
    def waiting_for_gpu(self) -> int:
        """How many wait for a stream alone."""
        late = 0 if self.scheduler is None else self.scheduler.waiting.ready
        return late + len(self.gpu.waiters)

    # -- what stories tell it ----------------------------------------------------------------------------

    def worth_another_try(self, failure: EffectFailed | Cancelled | None) -> bool:
        """Whether a load that ended so may end otherwise next time."""
        return isinstance(failure, EffectFailed) and failure.kind is Failure.OUT_OF_MEMORY

    def withdraw(self, name: str, now_s: float) -> None:
        """A task that was pinned to a model no longer is, without having run it to the end."""
        if self.allocator.withdraw(name) or self.scheduler is not None:
            self.changed(now_s)

    def changed(self, now_s: float) -> None:
        """Models have been released, or have come or gone: decide anew."""
        if self.on_arrival.line.queue:  # under a scheduler only of commands
            self.on_arrival.changed(now_s)
        if self.scheduler is not None:
            self.scheduler.changed(now_s)

    def moved(self, *names: str) -> None:
        """The states of these models have changed."""
        if self.scheduler is not None:
            for name in names:
                self.scheduler.waiting.moved(self.allocator.models[name])

    def others_wait(self, name: str, task: int | str) -> bool:
        """Whether requests other than `task` wait for a model that is being loaded."""
        if self.scheduler is None:
            return False
        waiting = self.scheduler.waiting.of(self.allocator.models[name])
        return any(entry.number != task for entry in waiting)

    def _free_stream(self, now_s: float) -> None:
        self.gpu.release()
        if self.scheduler is not None:
            self.scheduler.changed(now_s)

    # -- writing down ------------------------------------------------------------------------------------

    def answer(self, number: int, now_s: float, outcome: Outcome, outputs: Any, why: str = "") -> Answer:
        """A request has ended: write it down."""
        recorder, journal = self.recorder, self.journal
        if journal is not None:
            arrival_s = recorder.arrival_s[number]
            if why:
                journal.unanswered(now_s, number, outcome, arrival_s, why)
            else:
                journal.put((now_s, number, outcome, arrival_s))
        recorder.done(number, outcome, now_s, why)
        return _answer((outcome, outputs, why))

    def cancelled(self, task: int | str, now_s: float) -> Answer | None:
        """A story has ended because nobody wanted it any more: a request's answer, if it was one."""
        return self.answer(task, now_s, Outcome.CANCELLED, None) if isinstance(task, int) else None

    def policy_failed(self, task: int | str, now_s: float, error: PolicyError) -> Answer | None:
        """A story has ended because a user's policy failed it: a request's answer, if it was one.

        For drivers that go on then. A request that is being decided holds nothing yet.
        """
        return self.answer(task, now_s, FAILED, None, str(error)) if isinstance(task, int) else None

    def note_decision(self, task: int | str, now_s: float, decision: Decision) -> None:
        """Write down what was decided for a request, or for one of the engine's own stories."""
        journal = self.journal
        if journal is None:
            return
        if decision.kind is IS_LOAD:
            journal.load(now_s, task, decision, self.allocator.models[decision.model].bytes)
        else:
            journal.put((now_s, task, decision, None))

    def note(
        self, now_s: float, task: int | str, what: str, model: str | None, size_bytes: int, why: str
    ) -> None:
        """Write down what was learned or done beside the requests."""
        if self.on_notice is not None:
            self.on_notice(what, model, size_bytes, why)
        if self.journal is not None:
            self.journal.write(now_s, "action", task, model, what, None, size_bytes, why)

    def note_action(
        self,
        now_s: float,
        what: str,
        model: str | None = None,
        zone: str | None = None,
        size_bytes: int | None = None,
        why: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Write down what the monitor does."""
        if self.journal is not None:
            self.journal.write(now_s, "action", monitor.NAME, model, what, zone, size_bytes, why, detail)

    def note_loaded(self, name: str, loaded: Any) -> None:
        """A model was loaded, as a ``Load`` says: answers of another file are not its own."""
        if type(loaded) is Replaced and self.cache is not None:
            self.cache.forget(name)

    def note_usage(self, now_s: float) -> None:
        """Memory has been taken or given back."""
        if self.memory_taken.waiters:
            self.memory_taken.open()
        self.recorder.usage.append((now_s, tuple([zone.held for zone in self._zones])))
