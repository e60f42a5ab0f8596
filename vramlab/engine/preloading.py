"""Preloading by predicted use (specification, "analyze_and_preload"): loads before anybody has to wait.

The predictor is shown every request that reaches the allocator. Every ``preload_interval`` seconds, then:

1. A preloaded model that nobody has used within ``unpreload_after_s`` is unloaded.
2. Each absent model has a probability of use within the horizon: ``preload_horizon_s``, or its load time
   times ``preload_horizon_load_factor`` where that is given. Those above ``preload_prediction_threshold``
   are loaded one after the other, the most probable first, each into the free room of its own zone.
3. Without free room nothing is done, unless ``preload_may_evict``: then models of that zone may leave whose
   probability of use within the same horizon is lower, the lowest first, if a request of the newcomer's
   priority might evict them.

Requests go first: while the load channel is busy nothing is preloaded until the next look. So a request waits
at most for one preload that was under way when it came. What was preloaded and then taken off by anybody but
a request that needed the room (as unused, or by the monitor), or failed to load, is not preloaded again
before it was asked for: else the loop would do and undo the same thing.

A preload is *useful* if its model is asked for before it leaves, and *wasted* if it leaves before that.

Looks fall on a grid, from the start on. Looks at which nothing could be done (no room, nothing to take back)
are left out: the story waits until memory is taken or given back. After a week of looks (at the default
interval) without any request they come farther and farther apart, until somebody asks for something again: a
trace may have a gap of years.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vramlab.allocator import Decision
from vramlab.allocator.facts import ABSENT, RESIDENT, STAYING, Model
from vramlab.config.errors import InputError
from vramlab.engine.desk import Desk
from vramlab.engine.effects import Spawn, Story, Wait
from vramlab.engine.gates import Gate
from vramlab.engine.loading import Loading
from vramlab.engine.outcomes import PreloadRecord
from vramlab.prediction import Predictor, accepts, make_predictor
from vramlab.prediction.own import Watched

NAME = "preloading"
_IDLE_LOOKS = 10_080


class Preloading:
    """The preloading of one engine, and the account of what became of each preload.

    Parameters
    ----------
    desk, loading
        Of the engine; ``optimization.predictor`` of its configuration must be given.

    Raises
    ------
    InputError
        For an unknown predictor, or options that it does not take.
    """

    def __init__(self, desk: Desk, loading: Loading) -> None:
        config = desk.config.optimization
        assert config.predictor is not None
        options = dict(config.predictor_options)
        if accepts(config.predictor, "week_offset_s"):
            options.setdefault("week_offset_s", config.week_offset_s)
        self.predictor: Predictor = make_predictor(config.predictor, desk.allocator.models, **options)
        self._desk, self._loading, self._notes, self._allocator = desk, loading, desk.notes, desk.allocator
        self._interval_s = config.preload_interval
        self._threshold = config.preload_prediction_threshold
        self._horizon_s = config.preload_horizon_s
        self._load_factor = config.preload_horizon_load_factor
        self._may_evict = config.preload_may_evict
        self._unpreload_after_s = config.unpreload_after_s
        self._unused: dict[str, int] = {}  # preloaded and not yet asked for: place in the records
        self._in_vain: set[str] = set()  # not again before they were asked for
        self._idle_looks = 0  # since somebody has asked for anything
        self._next_look = Gate(desk.ready)  # hardly ever opens: waiting for it is sleeping
        self._load_ended = Gate(desk.ready)

    def tolerate(self, report: Callable[[InputError], object]) -> None:
        """Go on where the predictor raises or gives no probability; `report` is told."""
        name = self._desk.config.optimization.predictor or ""
        self.predictor = Watched(self.predictor, name, report)

    # -- what the engine tells it ------------------------------------------------------------------------

    def asked(self, name: str, now_s: float) -> None:
        """A request for `name` reaches the allocator."""
        self.predictor.observe(name, now_s)
        if self._idle_looks > _IDLE_LOOKS:
            self._next_look.open()  # by now they may be far between
        self._idle_looks = 0
        self._in_vain.discard(name)
        if name in self._unused and self._allocator.models[name].state in STAYING:
            self._known(name, now_s, "useful", "asked for")

    def left(self, name: str, now_s: float, reason: str) -> None:
        """`name` leaves the device."""
        if name in self._unused:
            self._known(name, now_s, "wasted", reason)
            if reason != "eviction":
                self._in_vain.add(name)

    def _known(self, name: str, now_s: float, fate: str, why: str) -> None:
        preloads, place = self._notes.recorder.preloads, self._unused.pop(name)
        record = preloads[place] = preloads[place]._replace(settled_s=now_s, fate=fate)
        self._note(now_s, f"preload {fate}", record, why)

    # -- the loop ----------------------------------------------------------------------------------------

    def story(self, now_s: float) -> Story:
        """Look, and sleep until the next look that could matter; never ends by itself."""
        start_s, look = now_s, 0
        while True:
            look = max(look, math.floor((now_s - start_s) / self._interval_s)) + self._stride()
            now_s, _ = yield Wait(self._next_look, start_s + look * self._interval_s - now_s)
            now_s = yield from self._unload_unused(now_s)
            now_s = yield from self._preload(now_s)
            while not self._may_evict and not self._candidates():
                timeout_s = self._until_unused(now_s)
                now_s, _ = yield Wait(self._desk.memory_taken, timeout_s)
                if timeout_s is not None and now_s >= self._first_unused_s():
                    break

    def _stride(self) -> int:
        """How many times the interval it is until the next look; more where nobody asks for anything."""
        self._idle_looks += 1
        return 1 << max(0, self._idle_looks - _IDLE_LOOKS) // 100

    def _preload(self, now_s: float) -> Story:
        """Load what is likely to be used, the most probable first. The value is the time."""
        likely = [(self.probability(model, now_s), model) for model in self._candidates()]
        likely = [entry for entry in likely if entry[0] > self._threshold]
        for probability, model in sorted(likely, key=lambda entry: (-entry[0], entry[1].number)):
            if not self._desk.channel.free:
                break
            if self._may_evict and model.state is ABSENT and not self._has_room(model):
                now_s = yield from self._make_room(model, probability, now_s)
            decision = self._allocator.reserve(model.name, now_s)
            if decision is None:
                continue
            self._begun(model, probability, now_s, decision.zone or model.home.name)
            self._notes.decision(NAME, now_s, decision)
            # a task of its own: this one ends with the run, and requests may be waiting for the load
            yield Spawn(f"{NAME} {len(self._notes.recorder.preloads)}", self._load(decision, now_s))
            now_s, _ = yield self._load_ended
        return now_s

    def _load(self, decision: Decision, now_s: float) -> Story:
        """One preload."""
        now_s, failure = yield from self._loading.load(decision, now_s, "preload")
        if failure is not None:
            self._in_vain.add(decision.model)
            if decision.model in self._unused:
                self._known(decision.model, now_s, "failed", str(failure))
        self._load_ended.open()

    def probability(self, model: Model, now_s: float, like: Model | None = None) -> float:
        """Predicted use of `model` within its horizon, or within that of another one that it is held to."""
        other = like or model
        horizon_s = self._horizon_s if self._load_factor is None else self._load_factor * other.load_s
        return self.predictor.probability(model.name, now_s, horizon_s)

    # -- room --------------------------------------------------------------------------------------------

    def _candidates(self) -> list[Model]:
        """Absent models that could be loaded if they were likely to be used."""
        return [
            model
            for model in self._allocator.models.values()
            if model.state is ABSENT
            and model.name not in self._in_vain
            and (self._may_evict or self._has_room(model))
        ]

    def _has_room(self, model: Model, leaving_bytes: int = 0, leaving: int = 0) -> bool:
        """Whether `model` would fit into its zone and the budget, if so many bytes and models left."""
        zone, device = model.home, self._allocator.device
        return (
            model.bytes <= zone.cap - zone.committed + leaving_bytes
            and model.bytes <= device.cap - device.committed + leaving_bytes
            and (zone.max_models is None or zone.count - leaving < zone.max_models)
        )

    def _make_room(self, newcomer: Model, probability: float, now_s: float) -> Story:
        """Unload models whose predicted use is lower, if they make enough room. The value is the time."""
        entries = [
            (self.probability(model, now_s, newcomer), model)
            for model in self._allocator.models.values()
            if model.zone is newcomer.home and self._may_leave(model, newcomer, now_s)
        ]
        entries = sorted(
            (entry for entry in entries if entry[0] < probability),
            key=lambda entry: (entry[0], entry[1].last_used_s),
        )
        victims: list[Model] = []
        for _, model in entries:
            if self._has_room(newcomer, sum(victim.bytes for victim in victims), len(victims)):
                break
            victims.append(model)
        freed = sum(victim.bytes for victim in victims)
        if not self._has_room(newcomer, freed, len(victims)):
            return now_s
        for victim in reversed(
            victims.copy()
        ):  # those that others make unnecessary stay, the likeliest first
            if self._has_room(newcomer, freed - victim.bytes, len(victims) - 1):
                victims.remove(victim)
                freed -= victim.bytes
        why = f"{newcomer.name} is likelier to be used"
        sent = [victim for victim in victims if self._allocator.unload(victim.name, now_s) is not None]
        for victim in sent:
            now_s = yield from self._loading.send_away(victim.name, now_s, "preload", why)
        return now_s

    def _may_leave(self, model: Model, newcomer: Model, now_s: float) -> bool:
        """The rules of the zone for evictions, as for a request of the newcomer's priority."""
        zone = model.zone
        return (
            model.state is RESIDENT
            and model.wanted is None
            and not model.critical
            and not zone.never
            and not (zone.reluctant and model.rank < newcomer.rank)
            and now_s >= model.loaded_at_s + zone.retention_s
        )

    # -- taking back -------------------------------------------------------------------------------------

    def _unload_unused(self, now_s: float) -> Story:
        """Unload what was preloaded and not used in time. The value is the time."""
        if self._unpreload_after_s is None:
            return now_s
        models = self._allocator.models
        for name in list(self._unused):
            due_s = models[name].loaded_at_s + self._unpreload_after_s
            if name not in self._unused or now_s < due_s or self._allocator.unload(name, now_s) is None:
                continue
            why = f"not used within {self._unpreload_after_s:g} s"
            now_s = yield from self._loading.send_away(name, now_s, "unused preload", why)
        return now_s

    def _first_unused_s(self) -> float:
        """When the first preloaded model counts as unused."""
        if self._unpreload_after_s is None:
            return math.inf
        models = self._allocator.models
        times_s = [models[name].loaded_at_s for name in self._unused if models[name].state is RESIDENT]
        return min(times_s, default=math.inf) + self._unpreload_after_s

    def _until_unused(self, now_s: float) -> float | None:
        first_s = self._first_unused_s()
        return None if math.isinf(first_s) else max(0.0, first_s - now_s)

    # -- writing down ------------------------------------------------------------------------------------

    def _begun(self, model: Model, probability: float, now_s: float, zone: str) -> None:
        preloads = self._notes.recorder.preloads
        self._unused[model.name] = len(preloads)
        record = PreloadRecord(now_s, model.name, zone, model.bytes, probability)
        preloads.append(record)
        self._note(now_s, "preload", record, f"predicted use {probability:.3f}")

    def _note(self, now_s: float, what: str, record: PreloadRecord, why: str) -> None:
        place = {"zone": record.zone, "size_bytes": record.size_bytes}
        self._notes.action(now_s, NAME, what, record.model, **place, why=why)
