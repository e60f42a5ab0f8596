"""A user's policy that raises at any moment: every transition is completed or never begun."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.hand import settings, spec
from vramlab.allocator import Allocator, Kind, make_allocator
from vramlab.allocator.invariants import check
from vramlab.allocator.policies import make_policy
from vramlab.allocator.policies.lru import LRU
from vramlab.allocator.policies.own import PolicyError, Watched
from vramlab.allocator.states import State
from vramlab.config.compiled import compiled
from vramlab.config.errors import InputError
from vramlab.config.schema import ScoringConfig

HOOKS = ("admitted", "used", "removed", "rejected", "grown", "score", "bid", "ranked")


MOODS: list[bool] = []


def moody(hook):
    def call(self, *given):
        if MOODS and MOODS.pop():
            raise RuntimeError(f"a bug in {hook}")
        return getattr(LRU, hook)(self, *given)

    return call


Moody = type("Moody", (LRU,), {hook: moody(hook) for hook in HOOKS})
"""LRU that raises wherever the next of its moods is bad; without moods it is LRU."""

OWN = "tests.policies.test_watched:Moody"


class Driver:
    """Does with an allocator what drivers do, at random; all that raises is PolicyError, before anything."""

    def __init__(self, *overrides):
        inventory = {
            name: spec(size, cpu_fallback=fallback)
            for name, size, fallback in (
                ("a", 2, "none"), ("b", 2, "cpu_standard"), ("c", 3, "none"), ("d", 1, "cpu_standard"),
                ("e", 4, "none"),
            )
        }  # fmt: skip
        self.config = settings(6, f"scoring.policy={OWN}", *overrides)
        self.allocator = make_allocator(self.config, inventory)
        self.heard = []
        for zone in self.allocator.zones.values():
            assert isinstance(zone.policy, Watched)
            zone.policy.report = self.heard.append
        self.now_s = 0.0

    def step(self, choice, name):
        self.now_s += 1.0
        allocator, model = self.allocator, self.allocator.models[name]
        before = self.ledger()
        try:
            if choice == 0 or model.state is State.ABSENT:
                if allocator.request(name, self.now_s).kind is Kind.JOIN:
                    allocator.withdraw(name)
            elif model.state is State.LOADING and not model.claiming:
                allocator.loaded(name, self.now_s) if choice % 2 else allocator.load_failed(name)
            elif model.state is State.IN_USE:
                allocator.released(name)
            elif model.state is State.EVICTING:
                allocator.unloaded(name)
            elif choice == 1:
                allocator.relieve(2**20, self.now_s)
            elif choice == 2:
                allocator.grow(name, model.bytes + 2**18)
            else:
                allocator.unload(name, self.now_s)
        except PolicyError:
            assert self.ledger() == before, "it has failed, and something has moved"
        check(allocator)

    def ledger(self):
        return [
            (model.state, model.pins, model.claiming, model.bytes) for model in self.allocator.models.values()
        ] + [self.allocator.device.held, self.allocator.device.committed]

    def wind_up(self):
        """Everything that is under way ends, and is then served as if nothing had ever happened."""
        MOODS.clear()
        for _ in range(20):
            for name, model in self.allocator.models.items():
                while model.state is State.IN_USE:
                    self.allocator.released(name)
                if model.state is State.LOADING and not model.claiming:
                    self.step(1, name)
                if model.state is State.EVICTING:
                    self.step(3, name)
        for name in ("a", "c", "e", "a"):
            decision = self.allocator.request(name, self.now_s)
            assert decision.kind in (Kind.HIT, Kind.LOAD), decision
            for victim in decision.victims:
                self.allocator.unloaded(victim)
            if decision.kind is Kind.LOAD:
                self.allocator.loaded(name, self.now_s)
            self.allocator.released(name)
            check(self.allocator)


@pytest.mark.parametrize("placement", ["paged", "contiguous"])
@pytest.mark.parametrize("admission", ["always", "compete"])
@given(st.integers(0, 2**32), st.lists(st.booleans(), max_size=60))
def test_whatever_raises_nothing_is_left_half_done(placement, admission, seed, moods):
    driver = Driver(f"placement={placement}", f"admission={admission}")
    rng = np.random.default_rng(seed)
    MOODS[:] = moods
    for _ in range(60):
        driver.step(int(rng.integers(5)), str(rng.choice(list(driver.allocator.models))))
    driver.wind_up()


def hooked(hook):
    class Raises(Moody):
        pass

    def raises(self, *given):
        raise KeyError(hook)

    setattr(Raises, hook, raises)
    return Raises()


@pytest.mark.parametrize("hook", ["admitted", "used", "removed", "rejected", "grown"])
def test_news_that_it_fails_to_hear_are_reported_and_replays_end(hook):
    MOODS.clear()
    model = Driver().allocator.models["a"]
    policy = Watched(hooked(hook), "mine")
    arguments = (model,) if hook == "grown" else (model, 0.0)
    if hook != "admitted":
        policy.admitted(model, 0.0)
    with pytest.raises(PolicyError, match=f"policy mine: {hook} with a: found KeyError: '{hook}'"):
        getattr(policy, hook)(*arguments)
    heard = []
    policy.report = heard.append
    getattr(policy, hook)(*arguments)
    assert len(heard) == 1


def test_an_order_names_each_model_that_is_there_once_and_forgets_nobody():
    MOODS.clear()
    a, b, c, _, _ = Driver().allocator.models.values()
    own = hooked("admitted")
    policy = Watched(own, "mine")
    policy.report = lambda error: None
    policy.admitted(a, 0.0)  # it has not heard of it
    own.ranked = lambda now_s: [b, c, c, b, b]
    assert list(policy.ranked(1.0)) == [a]
    del type(own).admitted
    policy.admitted(b, 1.0)
    policy.admitted(c, 1.0)
    assert list(policy.ranked(1.0)) == [b, c, a]
    policy.removed(c, True)
    policy.removed(a, True)
    assert list(policy.ranked(1.0)) == [b]


class Slots:
    """A class that lets nobody set anything on it."""

    __slots__ = ()

    def admitted(self, model, now_s): ...
    def used(self, model, now_s): ...
    def removed(self, model, evicted): ...
    def score(self, model, now_s):
        return 0.0

    def ranked(self, now_s):
        return []


class NeverMade(Slots):
    def __init__(self):
        raise OSError("no table")


def test_classes_that_cannot_be_changed_or_made():
    config = settings(6, "scoring.policy=tests.policies.test_watched:Slots")
    Allocator(config, {"a": spec(2)}).request("a", 0.0)
    config = settings(6, "scoring.policy=tests.policies.test_watched:NeverMade")
    with pytest.raises(InputError, match="which raises OSError: no table"):
        Allocator(config, {"a": spec(2)})


@pytest.mark.skipif(compiled(), reason="machine code has nothing that `deepcopy` could go by")
def test_copies_of_a_policy_are_copies():
    policy = make_policy(ScoringConfig(policy="tests.policies.own:NewestFirst"))
    other = deepcopy(policy)
    other.models.append("x")
    assert policy.models == []


def test_what_else_a_policy_has_is_found():
    policy = make_policy(ScoringConfig(policy="tests.policies.own:NewestFirst"))
    assert policy.models == []
    with pytest.raises(AttributeError):
        policy.nothing_of_the_kind  # noqa: B018
