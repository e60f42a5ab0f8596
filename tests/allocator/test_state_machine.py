"""Any order of requests and reports, over zones, guests, priorities, retention, pins and claims.

After each step the invariants hold; each decision is compared with rules that are written down here once
more, in the plainest way, over what was there before it.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.allocator.building import a_config, mb
from vramlab.allocator import Allocator, Decision, Kind, State
from vramlab.allocator.extents import Extent, ExtentMap
from vramlab.allocator.facts import Model
from vramlab.allocator.invariants import check
from vramlab.allocator.placement import Contiguous, Paged
from vramlab.allocator.states import TRANSITIONS
from vramlab.config.schema import ModelSpec, Priority

PRIORITIES = [priority.value for priority in Priority]
ON_DEVICE = (State.LOADING, State.RESIDENT, State.IN_USE)

zones_strategy = st.fixed_dictionaries(
    {
        "size_mb": st.integers(40, 100),
        "eviction_policy": st.sampled_from([*["aggressive_lru", "reluctant_lru"] * 3, "never"]),
        "min_retention_time": st.sampled_from([0, 0, 5]),
        "max_models": st.sampled_from([None, None, None, 2, 3]),
        "borrowers": st.lists(st.sampled_from(PRIORITIES), unique=True),
    }
)
models_strategy = st.fixed_dictionaries(
    {
        "priority": st.sampled_from([*["high", "medium", "low"] * 3, "critical"]),
        "vram_size_mb": st.integers(1, 60),
        "load_time_ms": st.integers(0, 1000),
        "zone": st.sampled_from(["flexible", "high_priority", "critical"]),
        "cpu_fallback": st.sampled_from(["cpu_standard", "cpu_standard", "none"]),
    }
)
settings_strategy = st.fixed_dictionaries(
    {
        "scoring": st.fixed_dictionaries(
            {
                "policy": st.sampled_from(["lru", "lfu", "fifo", "gdsf", "seed", "seed_fixed"]),
                "victims": st.sampled_from(["auto", "in_order", "pruned", "exact"]),
            }
        ).filter(lambda scoring: (scoring["policy"], scoring["victims"]) != ("gdsf", "exact")),
        "admission": st.sampled_from(["always", "always", "compete"]),
        "admission_by_priority": st.fixed_dictionaries({"low": st.sampled_from([None, None, "free_only"])}),
        "fallback": st.fixed_dictionaries({"cpu_fallback_enabled": st.sampled_from([True, True, False])}),
    }
)


class Before(NamedTuple):
    """What was there before a request."""

    states: dict[Model, State]
    staying: dict[Model, str]  # models that stay or are coming, and the zone of each
    pins: dict[Model, int]


class AllocatorMachine(RuleBasedStateMachine):
    @initialize(
        zones=st.lists(zones_strategy, min_size=3, max_size=3),
        models=st.lists(models_strategy, min_size=6, max_size=9),
        share=st.floats(0.3, 1.0),
        more=settings_strategy,
    )
    def build(self, zones, models, share, more):
        names = ["critical", "high_priority", "flexible"]
        self.config = a_config(
            dict(zip(names, zones, strict=True)),
            total_mb=max(max(zone["size_mb"] for zone in zones), sum(z["size_mb"] for z in zones) * share),
            **more,
        )
        inventory = {f"m{i}": ModelSpec.model_validate(values) for i, values in enumerate(models)}
        self.allocator = self.make(inventory)
        self.models = list(self.allocator.models.values())
        self.specs = inventory
        self.now_s = 0.0
        self.budget_bytes = self.config.budget_bytes  # by now
        self.pins: dict[Model, int] = dict.fromkeys(self.models, 0)
        self.waiting: list[tuple[str, Priority | None]] = []
        self.remember()

    def make(self, inventory):
        return Allocator(self.config, inventory)

    # -- what happens ------------------------------------------------------------------------------------

    @rule(
        index=st.integers(0, 8),
        priority=st.sampled_from([None, None, None, *Priority]),
        after_s=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
    )
    def request(self, index, priority, after_s):
        self.now_s += after_s
        model = self.models[index % len(self.models)]
        before = self.before()
        uses = model.uses_total
        decision = self.allocator.request(model.name, self.now_s, priority)
        assert model.uses_total == uses + 1
        self.judge(model, decision, before, priority)
        if decision.kind is Kind.WAIT:
            self.waiting.append((model.name, priority))

    @rule(indices=st.lists(st.integers(0, 8), min_size=1, max_size=12))
    def serve(self, indices):
        """Requests one after the other, each done before the next: what fills the zones."""
        for index in indices:
            self.now_s += 1.0
            model = self.models[index % len(self.models)]
            before = self.before()
            decision = self.allocator.request(model.name, self.now_s)
            self.judge(model, decision, before, None)
            for name in decision.victims:
                self.judge_met(lambda name=name: self.allocator.unloaded(name), None)
            if decision.kind is Kind.LOAD and not model.claiming:
                self.allocator.loaded(model.name, self.now_s)
            if model.state is State.IN_USE:
                self.pins[model] -= 1
                self.allocator.released(model.name)
            check(self.allocator)
        self.remember()

    @precondition(lambda self: self.waiting)
    @rule(index=st.integers(0, 8))
    def ask_again(self, index):
        name, priority = self.waiting.pop(index % len(self.waiting))
        model = self.allocator.models[name]
        before = self.before()
        uses = model.uses_total
        decision = self.allocator.ask_again(name, self.now_s, priority)
        assert model.uses_total == uses
        self.judge(model, decision, before, priority)

    @rule(index=st.integers(0, 8))
    def reserve(self, index):
        model = self.models[index % len(self.models)]
        before = self.before()
        decision = self.allocator.reserve(model.name, self.now_s)
        if decision is None:
            assert before.states[model] is not State.ABSENT or not self.fits(model, model.home, before)
        else:
            assert decision.victims == ()
            assert model.zone is model.home
            assert model.pins == 0

    @precondition(lambda self: self.in_state(State.LOADING, claiming=False))
    @rule(index=st.integers(0, 8))
    def loaded(self, index):
        loading = self.in_state(State.LOADING, claiming=False)
        model = loading[index % len(loading)]
        self.allocator.loaded(model.name, self.now_s)
        assert model.state is (State.IN_USE if self.pins[model] else State.RESIDENT)

    @precondition(lambda self: self.in_state(State.LOADING))
    @rule(index=st.integers(0, 8))
    def load_failed(self, index):
        loading = self.in_state(State.LOADING)
        model = loading[index % len(loading)]
        self.judge_met(lambda: self.allocator.load_failed(model.name), model)
        self.pins[model] = 0

    @precondition(lambda self: self.in_state(State.EVICTING))
    @rule(index=st.integers(0, 8))
    def unloaded(self, index):
        leaving = self.in_state(State.EVICTING)
        model = leaving[index % len(leaving)]
        self.judge_met(lambda: self.allocator.unloaded(model.name), None)

    @precondition(lambda self: self.in_state(State.IN_USE))
    @rule(index=st.integers(0, 8))
    def released(self, index):
        used = self.in_state(State.IN_USE)
        model = used[index % len(used)]
        self.pins[model] -= 1
        assert self.allocator.released(model.name) is (self.pins[model] == 0)

    @rule(index=st.integers(0, 8))
    def unload(self, index):
        model = self.models[index % len(self.models)]
        before = model.state
        decision = self.allocator.unload(model.name, self.now_s)
        assert (decision is not None) is (before is State.RESIDENT)

    # -- the device and the footprints change ------------------------------------------------------------

    @rule(share=st.sampled_from([0.0, 0.3, 0.6, 1.0, 1.0, 1.2]))
    def set_budget(self, share):
        """Another process takes memory, or gives it back; nobody leaves for that alone."""
        self.budget_bytes = int(self.config.budget_bytes * share)
        before = self.before()
        self.judge_met(lambda: self.allocator.set_budget(self.budget_bytes), None)
        assert self.before() == before

    @rule(needed_mb=st.integers(0, 150))
    def relieve(self, needed_mb):
        """Enough leaves if it can, and nobody without need; never one that is in use or kept for good."""
        needed_bytes = mb(needed_mb)
        may_leave = [
            model
            for model in self.in_state(State.RESIDENT)
            if model.priority is not Priority.CRITICAL
            and self.config.zones[model.zone.name].eviction_policy != "never"
        ]
        victims = [self.allocator.models[name] for name in self.allocator.relieve(needed_bytes, self.now_s)]
        assert set(victims) <= set(may_leave)
        assert all(model.state is State.EVICTING for model in victims)
        freed = sum(model.bytes for model in victims)
        assert freed >= min(needed_bytes, sum(model.bytes for model in may_leave))
        for model in victims:
            assert freed - model.bytes < needed_bytes

    @rule(index=st.integers(0, 8), size_mb=st.integers(1, 120))
    def grow(self, index, size_mb):
        """A footprint never shrinks, and one that is accounted for stays until the model has left."""
        model = self.models[index % len(self.models)]
        before = model.bytes
        news = self.allocator.grow(model.name, mb(size_mb))
        assert not news or mb(size_mb) > before
        if model.state is State.ABSENT:
            assert (model.bytes > before) is news
        else:
            assert model.bytes == before
        assert not self.allocator.grow(model.name, mb(size_mb))

    # -- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def rules_hold(self):
        check(self.allocator)
        assert {model: model.pins for model in self.models} == self.pins
        for model in self.models:
            step = (self.states[model], model.state)
            assert step[0] is step[1] or step in TRANSITIONS, step
        self.remember()
        device = self.allocator.device
        if not self.in_state(State.EVICTING) and device.committed <= device.cap:
            assert self.allocator.claims == ()  # nothing is leaving: nobody waits for bytes

    def judge(self, model: Model, decision: Decision, before: Before, priority: Priority | None) -> None:
        state = before.states[model]
        kind = decision.kind
        pinned = kind in (Kind.HIT, Kind.LOAD, Kind.JOIN)
        self.pins[model] += pinned
        assert (kind is Kind.HIT) is (state in (State.RESIDENT, State.IN_USE))
        assert (kind is Kind.JOIN) is (state is State.LOADING)
        assert decision.zone == (model.zone.name if pinned else None)
        if kind in (Kind.HIT, Kind.JOIN):
            return
        if state is State.EVICTING:
            assert kind is Kind.WAIT
            return
        rank = model.rank if priority is None else priority.rank
        if kind is Kind.LOAD:
            self.judge_load(model, [self.allocator.models[name] for name in decision.victims], before, rank)
            return
        changed = [m for m in self.models if m.state is not before.states[m] or m.pins != before.pins[m]]
        assert changed == []  # nobody left, as the load does not happen
        spec = self.specs[model.name]
        forced = not (spec.may_run_on_cpu and self.config.fallback.cpu_fallback_enabled)
        assert not any(self.fits(model, zone, before) for zone in self.places(model))
        assert (kind is Kind.CPU) is not forced
        if "free room" in decision.reason:
            assert rank == Priority.LOW.rank
        elif "worth less" in decision.reason:
            assert self.config.admission == "compete"
        else:
            assert not self.could_load(model, before, rank, pressure=forced, busy=False)
            if forced:
                assert (kind is Kind.WAIT) is self.could_load(model, before, rank, pressure=True, busy=True)

    def judge_load(self, model: Model, victims: list[Model], before: Before, rank: int) -> None:
        zone = model.zone
        assert zone in self.places(model)
        assert self.fits(model, zone, before, without=victims)
        if not victims:
            return
        assert len(set(victims)) == len(victims)
        for place in self.places(model):
            assert not self.fits(model, place, before)
        spec = self.specs[model.name]
        forced = not (spec.may_run_on_cpu and self.config.fallback.cpu_fallback_enabled)
        unforced = set(self.candidates(model, zone, before, rank, pressure=False, busy=False))
        allowed = set(self.candidates(model, zone, before, rank, pressure=forced, busy=False))
        assert set(victims) <= allowed
        if not set(victims) <= unforced:  # pressure, only if it could not be had without
            assert not self.could_load(model, before, rank, pressure=False, busy=False)
        if self.chooses_in_order():
            assert not self.fits(model, zone, before, without=victims[:-1])
        else:
            for spared in victims:
                rest = [victim for victim in victims if victim is not spared]
                assert not self.fits(model, zone, before, without=rest)
        pool = allowed if not set(victims) <= unforced else unforced
        guests_here = [m for m in pool if before.staying[m] == zone.name and m.home is not zone]
        if self.fits(model, zone, before, without=guests_here):
            assert not [m for m in victims if before.staying[m] == zone.name and m.home is zone]

    def judge_met(self, report, failed: Model | None) -> None:
        waited = [model for model in self.allocator.claims if model is not failed]
        met = report()
        assert [model.name for model in waited if not model.claiming] == met

    # -- the rules once more -----------------------------------------------------------------------------

    def places(self, model: Model):
        zones = self.allocator.zones.values()
        lenders = [
            zone
            for zone in zones
            if model.priority in self.config.zones[zone.name].borrowers and zone is not model.home
        ]
        return [model.home, *lenders]

    def fits(self, model: Model, zone, before: Before, without=()) -> bool:
        staying = {m: place for m, place in before.staying.items() if m not in set(without)}
        here = [m for m, place in staying.items() if place == zone.name]
        rules = self.config.zones[zone.name]
        return (
            sum(m.bytes for m in here) + model.bytes <= rules.size_bytes
            and sum(m.bytes for m in staying) + model.bytes <= self.budget_bytes
            and (rules.max_models is None or len(here) < rules.max_models)
        )

    def candidates(self, model: Model, zone, before: Before, rank: int, pressure: bool, busy: bool):
        """Models that may leave so that `model` gets into `zone`."""
        found = []
        for victim, place in before.staying.items():
            rules = self.config.zones[place]
            state = before.states[victim]
            protected = rules.eviction_policy == "reluctant_lru" or place != model.home.name
            protected = protected or zone is not model.home
            retained = self.now_s - victim.loaded_at_s < rules.min_retention_time
            if rules.eviction_policy == "never" or victim.priority is Priority.CRITICAL:
                continue
            if protected and victim.rank < rank:
                continue
            if state is not State.RESIDENT and not busy:
                continue
            if retained and not pressure:
                continue
            found.append(victim)
        return found

    def could_load(self, model: Model, before: Before, rank: int, pressure: bool, busy: bool) -> bool:
        return any(
            self.fits(model, zone, before, without=self.candidates(model, zone, before, rank, pressure, busy))
            for zone in self.places(model)
        )

    def chooses_in_order(self) -> bool:
        scoring = self.config.scoring
        return scoring.victims == "in_order" or (
            scoring.victims == "auto" and scoring.policy in ("lru", "lfu", "fifo", "gdsf")
        )

    # -- looking -----------------------------------------------------------------------------------------

    def in_state(self, state: State, claiming: bool | None = None) -> list[Model]:
        return [
            model
            for model in getattr(self, "models", [])
            if model.state is state and claiming in (None, model.claiming)
        ]

    def before(self) -> Before:
        return Before(
            {model: model.state for model in self.models},
            {model: model.zone.name for model in self.models if model.state in ON_DEVICE},
            {model: model.pins for model in self.models},
        )

    def remember(self) -> None:
        self.states = {model: model.state for model in self.models}


class PagedMachine(AllocatorMachine):
    """The same with a map, which must change no decision."""

    def make(self, inventory):
        return Allocator(self.config, inventory, Paged)

    @rule(index=st.integers(0, 8), zone=st.integers(0, 2), offset_mb=st.integers(0, 60))
    def move(self, index, zone, offset_mb):
        """A model that is absent is loaded where somebody wants it, as defragmentation does."""
        model = self.models[index % len(self.models)]
        place = list(self.allocator.zones.values())[zone]
        if place is not model.home:
            return
        state, last_used_s = model.state, model.last_used_s
        wanted = (Extent(mb(offset_mb), model.bytes),)
        is_free = self.allocator.placement.maps[place.name].is_free(wanted)
        decision = self.allocator.reserve_at(model.name, self.now_s, place, wanted)
        if decision is None:
            return
        assert state is State.ABSENT
        assert decision.victims == ()
        assert model.last_used_s == last_used_s
        if is_free and not model.claiming:
            assert self.allocator.placement.maps[place.name].placed[model.name] == wanted


def copied(extents):
    """A map of its own with the same models; machine code has nothing that `deepcopy` could go by."""
    copy = ExtentMap(extents.size)
    for name, places in extents.placed.items():
        copy.place_at(name, places)
    return copy


class ContiguousMachine(PagedMachine):
    """Every model in one piece. Who has to leave depends on where it lies: judged by the holes."""

    def make(self, inventory):
        return Allocator(self.config, inventory, Contiguous)

    def before(self):
        self.holes = {name: copied(extents) for name, extents in self.allocator.placement.maps.items()}
        return super().before()

    def fits(self, model, zone, before, without=()):
        gone = [victim.name for victim in without if before.staying[victim] == zone.name]
        return (
            super().fits(model, zone, before, without)
            and self.holes[zone.name].largest_without(gone) >= model.bytes
        )

    def chooses_in_order(self):
        return False  # always pruned


TestAllocatorMachine = AllocatorMachine.TestCase
TestPagedMachine = PagedMachine.TestCase
TestContiguousMachine = ContiguousMachine.TestCase
if settings().max_examples == settings.get_profile("ci").max_examples:  # the fuzz profile has its own
    TestAllocatorMachine.settings = settings(max_examples=500, stateful_step_count=30)
    TestPagedMachine.settings = settings(max_examples=100, stateful_step_count=30)
    TestContiguousMachine.settings = settings(max_examples=200, stateful_step_count=30)
