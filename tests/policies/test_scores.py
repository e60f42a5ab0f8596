"""Scores in columns against the formula, model by model."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.cache import Cache
from vramlab.allocator.policies import ScorePolicy
from vramlab.allocator.scoring import SEED, SEED_FIXED, Exponents, score


def test_formula_by_hand():
    cache = Cache("seed", 900, {"A": {"vram_size_mb": 250, "load_time_ms": 400}})
    cache.ask("AA", every_s=0.0)
    model = cache.allocator.models["A"]
    # medium 100, 3 (two accesses and one), 1 / (4 + 1), 1000 / 250, 100 / 400
    assert score(model, 4.0, SEED) == pytest.approx(100 * 3 / 5 * 4 * 0.25)
    assert score(model, 4.0, SEED_FIXED) == pytest.approx(100 * 3 / 5 * 4 * 4)
    assert cache.policy.score(model, 4.0) == score(model, 4.0, SEED)
    half = Exponents(recency=0.5, priority=0.0, size=0.0, cost=0.0)
    assert score(model, 3.0, half) == pytest.approx(3 / math.sqrt(4))


STEPS = st.lists(
    st.tuples(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), st.sampled_from([0.0, 0.1, 1.0, 70.0])),
    min_size=1,
    max_size=150,
)
SIZES = {
    name: {"vram_size_mb": 1 + i % 5, "load_time_ms": 10 + 7 * (i % 3), "priority": ["low", "high"][i % 2]}
    for i, name in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
}


@pytest.mark.parametrize("policy", ["seed", "seed_fixed", "decayed", "hyperbolic", "lhd", "gdsf", "lfu_da"])
@given(steps=STEPS, capacity=st.integers(5, 60))
def test_order_is_that_of_the_scores(policy, steps, capacity):
    cache = Cache(policy, capacity, SIZES)
    admitted = []  # in the order of admission, or of the last value where that decides between equals
    for name, pause_s in steps:
        before = name in admitted
        left = cache.ask(name, every_s=pause_s)
        admitted = [other for other in admitted if other not in left]
        if before and policy in ("gdsf", "lfu_da"):
            admitted.remove(name)
        if name not in admitted:
            admitted.append(name)
        scores = {n: cache.policy.score(cache.allocator.models[n], cache.now_s) for n in admitted}
        assert list(cache.order()) == sorted(admitted, key=scores.__getitem__)


@given(steps=STEPS, capacity=st.integers(5, 60))
def test_columns_decide_as_the_function_does(steps, capacity):
    columns, function = Cache("seed_fixed", capacity, SIZES), Cache("seed_fixed", capacity, SIZES)
    zone = function.allocator.zones["flexible"]
    zone.policy = ScorePolicy(lambda model, now_s: score(model, now_s, SEED_FIXED))
    for name, pause_s in steps:
        assert columns.ask(name, pause_s) == function.ask(name, pause_s)
